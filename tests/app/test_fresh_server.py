"""What keeps the first page of a new server fast: workers wait, files are read once, and logs need no large library."""

import os
from typing import ClassVar

import pytest
from streamlit.testing.v1 import AppTest

import app.workers as workers
from app.cached import metrics_at, metrics_of
from nes_lab.experiment.open_runs import open_run
from nes_lab.runs.layout import METRICS
from nes_lab.runs.store import RunStore
from tests.figures.samples import write_run


class Clock:
    """Stands in for threading.Timer: fires when the test says so."""

    waiting: ClassVar[list] = []

    def __init__(self, seconds, act):
        self.act = act

    def start(self):
        self.waiting.append(self)

    def cancel(self):
        self.waiting.remove(self)

    def fire(self):
        self.waiting.remove(self)
        self.act()


@pytest.fixture
def started(monkeypatch):
    """The kinds of workers that were started."""
    kinds = []
    monkeypatch.setattr(Clock, "waiting", [])
    monkeypatch.setattr(workers.threading, "Timer", Clock)
    monkeypatch.setattr(
        workers, "_shared", lambda kind: type("Worker", (), {"start": lambda self: kinds.append(kind)})()
    )
    yield kinds
    workers.stop_workers()


def test_workers_start_once_when_no_page_is_drawn(started):
    workers.postpone_start()  # a page without a server, such as in a test
    assert not Clock.waiting
    workers.start_when_quiet()
    (first,) = Clock.waiting
    workers.postpone_start()
    (second,) = Clock.waiting
    assert second is not first and not started
    second.fire()
    assert started == ["plans", "jobs"]
    workers.postpone_start()
    assert not Clock.waiting


def test_a_server_that_ends_starts_no_workers(started):
    workers.start_when_quiet()
    workers.stop_workers()
    assert not Clock.waiting and not started


def test_metrics_are_read_again_only_when_their_file_has_changed(tmp_path):
    store = RunStore(tmp_path)
    run = open_run(write_run(store, label="a"), root=tmp_path)
    metrics_at.clear()
    rows = metrics_of(run)
    assert len(rows) == len(store.metrics(run.id)) > 0 and metrics_of(run) is rows
    with (run.folder / METRICS).open("ab") as file:
        file.write(b'{"step": 100000, "split": "train", "attempt": 1, "loss": 0.5}\n')
    assert len(metrics_of(run)) == len(rows) + 1
    os.remove(run.folder / METRICS)
    assert not metrics_of(run)


def test_a_log_is_shown_as_it_is():
    def page():
        from app.components.log_lines import show_log

        show_log("step 1\n<img src=x onerror=alert(1)>")

    (shown,) = AppTest.from_function(page).run().get("html")
    assert "step 1\n&lt;img src=x onerror=alert(1)&gt;</pre>" in shown.proto.body
