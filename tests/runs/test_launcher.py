"""Detached processes: started once, in turn, stopped when asked, and never the wrong one."""

import json
import os
import signal
import subprocess
import threading

import pytest

from nes_lab.errors import MissingPackageError, RunError
from nes_lab.runs import claims, launcher, queue, spawn
from nes_lab.runs.lock import hold_lock
from nes_lab.runs.process import Identity
from nes_lab.runs.writer import RunWriter

pytestmark = pytest.mark.usefixtures("fake_training")


@pytest.fixture(autouse=True)
def _no_leftovers(store):
    yield
    for ticket, _ in queue.tickets(store.root):  # else a keeper would go on with them
        (store.root / ".queue" / ticket).unlink(missing_ok=True)
    for info in store.list():
        if info.pid and info.is_active and info.pid != os.getpid():
            os.kill(info.pid, signal.SIGKILL)
    for child in spawn._children:
        child.kill()
        child.wait(10)


def state(store, run_id):
    return store.get(run_id).state


def test_a_launched_run_finishes_on_its_own(store, wait):
    run_id = store.create({"steps": 3})
    pid = launcher.launch(store, run_id)
    assert pid and pid != os.getpid()
    wait(lambda: state(store, run_id) == "finished")
    assert store.get(run_id).summary["top1"] == 50.0
    assert [row["step"] for row in store.metrics(run_id)] == [1, 2, 3]
    assert "finished" in wait(lambda: store.log_tail(run_id))
    wait(lambda: not claims.is_claimed(store.path(run_id)))
    with pytest.raises(RunError, match="finished"):
        launcher.launch(store, run_id)


def test_runs_take_turns_in_order_of_launch(store, wait):
    ids = [store.create({"steps": 4, "sleep": 0.05}, label=label) for label in "cba"]
    pids = [launcher.launch(store, run_id) for run_id in ids]
    assert pids[0]
    assert pids[1:] == [None, None]
    assert state(store, ids[1]) == "queued"
    wait(lambda: state(store, ids[2]) == "finished", 40)
    times = [[row["time"] for row in store.metrics(run_id)] for run_id in ids]
    assert times[0][-1] < times[1][0] < times[1][-1] < times[2][0]
    assert queue.tickets(store.root) == []


