"""Signals, once and twice; processes that stand still, have died, or only look like the one that was meant."""

import json
import os
import signal
import subprocess
import sys
from itertools import product

import pytest

from nes_lab.runs import launcher, process
from nes_lab.runs.process import Identity
from nes_lab.runs.writer import RunWriter
from tests.faults.conftest import STEPS, config, corners, count_lost, saved

pytestmark = pytest.mark.slow
PATIENCE = 3.0  # thirty of the quick heartbeats: a busy machine may keep a thread waiting


SIGNALS = ([signal.SIGTERM], [signal.SIGINT], [signal.SIGTERM] * 2, [signal.SIGINT] * 2)


@pytest.mark.parametrize(("numbers", "row"), corners(list(product(SIGNALS, (2, 5, 9))), (0, 4, 8, 9)))
def test_asked_to_stop(store, zygote, ends_exactly, tally, row, numbers):
    run_id = store.create(config())
    order = {"row": row, "numbers": [int(number) for number in numbers]}
    assert zygote.train(store, run_id, signal_at_row=order) == 130
    info = store.get(run_id)
    assert info.state == "cancelled" and numbers[0].name in info.reason
    before = saved(store, run_id)
    assert before[0] == info.step < STEPS  # saved within the step
    name = numbers[0].name + (" twice" if len(numbers) > 1 else "")
    tally(
        name,
        "writes a checkpoint within the step, then is cancelled; continues from there",
        resumed=1,
        identical=ends_exactly(store, run_id),
        lost=count_lost(store, run_id, before),
    )


def test_a_process_that_stands_still_and_wakes(store, zygote, calm, tally, wait, monkeypatch, tmp_path):
    """SIGSTOP in a step: lost while it is silent, no second writer gets in, and awake it runs and ends exactly."""
    from tests.faults.conftest import ending

    monkeypatch.setattr(process, "STALE_SECONDS", PATIENCE)
    run_id, gate = store.create(config()), tmp_path / "gate"
    pid = zygote.start(store, run_id, quick_heartbeat={"seconds": 0.1}, wait_at_row={"row": 5, "path": str(gate)})
    wait(lambda: (tmp_path / "gate.here").exists())
    wait(lambda: store.get(run_id).state == "running")
    os.kill(pid, signal.SIGSTOP)
    reason = wait(lambda: (info := store.get(run_id)).state == "lost" and info.reason)
    assert f"process {pid} exists but has been silent" in reason
    second = tmp_path / "second"
    assert zygote.train(store, run_id, output=second) == 2
    assert f"locked by pid {pid}" in second.read_text()
    os.kill(pid, signal.SIGCONT)
    wait(lambda: store.get(run_id).state == "running")
    gate.touch()
    assert zygote.wait(pid) == 0
    same = int(ending(store, run_id) == calm())
    tally(
        "SIGSTOP, then SIGCONT", "lost while stopped, and no second writer; then continues", resumed=1, identical=same
    )


def test_two_processes_resume_one_run(store, zygote, ends_exactly, tally, wait, tmp_path):
    run_id, gate = store.create(config()), tmp_path / "gate"
    assert zygote.train(store, run_id, kill_at_row={"row": 6}) == -signal.SIGKILL
    before = saved(store, run_id)
    first = zygote.start(store, run_id, wait_at_row={"row": 2, "path": str(gate)})
    wait(lambda: (tmp_path / "gate.here").exists())
    assert zygote.train(store, run_id, output=tmp_path / "second") == 2
    assert f"locked by pid {first}" in (tmp_path / "second").read_text()
    os.kill(first, signal.SIGKILL)
    zygote.wait(first)
    tally(
        "two processes resume one run",
        "the second ends with exit status 2 and names the pid of the first",
        resumed=1,
        identical=ends_exactly(store, run_id),
        lost=count_lost(store, run_id, before),
    )


def test_a_zombie_and_a_reused_number(store, zygote, ends_exactly, tally, wait):
    """A killed training whose parent does not collect it; then its number given to a bystander."""
    run_id = store.create(config())
    pid = zygote.start(store, run_id, kill_at_row={"row": 6})
    info = wait(lambda: (info := store.get(run_id)).state == "lost" and info)
    assert f"process {pid} has died (a zombie is left)" in info.reason
    before = saved(store, run_id)
    zygote.wait(pid)
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    try:
        other = Identity.of(bystander.pid)
        path = store.path(run_id) / "status.json"
        status = json.loads(path.read_text()) | process.now()
        path.write_text(json.dumps(status | {"pid": other.pid}))
        assert "another one has its number now" in store.get(run_id).reason
        launcher.cancel(store, run_id)
        with pytest.raises(subprocess.TimeoutExpired):
            bystander.wait(0.3)
    finally:
        bystander.kill()
        bystander.communicate()
    tally(
        "a zombie process; a pid that now belongs to another process",
        "lost, with the reason; the other process never gets a signal",
        injected=2,
        resumed=1,
        identical=ends_exactly(store, run_id),
        lost=count_lost(store, run_id, before),
    )


@pytest.mark.parametrize("function", ["eval_batches", "commit"])
def test_the_heart_beats_while_a_validation_or_a_save_takes_long(store, zygote, tally, wait, monkeypatch, function):
    monkeypatch.setattr(process, "STALE_SECONDS", PATIENCE)
    run_id = store.create(config())
    pid = zygote.start(
        store, run_id, quick_heartbeat={"seconds": 0.1}, slow={"function": function, "seconds": PATIENCE + 2}
    )
    seen = set()
    wait(lambda: seen.add(store.get(run_id).state) or "finished" in seen)
    assert zygote.wait(pid) == 0
    assert seen <= {"queued", "running", "finished"}
    tally(
        "validations and saves that take longer than the limit for missing heartbeats",
        "shown as running all the time, because a thread sends the heartbeats",
    )


@pytest.mark.parametrize("seconds", [-3600, -86400 * 365, 3600])
def test_a_clock_that_steps(store, zygote, calm, tally, seconds, wait):
    from tests.faults.conftest import ending

    run_id = store.create(config())
    pid = zygote.start(store, run_id, step_clock={"row": 4, "seconds": seconds})
    seen = set()
    wait(lambda: seen.add(store.get(run_id).state) or "finished" in seen)
    assert zygote.wait(pid) == 0
    assert seen <= {"queued", "running", "finished"}
    same = int(ending(store, run_id) == calm())
    tally("the clock jumps back, forward, or by a year", "shown as running all the time", resumed=1, identical=same)


def test_a_lock_is_let_go_when_a_writer_leaves_by_an_error(store):
    run_id = store.create({})
    with pytest.raises(ZeroDivisionError), RunWriter(store, run_id):
        raise ZeroDivisionError
    with RunWriter(store, run_id) as writer:
        assert writer.attempt == 2
        writer.status("finished")
