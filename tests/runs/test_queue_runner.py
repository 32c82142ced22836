"""The queue goes on by itself: after SIGKILL, behind a run in the foreground, and when its runner is killed too."""

import fcntl
import json
import os
import signal
import subprocess

import psutil
import pytest

from nes_lab.errors import RunError
from nes_lab.runs import launcher, process, queue, queue_runner, spawn
from nes_lab.runs.writer import RunWriter

pytestmark = pytest.mark.usefixtures("fake_training")


def queue_runners(store):
    found = []
    for item in psutil.process_iter(["cmdline", "status"]):
        words = item.info["cmdline"] or []
        if "nes_lab.runs.queue_runner" in words and str(store.root) in words and item.info["status"] != "zombie":
            found.append(item)
    return found


@pytest.fixture(autouse=True)
def _no_leftovers(store):
    yield
    for ticket, _ in queue.tickets(store.root):
        (store.root / ".queue" / ticket).unlink(missing_ok=True)
    for item in queue_runners(store):
        item.kill()
    for info in store.list():
        if info.pid and info.is_active and info.pid != os.getpid():
            os.kill(info.pid, signal.SIGKILL)
    for child in spawn._children:
        child.kill()
        child.wait(10)


def state(store, run_id):
    return store.get(run_id).state


def test_killed_again_and_again_each_waiting_run_still_runs_once(store, wait):
    doomed = [store.create({"steps": 900, "sleep": 0.02}) for _ in range(2)]
    last = [store.create({"steps": 2}) for _ in range(2)]
    for run_id in (*doomed, *last):
        launcher.launch(store, run_id)
    for run_id in doomed:
        info = wait(lambda run_id=run_id: (info := store.get(run_id)).state == "running" and info)
        os.kill(info.pid, signal.SIGKILL)
    wait(lambda: all(state(store, run_id) == "finished" for run_id in last))  # get() reads and starts nothing
    assert [store.get(run_id).attempt for run_id in last] == [1, 1]
    assert [state(store, run_id) for run_id in doomed] == ["lost", "lost"]
    wait(lambda: not queue_runners(store))  # an empty queue has none


def test_queue_runner_is_replaced_when_killed_and_there_is_only_one(store, wait):
    first, *others = [store.create({"steps": 900, "sleep": 0.02}), *(store.create({"steps": 1}) for _ in range(3))]
    for run_id in (first, *others[:2]):
        launcher.launch(store, run_id)
    (before,) = wait(lambda: queue_runners(store))
    launcher.start_waiting(store)
    assert [item.pid for item in queue_runners(store)] == [before.pid]
    before.kill()
    wait(lambda: not queue_runners(store))
    launcher.launch(store, others[2])
    (after,) = wait(lambda: queue_runners(store))
    assert after.pid != before.pid
    os.kill(wait(lambda: store.get(first).pid), signal.SIGKILL)
    wait(lambda: all(state(store, run_id) == "finished" for run_id in others))


def test_a_run_behind_one_of_the_foreground_begins_when_that_ends(store, wait):
    mine, waiting = store.create({}), store.create({"steps": 1})
    with RunWriter(store, mine) as writer:
        assert launcher.launch(store, waiting) is None
        wait(lambda: queue_runners(store))
        writer.status("finished")
    wait(lambda: state(store, waiting) == "finished")


def test_whoever_starts_it_a_run_begins_where_it_was_created(store, wait, tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    run_id = store.create({"steps": 900, "sleep": 0.02})
    monkeypatch.chdir("/")
    pid = launcher.launch(store, run_id)
    assert os.readlink(f"/proc/{pid}/cwd") == str(tmp_path / "home")


def test_run_queue_ends_when_the_root_is_deleted(store, tmp_path):
    handle = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    queue_runner.run_queue(store, handle)  # returns, and makes no folder
    assert not store.root.exists()


def test_run_queue_gives_up_when_it_can_do_nothing(store, monkeypatch):
    def fail(*_, **__):
        raise RunError("read-only")

    monkeypatch.setattr(launcher, "start_waiting", fail)
    monkeypatch.setattr(queue, "tickets", lambda _: [("1", "a")])
    monkeypatch.setattr(process, "wait_for_an_end", lambda *_: None)
    store.create({})
    with pytest.raises(RunError, match="read-only"):
        queue_runner.run_queue(store, os.open(os.devnull, os.O_RDONLY))


def test_an_end_is_noticed_at_once_and_patience_has_a_limit(python):
    child = subprocess.Popen([python, "-c", "input()"], stdin=subprocess.PIPE)
    who = [process.Identity.of(child.pid)]
    began = os.times().elapsed
    process.wait_for_an_end(who, 0.2)
    assert os.times().elapsed - began >= 0.19
    child.kill()
    began = os.times().elapsed
    process.wait_for_an_end(who, 60)
    assert os.times().elapsed - began < 10
    child.communicate()


def far(**changes):
    """A process of another machine; the same number is also ours, which must not matter."""
    return process.Identity.of().to_dict() | {"host": "elsewhere", "boot_id": "other"} | process.now() | changes


def test_a_claim_of_another_machine_is_judged_by_signs_of_life(store):
    from nes_lab.runs import claims

    run = store.path(store.create({"steps": 1}))

    def write(name, content):
        (run / name).write_text(json.dumps(content))

    write("claim.json", far(started=True))
    assert claims.is_claimed(run)
    assert not claims.try_claim(run)
    with pytest.raises(RunError, match=r"pid \d+ on elsewhere"):
        claims.adopt_claim(run)
    claims.release_claim(run)
    assert (run / "claim.json").exists()  # not ours to give up
    old = process.now()["heartbeat"] - claims.LEASE_SECONDS - 1
    write("claim.json", far(started=True, heartbeat=old))
    write("status.json", far(state="running", attempt=1))
    assert claims.is_claimed(run)
    write("status.json", far(state="running", attempt=1, heartbeat=old))
    assert not claims.is_claimed(run)
    write("status.json", far(state="finished", attempt=1))
    assert not claims.is_claimed(run)


def test_a_lock_of_another_machine_names_it(store):
    from nes_lab.runs.lock import lock, unlock

    folder = store.path(store.create({}))
    held = lock(folder)
    (folder / "lock").write_text("4194305 elsewhere\n")  # above the largest pid: here it would count as dying
    with pytest.raises(RunError, match="locked by pid 4194305 on elsewhere"):
        lock(folder)
    unlock(held)


def test_a_file_system_without_locks_is_a_clear_error(store, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    run_id = store.create({})
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RunError, match="no locks"):
        launcher.launch(store, run_id)
    with pytest.raises(RunError, match="no locks"), RunWriter(store, run_id):
        pass