def test_launching_twice_and_at_once_starts_one(store, wait):
    run_id = store.create({"steps": 20, "sleep": 0.05})
    found = []
    threads = [threading.Thread(target=lambda: found.append(launcher.launch(store, run_id))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait(lambda: state(store, run_id) == "running")
    assert len({pid for pid in found if pid and pid != os.getpid()}) == 1
    wait(lambda: state(store, run_id) == "finished")
    launcher.start_waiting(store)
    assert store.get(run_id).attempt == 1
    assert len(store.metrics(run_id)) == 20


def test_cancel_stops_after_a_checkpoint_and_resume_goes_on(store, wait):
    run_id = store.create({"steps": 400, "sleep": 0.02})
    launcher.launch(store, run_id)
    wait(lambda: store.get(run_id).step > 2)
    launcher.cancel(store, run_id)
    wait(lambda: state(store, run_id) == "cancelled")
    step = store.latest_checkpoint(run_id).step
    assert step == store.get(run_id).step
    with pytest.raises(RunError, match="already ended"):
        launcher.cancel(store, run_id)
    wait(lambda: not claims.is_claimed(store.path(run_id)))
    (store.path(run_id) / "config.json").write_text(json.dumps({"steps": step + 3}))
    assert launcher.launch(store, run_id)
    wait(lambda: state(store, run_id) == "finished")
    assert [row["attempt"] for row in store.metrics(run_id) if row["step"] > step] == [2, 2, 2]


def test_a_waiting_run_is_cancelled_without_ever_starting(store, wait):
    first, second = store.create({"steps": 400, "sleep": 0.02}), store.create({"steps": 1})
    launcher.launch(store, first)
    assert launcher.launch(store, second) is None
    assert launcher.cancel(store, second).state == "cancelled"
    launcher.cancel(store, first)
    wait(lambda: state(store, first) == "cancelled")
    launcher.start_waiting(store)
    assert state(store, second) == "cancelled"
    assert store.metrics(second) == []


def test_cancel_in_the_first_moments_wins(store, wait):
    run_id = store.create({"steps": 400, "sleep": 0.02})
    launcher.launch(store, run_id)
    launcher.cancel(store, run_id)
    wait(lambda: state(store, run_id) == "cancelled")


def test_a_cancelled_waiting_run_can_be_launched_again(store, wait):
    run_id = store.create({"steps": 2})
    launcher.cancel(store, run_id)
    launcher.launch(store, run_id)
    wait(lambda: state(store, run_id) == "finished")


def test_a_killed_worker_is_lost_and_the_queue_goes_on(store, wait):
    first, second = store.create({"steps": 900, "sleep": 0.02}), store.create({"steps": 1})
    pid = launcher.launch(store, first)
    launcher.launch(store, second)
    wait(lambda: state(store, first) == "running")
    os.kill(pid, signal.SIGKILL)
    wait(lambda: state(store, first) == "lost")
    wait(lambda: state(store, second) == "finished")  # nobody listed or launched anything
    assert launcher.cancel(store, first).state == "cancelled"


def test_a_worker_that_dies_before_it_begins_is_lost(store, wait, fake_training):
    (fake_training / "sitecustomize.py").write_text("import os; os._exit(3)")
    run_id = store.create({"steps": 1})
    launcher.launch(store, run_id)
    info = wait(lambda: (info := store.get(run_id)).state == "lost" and info)
    assert "before it began" in info.reason


def test_a_failing_training_is_failed_with_its_reason(store, wait):
    run_id = store.create({"steps": 1, "raise": True})
    launcher.launch(store, run_id)
    wait(lambda: state(store, run_id) == "failed")
    assert "boom" in store.get(run_id).reason


def test_a_process_with_a_reused_number_is_never_signalled(store, python):
    bystander = subprocess.Popen([python, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    try:
        run_id = store.create({})
        other = Identity.of(bystander.pid).to_dict()
        other |= {"create_time": other["create_time"] - 50, "start_ticks": other["start_ticks"] - 5000}
        path = store.path(run_id) / "status.json"
        path.write_text(json.dumps({"state": "running", "attempt": 1, "uptime": 0, "heartbeat": 0} | other))
        with hold_lock(store.path(run_id)):  # someone writes, so that cancelling has to knock
            launcher.cancel(store, run_id)
        assert launcher.cancel(store, run_id).state == "cancelled"
        with pytest.raises(subprocess.TimeoutExpired):
            bystander.wait(0.3)  # a signal would have ended it by then
    finally:
        bystander.kill()
        bystander.communicate()


def test_a_stopped_process_is_not_started_a_second_time(store):
    run_id = store.create({})
    writer = RunWriter(store, run_id).__enter__()
    path = store.path(run_id) / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"uptime": 0}))
    assert state(store, run_id) == "lost"
    with pytest.raises(RunError, match="locked by pid"):
        launcher.launch(store, run_id)
    writer.status("finished")
    writer.__exit__(None, None, None)


def test_a_claim_of_the_dead_is_void_and_one_of_the_living_holds(store):
    run = store.path(store.create({}))
    assert claims.try_claim(run)
    assert not claims.try_claim(run)
    claim = json.loads((run / "claim.json").read_text())
    (run / "claim.json").write_text(json.dumps(claim | {"uptime": claim["uptime"] - claims.LEASE_SECONDS - 1}))
    assert claims.try_claim(run)  # never started within its lease
    (run / "claim.json").write_text(json.dumps(claim | {"start_ticks": 1, "create_time": 1.0, "started": True}))
    assert claims.try_claim(run)
    (run / "claim.json").write_text("{")
    assert claims.try_claim(run)


def test_the_queue_survives_a_crash_between_claim_and_start(store, wait, monkeypatch):
    run_id = store.create({"steps": 1})
    with monkeypatch.context() as patch:
        patch.setattr(spawn, "start_worker", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            launcher.launch(store, run_id)
    assert [name for _, name in queue.tickets(store.root)] == [run_id]
    claim = store.path(run_id) / "claim.json"
    claim.write_text(json.dumps(json.loads(claim.read_text()) | {"start_ticks": 1}))  # its process died
    assert state(store, run_id) == "queued"
    launcher.start_waiting(store)
    wait(lambda: state(store, run_id) == "finished")


def test_deleted_and_finished_runs_leave_the_queue(store):
    gone = store.create({})
    with queue.hold_queue(store.root):
        queue.take_ticket(store.root, gone)
        queue.take_ticket(store.root, gone)
    assert len(queue.tickets(store.root)) == 1
    store.delete(gone)
    assert launcher.start_waiting(store) == {}
    assert queue.tickets(store.root) == []


def test_a_ticket_does_not_restart_what_has_ended(store):
    run_id = store.create({"steps": 1})
    with RunWriter(store, run_id) as writer:
        writer.status("failed")
    with queue.hold_queue(store.root):
        queue.take_ticket(store.root, run_id)
    assert launcher.start_waiting(store) == {}
    assert queue.tickets(store.root) == []


def test_cancelled_while_starting_and_launched_again_it_runs(store, wait):
    run_id = store.create({"steps": 1})
    run = store.path(run_id)
    assert claims.try_claim(run)
    claim = json.loads((run / "claim.json").read_text())
    (run / "cancel.json").write_text(json.dumps({"attempt": 1}))
    assert state(store, run_id) == "stopping"
    (run / "claim.json").write_text(json.dumps(claim | {"start_ticks": 1}))  # its process died
    assert state(store, run_id) == "cancelled"
    launcher.launch(store, run_id)
    wait(lambda: state(store, run_id) == "finished")


def test_runs_before_a_queued_one_are_counted(store, monkeypatch):
    first, second, third = (store.create({}) for _ in range(3))
    with queue.hold_queue(store.root):
        for run_id in (first, second):
            queue.take_ticket(store.root, run_id)
    assert [launcher.runs_before(store, run_id) for run_id in (first, second, third)] == [0, 1, 0]
    with RunWriter(store, third):
        assert [launcher.runs_before(store, run_id) for run_id in (first, second)] == [1, 2]
        monkeypatch.setenv("NES_LAB_PLACES", "3")
        assert [launcher.runs_before(store, run_id) for run_id in (first, second)] == [0, 0]


def test_places_are_checked(monkeypatch):
    for text in ("0", "x", "-1", "1.5", "99999"):
        monkeypatch.setenv("NES_LAB_PLACES", text)
        with pytest.raises(RunError, match="NES_LAB_PLACES"):
            launcher.max_parallel_runs()


def test_without_psutil_the_message_says_what_to_install(store, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'nes-lab\[train\]'"):
        Identity.of()


def test_a_run_deleted_while_it_is_claimed_is_an_error_of_ours(store, monkeypatch):
    run = store.path(store.create({}))
    real = os.link

    def vanish(*paths):
        store.delete(run.name)
        return real(*paths)

    monkeypatch.setattr(os, "link", vanish)
    with pytest.raises(RunError, match="cannot be claimed"):
        claims.try_claim(run)
