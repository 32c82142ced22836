"""The demo, shortened: equal multiply-adds, ordinary runs, a report, an honest verdict; and its failures."""

from __future__ import annotations

import contextlib
import io
import json

import pytest
from rich.console import Console

from nes_lab.cli import main
from nes_lab.cli.demo import demo_display
from nes_lab.errors import OptionError, RunError
from nes_lab.experiment import demo
from nes_lab.experiment.demo import ROUTINGS, WIDTHS, contenders, run_demo
from nes_lab.experiment.process_pool import require_finished
from nes_lab.runs.store import RunStore


def test_contenders_have_their_rivals_multiply_adds_within_two_percent():
    settings = {c.name: c for c in contenders(epochs=1)}
    assert len(settings) == 1 + len(WIDTHS) * (1 + len(ROUTINGS))
    for contender in settings.values():
        if contender.rival is not None:
            share = contender.built.cost.madds / settings[contender.rival].built.cost.madds
            assert 0.98 <= share <= 1
            assert contender.config.compression.initial_weights == "reset"
    assert {c.config.compression.routing for c in settings.values() if c.rival} == set(ROUTINGS)


def test_a_contender_off_its_rivals_cost_is_refused(monkeypatch):
    monkeypatch.setattr(demo, "TOLERANCE", -1.0)
    with pytest.raises(OptionError, match="2 % is allowed"):
        contenders(epochs=1)


@pytest.mark.slow
def test_the_whole_demo_on_few_digits(tmp_path, monkeypatch, capfd):
    """Through the command line: the table, the verdict, runs that the app will list, and a report that needs no network."""
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path))
    monkeypatch.setattr(demo, "WIDTHS", (0.5,))
    monkeypatch.setattr(demo, "ROUTINGS", ("free",))
    assert main(["demo", "--seeds", "1", "--epochs", "1", "--out", str(tmp_path / "out")]) == 0
    told = capfd.readouterr().out
    assert "dense, width 0.5" in told and "equal multiply-adds" in told and "3 of 3 runs" in told
    runs = RunStore().list()
    assert len(runs) == 3 and {r.state for r in runs} == {"finished"} and len({r.group for r in runs}) == 1
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(results["table"]) == 3 and len(results["contests"]) == 1 and results["facts"]["torch"]
    report = (tmp_path / "out" / "report.html").read_text()
    assert all(
        word in report for word in ("Accuracy against multiply-adds", "Epitome of", "Routing map of", "Layers of")
    )
    assert "src=" not in report.partition("<script>")[0]  # all before the inlined plotly.js


def test_numbers_below_one_are_refused(tmp_path):
    for name in ("seeds", "epochs", "workers"):
        with pytest.raises(OptionError, match=f"{name}=0"):
            run_demo(RunStore(tmp_path), **{name: 0})
    assert not RunStore(tmp_path).list()


def test_a_folder_that_cannot_be_written_is_refused_before_any_training(tmp_path):
    (tmp_path / "file").write_text("")
    store = RunStore(tmp_path / "runs")
    with pytest.raises(OptionError, match=r"file/report. \(--out\)"):
        run_demo(store, folder=tmp_path / "file" / "report")
    assert not store.list()


def test_the_work_after_training_is_told(tmp_path, monkeypatch):
    """On a terminal and in lines; the training itself is left out."""
    news = []
    monkeypatch.setattr(demo, "contenders", lambda *_: [])
    monkeypatch.setattr(demo, "train_runs", lambda *_: None)
    monkeypatch.setattr(demo, "measure_latencies", lambda _: {})
    monkeypatch.setattr(demo, "compare_contenders", lambda *_: ([], []))
    with pytest.raises(StopIteration):  # there is no epitome network to draw
        run_demo(RunStore(tmp_path), folder=tmp_path / "out", on_progress=news.append)
    assert [item["phase"] for item in news] == ["measuring latency", "writing the report"]
    for terminal in (False, True):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
        told = io.StringIO()
        with contextlib.redirect_stdout(told), demo_display(console) as show:
            for item in news:
                show(item)
        shown = told.getvalue() + console.file.getvalue()
        assert "writing the report" in shown
        assert terminal or "measuring latency" in shown  # a bar is redrawn only a few times a second


def test_a_run_that_fails_is_told_with_its_reason(tmp_path):
    store = RunStore(tmp_path)
    run = store.create({}, label="unlucky")
    with pytest.raises(RunError, match="unlucky"):
        require_finished(store, run)
