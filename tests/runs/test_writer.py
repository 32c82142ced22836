"""The one writer: rows that survive a crash, states that end, a lock that holds."""

import json
import multiprocessing
import os
import signal
import subprocess
import threading

import numpy as np
import pytest

from nes_lab.errors import NesLabError, RunError
from nes_lab.runs.current_metrics import current_rows
from nes_lab.runs.lock import hold_lock, lock, unlock
from nes_lab.runs.writer import RunWriter


def test_rows_events_summary_and_files(store):
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        writer.metric(step=1, split="train", loss=np.float32(0.5), top1=np.int64(3))
        writer.metric(step=1, split="val", loss=0.25)
        writer.event("note", text="a\nb")
        writer.summary(params=5)
        writer.summary(top1=90.0)
        writer.plan_json('{"layers": {}}')
        writer.cost({"params": 5})
        writer.status(step=1, total=4)
        assert store.get(run_id).progress == 0.25
        writer.status("finished")
    rows = store.metrics(run_id)
    assert [(row["split"], row["loss"], row["attempt"]) for row in rows] == [("train", 0.5, 1), ("val", 0.25, 1)]
    assert [row["kind"] for row in store.events(run_id)] == ["start", "note", "finished"]
    assert store.get(run_id).summary == {"params": 5, "top1": 90.0}
    assert json.loads((store.path(run_id) / "plan.json").read_text()) == {"layers": {}}


@pytest.mark.parametrize("torn", [b'{"step": 2, "lo', b"\x00\x00\x00", b"2", b'"x"', b'{"step": 2, "loss": 1.0}'])
def test_a_torn_last_line_costs_at_most_itself(store, torn):
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        writer.metric(step=1, loss=1.0)
    path = store.path(run_id) / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + torn)
    before = [row["step"] for row in store.metrics(run_id)]
    assert before[:1] == [1]
    with RunWriter(store, run_id) as writer:
        writer.metric(step=3, loss=0.5)
    assert [row["step"] for row in store.metrics(run_id)] == [*before, 3]


def test_a_duplicated_line_counts_once():
    rows = [{"step": 1, "attempt": 1, "loss": 2.0}, {"step": 1, "attempt": 1, "loss": 1.0}]
    assert current_rows(rows) == [rows[1]]


def test_a_resumed_attempt_replaces_what_came_after_its_checkpoint():
    first = [{"step": step, "attempt": 1, "split": "train"} for step in (10, 20, 30, 40)]
    val = [{"step": step, "attempt": 1, "split": "val"} for step in (20, 40)]
    second = [{"step": step, "attempt": 2, "split": "train"} for step in (25, 35)]
    kept = current_rows([*first, *val, *second])
    assert [(row["step"], row["split"], row["attempt"]) for row in kept] == [
        (10, "train", 1), (20, "train", 1), (20, "val", 1), (25, "train", 2), (35, "train", 2),
    ]  # fmt: skip


def test_stopped_before_a_validation_the_training_row_of_that_step_stays():
    first = [{"step": step, "attempt": 1, "split": "train"} for step in (1, 2)]
    second = [{"step": 2, "attempt": 2, "split": "val"}, {"step": 3, "attempt": 2, "split": "train"}]
    assert current_rows([*first, *second]) == [*first, *second]
    again = {"step": 2, "attempt": 3, "split": "val"}
    assert current_rows([*first, *second, again]) == [*first, again]


def test_rows_without_a_step_are_passed_over():
    assert current_rows([{"loss": 1}, {"step": "1"}, {"step": True}, {"step": 1}]) == [{"step": 1}]


def test_nan_stays_nan(store):
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        writer.metric(step=1, loss=float("nan"))
        with pytest.raises(RunError, match="top1"):
            writer.summary(top1=float("nan"))
        with pytest.raises(RunError, match="step"):
            writer.metric(loss=1.0)
        writer.status("finished")
    assert np.isnan(store.metrics(run_id)[0]["loss"])


def test_an_exception_is_failed_with_its_reason(store):
    run_id = store.create({})
    with pytest.raises(ValueError, match="boom"), RunWriter(store, run_id):
        raise ValueError("boom")
    info = store.get(run_id)
    assert (info.state, info.reason) == ("failed", "ValueError: boom")


def test_an_interrupt_is_cancelled_and_no_end_is_failed(store):
    run_id = store.create({})
    with pytest.raises(KeyboardInterrupt), RunWriter(store, run_id):
        raise KeyboardInterrupt
    assert store.get(run_id).state == "cancelled"
    with RunWriter(store, run_id):
        pass
    assert "without saying" in store.get(run_id).reason


