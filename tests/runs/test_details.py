"""Curves and sizes for a table of many runs: at once where that is quick, else in the background, and never wrong."""

import json
import time

import pytest

from nes_lab.runs import details as details_module
from nes_lab.runs.details import DetailsReader, RunDetails
from nes_lab.runs.layout import METRICS
from nes_lab.runs.writer import RunWriter


@pytest.fixture(autouse=True)
def begin_soon(monkeypatch):
    """Do not wait for pages to be drawn: there are none."""
    monkeypatch.setattr(details_module, "DELAY_SECONDS", 0.2)


def write(store, rows, kept=True):
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        for step in range(1, rows + 1):
            writer.metric(step=step, split="val", top1=float(step))
        writer.status("finished", step=rows, total=rows)
    if not kept:
        (store.path(run_id) / "curve.json").unlink()
    return run_id


def test_kept_curves_are_there_at_once(store, tmp_path):
    run_id = write(store, 5)
    reader = DetailsReader(store, tmp_path / "cache")
    found = reader.read(store.list())[run_id]
    assert found.curve.values == (1.0, 2.0, 3.0, 4.0, 5.0) and reader.pending == 0
    assert found.disk == store.size(run_id) > 500
    assert not (tmp_path / "cache").exists()


def test_older_runs_come_later_and_are_read_only_once(store, tmp_path, monkeypatch):
    old, new = write(store, 5, kept=False), write(store, 3)
    cache = tmp_path / "cache"
    reader = DetailsReader(store, cache)
    assert set(reader.read(store.list())) == {new}
    assert reader.wait()
    assert reader.read(store.list())[old].curve.values == (1.0, 2.0, 3.0, 4.0, 5.0)
    monkeypatch.setattr(details_module, "curve_from_metrics", lambda folder: 1 / 0)
    again = DetailsReader(store, cache)  # a new server
    assert again.read(store.list())[old].curve.values[-1] == 5.0 and again.pending == 0


def test_a_cached_curve_of_other_metrics_is_not_used(store, tmp_path):
    old = write(store, 5, kept=False)
    reader = DetailsReader(store, tmp_path / "cache")
    reader.read(store.list())
    assert reader.wait()
    path = store.path(old) / METRICS
    path.write_text(json.dumps({"step": 1, "split": "val", "top1": 77.0}) + "\n")
    again = DetailsReader(store, tmp_path / "cache")
    for each in (reader, again):
        each.read(store.list())
        assert each.wait()
        assert each.read(store.list())[old].curve.values == (77.0,)


def test_a_run_that_trains_is_read_again(store):
    run_id = store.create({})
    reader = DetailsReader(store)
    with RunWriter(store, run_id) as writer:
        for step in (1, 2):
            writer.metric(step=step, split="val", top1=float(step))
            assert reader.read(store.list())[run_id].curve.values[-1] == step


def test_a_cache_that_cannot_be_written_and_damaged_runs_stop_nothing(store, tmp_path):
    (tmp_path / "cache").write_text("a file")
    old, damaged = write(store, 5, kept=False), write(store, 5, kept=False)
    (store.path(damaged) / METRICS).write_bytes(b"\0" * 1000)
    reader = DetailsReader(store, tmp_path / "cache")
    reader.read(store.list())
    assert reader.wait(10)
    found = reader.read(store.list())
    assert found[old].curve.values[-1] == 5.0 and found[damaged].curve.values == ()
    assert reader.read([]) == {} and RunDetails().disk is None


def test_many_long_runs_do_not_hold_up_the_page(store):
    first = write(store, 1, kept=False)
    rows = "".join(json.dumps({"step": s, "split": "train", "loss": 1.0, "lr": 0.1}) + "\n" for s in range(10_000))
    (store.path(first) / METRICS).write_text(rows)
    for _ in range(39):
        run_id = store.create({})
        (store.path(run_id) / METRICS).hardlink_to(store.path(first) / METRICS)
    infos, reader = store.list(), DetailsReader(store)
    began = time.perf_counter()
    reader.read(infos)
    assert time.perf_counter() - began < 0.5 and reader.pending
    assert reader.wait() and len(reader.read(infos)) == 40
