"""The widget that follows a run: it shows what the files say, ends with the run, and cancels it."""

from __future__ import annotations

import shutil
import threading
import time

import pytest

from nes_lab.errors import OptionError, RunError
from nes_lab.runs.handle import RunHandle
from nes_lab.runs.store import RunStore
from nes_lab.runs.writer import RunWriter
from nes_lab.widgets.watch import RunWatch, watch
from tests.figures.samples import write_run


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def drawn(widget, name="loss"):
    return [
        len(curve["x"]) if isinstance(curve["x"], list) else curve["x"] for curve in widget.views[name].spec["data"]
    ]


def test_it_follows_a_run_until_its_end_without_blocking(tmp_path):
    store = RunStore(tmp_path)
    run_id = store.create({"training": {"epochs": 3}}, label="a <run>")
    with RunWriter(store, run_id) as writer:
        writer.status("running", step=0, total=60)
        widget = watch(run_id, seconds=0.1, root=tmp_path)  # by its id
        assert widget.is_live and widget.info.state == "running" and not widget.cancel.disabled
        assert "a &lt;run&gt;" in widget.heading.value and widget.views["loss"].spec["data"] == []
        writer.metric(step=20, epoch=1, split="train", loss=0.5, images_per_s=100.0)
        writer.status("running", step=20, total=60)
        assert until(lambda: widget.views["loss"].spec["data"]), "the thread draws what is new"
        assert "step 20 of 60" in widget.notes.value and widget.bar.value == pytest.approx(1 / 3)
        writer.status("finished", step=60, total=60)
    assert until(lambda: not widget._thread.is_alive()), "the thread ends with the run"
    assert not widget.is_live and widget.cancel.disabled and "finished" in widget.heading.value


def test_a_run_that_has_ended_is_shown_without_a_thread(tmp_path):
    store = RunStore(tmp_path)
    run = RunHandle(store, write_run(store, state="failed"))
    widget = watch(run)
    assert not widget.is_live and f"watch {run.id}" not in {thread.name for thread in threading.enumerate()}
    assert "loss is NaN at step 60" in widget.notes.value
    assert "failed" in repr(widget) and len(widget.views["metric"].spec["data"]) == 2
    assert widget._repr_mimebundle_()["application/vnd.plotly.v1+json"]["data"]


def test_closing_it_ends_the_thread_and_not_the_run(tmp_path):
    store = RunStore(tmp_path)
    run_id = store.create({})
    widget = RunWatch(RunHandle(store, run_id), seconds=0.1)
    assert widget.is_live and "It starts in a moment." in widget.notes.value
    assert "application/vnd.plotly.v1+json" not in widget._repr_mimebundle_()  # axes without a curve say nothing
    widget.close()
    assert until(lambda: not widget._thread.is_alive()) and store.get(run_id).state == "queued"


def test_the_button_cancels_the_run(tmp_path):
    store = RunStore(tmp_path)
    run_id = store.create({})
    widget = RunWatch(RunHandle(store, run_id), seconds=60)
    widget.cancel.click()
    assert store.get(run_id).state == "cancelled" == widget.info.state
    assert not widget.is_live and widget.cancel.disabled


def test_a_deleted_run_is_shown_as_lost(tmp_path):
    store = RunStore(tmp_path)
    run_id = store.create({})
    widget = RunWatch(RunHandle(store, run_id), seconds=60)
    shutil.rmtree(store.path(run_id))
    widget.look()
    assert widget.info.state == "lost" and not widget.is_live


@pytest.mark.parametrize(("given", "error"), [("none-such", RunError), (7, OptionError)])
def test_it_names_what_is_wrong(tmp_path, given, error):
    with pytest.raises(error, match=str(given)):
        watch(given, root=tmp_path)


@pytest.mark.parametrize("seconds", [0, "1", True, float("nan")])
def test_it_refuses_times_that_are_not_numbers(tmp_path, seconds):
    run = RunHandle(RunStore(tmp_path), RunStore(tmp_path).create({}))
    with pytest.raises(OptionError, match=f"seconds={seconds!r}"):
        watch(run, seconds=seconds)