def test_an_unknown_state_is_refused(store):
    with RunWriter(store, store.create({})) as writer:
        with pytest.raises(NesLabError, match="'finished'"):
            writer.status("finish")
        writer.status("finished")


def test_the_second_writer_is_told_who_has_it(store, python):
    run_id = store.create({})
    code = (
        "import sys; from nes_lab.runs.store import RunStore; from nes_lab.runs.writer import RunWriter\n"
        f"with RunWriter(RunStore({str(store.root)!r}), {run_id!r}):\n"
        "    print('in', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen([python, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "in\n"
    with pytest.raises(RunError, match=f"locked by pid {child.pid}"), RunWriter(store, run_id):
        pass
    assert store.get(run_id).state == "running"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert store.get(run_id).state == "lost"
    with RunWriter(store, run_id) as writer:  # the kernel released the lock
        assert writer.attempt == 2
        writer.status("finished")


def _sleep(started, queue) -> None:
    started.set()
    queue.get()


def test_a_forked_loader_does_not_keep_the_lock(store):
    run_id = store.create({})
    context = multiprocessing.get_context("fork")
    started, queue = context.Event(), context.Queue()
    writer = RunWriter(store, run_id).__enter__()
    child = context.Process(target=_sleep, args=(started, queue))
    child.start()
    try:
        assert started.wait(30)  # on a busy machine a forked process begins late
        writer.status("cancelled")
        writer.__exit__(None, None, None)
        with RunWriter(store, run_id) as again:
            again.status("finished")
    finally:
        queue.put(None)
        child.join(10)


def test_a_full_disk_is_a_clear_error(store, monkeypatch):
    with RunWriter(store, store.create({})) as writer:

        def refuse(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", refuse)
            with pytest.raises(RunError, match="No space left"):
                writer.metric(step=1)
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", refuse)
            with pytest.raises(RunError, match="No space left"):
                writer.status(step=2)
        assert [name for name in os.listdir(writer.folder) if name.startswith(".tmp-")] == []
        writer.status("finished")


@pytest.mark.parametrize("moment", ["before the write", "before the rename", "after the rename"])
def test_a_status_is_old_or_new_whenever_the_writer_dies(store, moment, monkeypatch):
    run_id = store.create({})
    real = os.replace
    writer = RunWriter(store, run_id).__enter__()
    writer.status(step=1, total=9)

    class Killed(BaseException):
        pass

    def die(*args):
        if moment == "after the rename":
            real(*args)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync" if moment == "before the write" else "replace", die)
        with pytest.raises(Killed):
            writer.status("running", step=2)
    assert store.get(run_id).step == (2 if moment == "after the rename" else 1)
    writer.status("finished")
    writer.__exit__(None, None, None)


def test_a_request_to_stop_counts_for_its_attempt_only(store):
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        assert not writer.cancel_requested()
        (writer.folder / "cancel.json").write_text('{"attempt": 1}')
        assert writer.cancel_requested()
        assert store.get(run_id).state == "stopping"
        writer.status("cancelled")
    with RunWriter(store, run_id) as writer:
        assert not writer.cancel_requested()
        writer.status("finished")


def test_a_log_that_outgrew_its_size_is_rotated(store):
    from nes_lab.runs.files import rotate

    log = store.path(store.create({})) / "log.txt"
    with open(log, "ab") as held:
        held.write(b"old\n" * 500)
        held.flush()
        rotate(log, most=1000, keep=40)
        held.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    assert log.with_name("log.txt.1").read_bytes() == b"old\n" * 10


def test_the_log_tail_takes_any_bytes(store):
    run_id = store.create({})
    assert store.log_tail(run_id) == ""
    (store.path(run_id) / "log.txt").write_bytes(b"a\n\xff\xfe\nc\n")
    assert store.log_tail(run_id, lines=2).endswith("\nc")
    assert store.log_tail(run_id, lines=0) == ""


def test_a_lock_is_waited_for_while_its_holder_is_dying(store):
    """Until the last thread of a killed process is gone, the kernel keeps its files open: a child stands for that."""
    folder = store.path(store.create({}))
    held = lock(folder)
    (folder / "lock").write_text("4194305\n")  # above the kernel's largest pid
    timer = threading.Timer(0.3, unlock, [held])
    timer.start()
    with hold_lock(folder):
        assert held.handle < 0
    timer.join()
