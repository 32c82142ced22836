"""The short curves that the writer keeps: as many points as allowed, true after resumes, and never trusted when they do not fit."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from nes_lab.experiment.open_runs import import_run, open_run
from nes_lab.runs import kept_curve, writer
from nes_lab.runs.current_metrics import current_rows
from nes_lab.runs.files import read_lines
from nes_lab.runs.kept_curve import MOST_POINTS, KeptCurve, curve_from_metrics, read_curve, read_kept
from nes_lab.runs.writer import RunWriter


def train(store, run_id, steps, *, val_every=10, state="cancelled"):
    with RunWriter(store, run_id) as pen:
        for step in steps:
            pen.metric(step=step, epoch=step // 100, split="train", loss=1 / step)
            if step % val_every == 0:
                pen.metric(step=step, epoch=step // 100, split="val", loss=2 / step, top1=step / 100)
        pen.status(state, step=steps[-1], total=steps[-1])


def expected(folder):
    """All valid rows, in the form of the kept ones."""
    rows = current_rows(read_lines(folder / "metrics.jsonl"))
    return {(row["step"], row["split"]): row["loss"] for row in rows}


def check(folder, curve=None):
    """The points are rows that are valid, evenly spaced, with the first and the last of each split."""
    found, true = (curve or read_curve(folder)).rows(), expected(folder)
    assert len(found) <= MOST_POINTS
    assert all(true[row["step"], row["split"]] == row["loss"] for row in found)
    for split in ("train", "val"):
        steps, all_steps = (
            [row["step"] for row in found if row["split"] == split],
            sorted(s for s, p in true if p == split),
        )
        assert steps == sorted(set(steps)) and (steps[:1], steps[-1:]) == (all_steps[:1], all_steps[-1:])
        assert len(steps) >= min(len(all_steps), MOST_POINTS // 8)
        gaps = np.diff(steps[:-1])
        assert not len(gaps) or gaps.max() <= 2 * np.median(gaps)


@pytest.mark.parametrize("rows", [1, 9, 149, 150, 151, 299, 300, 1000, 5001])
def test_the_writer_keeps_the_curves_that_a_reader_would_make(store, rows):
    run_id = store.create({})
    train(store, run_id, range(1, rows + 1))
    folder = store.path(run_id)
    check(folder)
    kept = read_kept(folder)
    assert kept is not None and kept.rows() == curve_from_metrics(folder).rows()
    assert kept.seconds() == curve_from_metrics(folder).seconds()


def test_rows_that_a_resume_replaced_are_left_out(store):
    run_id = store.create({})
    folder = store.path(run_id)
    train(store, run_id, range(1, 1501))
    for begin, end in ((1201, 1300), (400, 900), (901, 2000)):
        train(store, run_id, range(begin, end))
        check(folder)
        check(folder, curve_from_metrics(folder))
    assert max(row["attempt"] for row in read_curve(folder).rows()) == 4


@pytest.mark.parametrize(
    "damage", ["missing", "torn", "stale", "longer", "other", "schema", "zeros", "hostile", "link"]
)
def test_kept_curves_that_do_not_fit_are_made_again(store, tmp_path, damage):
    run_id = store.create({})
    folder = store.path(run_id)
    train(store, run_id, range(1, 501))
    true, kept, metrics = read_curve(folder).rows(), folder / "curve.json", folder / "metrics.jsonl"
    content = json.loads(kept.read_text())
    if damage == "missing":
        kept.unlink()
    elif damage == "torn":
        kept.write_bytes(kept.read_bytes()[:-40])
    elif damage == "stale":  # metrics written since then are added
        metrics.write_text(
            metrics.read_text() + json.dumps({"step": 501, "split": "val", "loss": 0.5, "attempt": 1}) + "\n"
        )
        assert read_kept(folder) is not None
        return check(folder)
    elif damage == "longer":  # the metrics were cut back
        metrics.write_text("".join(metrics.read_text().splitlines(keepends=True)[:200]))
        return check(folder)
    elif damage == "other":
        text = metrics.read_text().replace('"loss": 0.', '"loss": 1.')
        metrics.write_text(text[:-30] + "1" + text[-29:])
        assert read_kept(folder) is None
        return check(folder)
    elif damage == "schema":
        kept.write_text(json.dumps(content | {"schema_version": 99}))
    elif damage == "zeros":
        kept.write_bytes(b"\0" * 100)
    elif damage == "hostile":
        for wrong in (
            {"size": -5},
            {"size": 10**30},
            {"size": float("inf")},
            {"val": {"points": 3}},
            {"metric": 5},
            {"begins": [[1]]},
        ):
            kept.write_text(json.dumps(content | wrong))
            assert read_curve(folder).rows() == true
        kept.write_text(json.dumps(content | {"train": content["train"] | {"points": [["<b>", 1, 1, 1, 1, 1]]}}))
    elif damage == "link":
        other = tmp_path / "elsewhere"
        kept.rename(other)
        kept.symlink_to(other)
    if damage != "hostile":
        assert read_kept(folder) is None
    assert read_curve(folder).rows() == true


def test_a_reader_writes_nothing_into_the_folder_of_a_run(store):
    run_id = store.create({})
    train(store, run_id, range(1, 51))
    folder = store.path(run_id)
    (folder / "curve.json").unlink()
    before = sorted(folder.iterdir())
    read_curve(folder)
    assert sorted(folder.iterdir()) == before


def test_curves_survive_a_kill_at_any_moment(store):
    code = (
        "import sys; from nes_lab.runs.store import RunStore; from nes_lab.runs import writer\n"
        "writer.CURVE_SECONDS = dict.fromkeys(('train', 'val'), 0.0)\n"
        "with writer.RunWriter(RunStore(sys.argv[1]), sys.argv[2]) as pen:\n"
        "    print('on', flush=True)\n"
        "    for step in range(int(sys.argv[3]), 10**7): pen.metric(step=step, split='train', loss=1 / step)\n"
    )
    run_id, begin = store.create({}), 1
    folder, draw = store.path(run_id), random.Random(5)
    for _ in range(4):
        command = [sys.executable, "-c", code, str(store.root), run_id, str(begin)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(draw.uniform(0.05, 0.3))
            process.send_signal(signal.SIGKILL)
        check(folder)
        json.loads((folder / "curve.json").read_text())
        begin = max(1, read_curve(folder).points("train")[-1].step - 20)


def test_a_full_disk_costs_only_the_kept_curves(store, monkeypatch):
    def full(path, data, durable):
        raise OSError(28, "no space left")

    run_id = store.create({})
    original = kept_curve.write_bytes
    monkeypatch.setattr(kept_curve, "write_bytes", lambda path, data, durable: full(path, data, durable))
    monkeypatch.setattr(writer, "CURVE_SECONDS", {"train": 0.0, "val": 0.0})
    train(store, run_id, range(1, 30), state="finished")
    assert original is not kept_curve.write_bytes and not (store.path(run_id) / "curve.json").exists()
    assert store.get(run_id).state == "finished"
    check(store.path(run_id))


def test_packed_runs_keep_their_curves(store, tmp_path):
    run_id = store.create({})
    train(store, run_id, range(1, 400))
    moved = import_run(open_run(run_id, root=store.root).pack(tmp_path / "a.zip"), root=tmp_path / "there")
    kept = read_kept(moved.folder)
    assert kept is not None and kept.rows() == read_curve(store.path(run_id)).rows()


@pytest.mark.parametrize(
    "row", [{"step": "3"}, {"step": 3, "attempt": None}, {"step": 3, "split": "test", "loss": 1.0}]
)
def test_damaged_rows_change_nothing(row):
    curve = KeptCurve()
    curve.add(row)
    assert curve.rows() == []


def test_numbers_that_are_none_change_to_none(store):
    run_id = store.create({})
    with RunWriter(store, run_id) as pen:
        pen.metric(step=1, split="val", loss=np.float32(0.5), top1=float("nan"))
        pen.metric(step=2, split="val", loss=np.ones(3), top1=np.int64(5))
        pen.status("finished")
    assert [point[4:] for point in read_kept(store.path(run_id)).points("val")] == [(0.5, None), (None, 5)]
    assert os.stat(store.path(run_id) / "curve.json").st_size < 40_000
