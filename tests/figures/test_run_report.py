"""The report of a run has what the run has, and no more."""

from __future__ import annotations

import pytest

from nes_lab.errors import RunError
from nes_lab.figures.inputs import largest_layers
from nes_lab.figures.run_report import plan_rows, run_report, run_sections
from nes_lab.runs.layout import PLAN
from nes_lab.runs.store import RunStore
from tests.figures.samples import make_rows, make_snapshot, write_run


def test_run_report_of_a_finished_run_has_every_section(tmp_path):
    store = RunStore(tmp_path)
    run_id = write_run(store, label="<b>free</b>")
    info = store.get(run_id)
    history = [(step, store.snapshot(run_id, step)) for step in store.snapshots(run_id)]
    sections = run_sections(info, store.metrics(run_id), store.events(run_id), make_rows(), history)
    titles = [section.title for section in sections]
    for beginning in ("Result", "Training", "Layers", "Epitome of", "Patches of", "Routing map of", "Starts of"):
        assert any(title.startswith(beginning) for title in titles), beginning
    assert "best top-1 92.50 %" in sections[0].text
    page = run_report(store, run_id)
    assert "&lt;b&gt;free&lt;/b&gt;" in page
    assert "training.lr" in page


def test_run_report_of_a_queued_run(tmp_path):
    store = RunStore(tmp_path)
    run_id = store.create({"seed": 3})
    assert plan_rows(store, run_id) == []
    titles = [section.title for section in run_sections(store.get(run_id), [], [], [], [])]
    assert titles == ["Result", "Configuration"]
    assert "not started yet" in run_report(store, run_id)


def test_run_report_says_what_the_fit_left_of_the_dense_network(tmp_path):
    store = RunStore(tmp_path)
    run_id = write_run(store)
    events = [*store.events(run_id), {"kind": "fit", "comparison": "same top-1 prediction for 4.0%"}]
    result = run_sections(store.get(run_id), [], events, [], [])[0]
    assert "Fitted, before training: same top-1 prediction for 4.0%." in result.text
    assert "Fitted" not in run_sections(store.get(run_id), [], [{"kind": "fit"}], [], [])[0].text  # an older run


def test_run_report_names_a_damaged_plan(tmp_path):
    store = RunStore(tmp_path)
    run_id = store.create({})
    (store.path(run_id) / PLAN).write_bytes(b"\xff\xfe")
    with pytest.raises(RunError, match=r"plan\.json of run"):
        run_report(store, run_id)
    with pytest.raises(RunError, match="no run"):
        run_report(store, "nothing-here")


def test_largest_layers_come_first():
    layers = {"small": make_snapshot((8, 8, 1, 1)), "big": make_snapshot((32, 48, 1, 1)), "mid": make_snapshot()}
    assert largest_layers(layers) == ["big", "mid"]
