"""A run as an object: it shows what the files say now, waits and cancels."""

from __future__ import annotations

import builtins
import threading

import pytest

from nes_lab.errors import OptionError, RunError
from nes_lab.runs.handle import RunHandle
from nes_lab.runs.store import RunStore
from nes_lab.runs.writer import RunWriter


@pytest.fixture
def run(tmp_path) -> RunHandle:
    store = RunStore(tmp_path)
    return RunHandle(store, store.create({"seed": 0}, label="one"))


def test_handle_shows_the_present_state(run) -> None:
    assert (run.state, run.summary, run.plan, run.snapshots()) == ("queued", {}, None, {})
    with RunWriter(run.store, run.id) as writer:
        writer.metric(step=2, split="train", loss=0.5, epoch=1)
        writer.metric(step=2, split="val", top1=50.0, epoch=1)
        assert run.state == "running" and run.progress().epoch == 1
        writer.summary(top1=50.0)
        writer.status("finished", step=2, total=2)
    assert run.state == "finished" and run.summary == {"top1": 50.0}
    assert repr(run) == f"RunHandle({run.id!r}: finished, top-1 50.00 %)"
    table = run.metrics()
    assert [column.key for column in table.columns] == ["step", "epoch", "split", "loss", "top1", "attempt", "time"]
    assert list(table.to_pandas()["split"]) == ["train", "val"]


def test_handle_of_a_damaged_run_is_lost_and_of_no_run_is_an_error(run) -> None:
    (run.folder / "config.json").write_text("{")
    assert run.state == "lost" and "damaged" in run.info.reason
    run.store.delete(run.id)
    assert run.state == "lost" and "there is no run" in run.info.reason
    with pytest.raises(RunError, match="there is no run"):
        RunHandle(run.store, "nothing")


def test_handle_table_says_what_to_install(run, monkeypatch) -> None:
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "pandas":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(OptionError, match="pip install pandas"):
        run.metrics().to_pandas()


def test_handle_waits_for_the_end_and_tells_a_failure(run) -> None:
    with pytest.raises(RunError, match=r"still queued after timeout=0.3 seconds"):
        run.wait(timeout=0.3)
    may_end, begun, seen = threading.Event(), threading.Event(), []

    def work() -> None:
        with RunWriter(run.store, run.id) as writer:
            begun.set()
            may_end.wait(30)
            writer.status("failed", reason="no space")

    worker = threading.Thread(target=work)
    worker.start()
    begun.wait(30)
    with pytest.raises(RunError, match=f"run {run.id} is failed: no space"):
        run.wait(30, on_progress=lambda event: (seen.append(event["phase"]), may_end.set()))
    worker.join()
    assert seen[0] == "running" and seen[-1] == "failed"


def test_handle_cancels_a_waiting_run(run) -> None:
    assert run.cancel() is run and run.state == "cancelled"
    assert run.wait(1) is run
    with pytest.raises(RunError, match="has already ended"):
        run.cancel()


def test_handle_refuses_a_timeout_that_is_no_number(run) -> None:
    with pytest.raises(OptionError, match="timeout='x'; give a number of seconds"):
        run.wait("x")
