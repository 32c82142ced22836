"""Two tabs at once: launching, cancelling and deleting, again and again; double clicks."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from nes_lab.errors import RunError
from nes_lab.runs import launcher, queue, spawn
from nes_lab.runs.states import STATES

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fake_training")]
TAB = """
import random, sys, time
from nes_lab.errors import RunError
from nes_lab.runs import launcher
from nes_lab.runs.store import RunStore
store, chance, end, done = RunStore(sys.argv[1]), random.Random(int(sys.argv[2])), time.time() + float(sys.argv[3]), 0
while time.time() < end:
    infos = store.list()
    try:
        what = chance.choice(["create", "launch", "launch", "cancel", "delete", "watch"])
        if what == "create" or not infos:
            launcher.launch(store, store.create({"steps": 5, "sleep": 0.02}))
        elif what == "watch":
            launcher.start_waiting(store)
        else:
            run_id = chance.choice(infos).id
            store.delete(run_id) if what == "delete" else getattr(launcher, what)(store, run_id)
    except RunError:
        pass  # a refusal is an answer; anything else ends this process with a traceback
    done += 1
print(done)
"""


@pytest.fixture(autouse=True)
def _no_leftovers(store):
    yield
    for ticket, _ in queue.tickets(store.root):
        (store.root / ".queue" / ticket).unlink(missing_ok=True)
    for info in store.list():
        if info.pid and info.is_active and info.pid != os.getpid():
            os.kill(info.pid, signal.SIGKILL)
    for child in spawn._children:
        child.kill()
        child.wait(10)


def test_tabs_that_launch_cancel_and_delete(store, tally, wait):
    for _ in range(3):
        store.create({"steps": 5, "sleep": 0.02})
    words = [sys.executable, "-c", TAB, str(store.root)]
    pipe = subprocess.PIPE
    tabs = [subprocess.Popen([*words, str(seed), "4"], stdout=pipe, stderr=pipe, text=True) for seed in range(3)]
    ends = [tab.communicate(timeout=60) for tab in tabs]
    assert [err for _, err in ends if err] == []
    wait(lambda: not queue.tickets(store.root) and not any(info.is_active for info in store.list()))
    for info in store.list():
        assert info.state in STATES
        rows = store.metrics(info.id)
        assert len({(row["step"], row["split"]) for row in rows if "split" in row}) == len(rows)
        raw = (store.path(info.id) / "metrics.jsonl").read_text().splitlines() if rows else []
        assert len(raw) == len(set(raw))
        attempts = [row["attempt"] for row in store.events(info.id) if row["kind"] in ("start", "resume")]
        assert attempts == sorted(set(attempts))  # one writer at a time, each attempt once
    acts = sum(int(out) for out, _ in ends)
    assert acts > 20
    tally("three tabs launch, cancel, delete and list at random", "each run has one writer at a time", injected=acts)


def test_double_clicks(store, tally, wait):
    """Eight launches, eight cancels and eight deletes at the same moment: one of each counts."""
    run_id = store.create({"steps": 900, "sleep": 0.02})

    def at_once(act):
        outcomes = []

        def click():
            try:
                outcomes.append(act())
            except RunError:
                outcomes.append(RunError)

        clicks = [threading.Thread(target=click) for _ in range(8)]
        for thread in clicks:
            thread.start()
        for thread in clicks:
            thread.join()
        assert len(outcomes) == 8
        return outcomes

    at_once(lambda: launcher.launch(store, run_id))
    wait(lambda: store.get(run_id).state == "running")
    assert store.get(run_id).attempt == 1
    assert at_once(lambda: store.delete(run_id)) == [RunError] * 8  # it is at work
    at_once(lambda: launcher.cancel(store, run_id))
    wait(lambda: store.get(run_id).state == "cancelled")
    assert len([row for row in store.events(run_id) if row["kind"] == "start"]) == 1
    wait(
        lambda: [freed for freed in at_once(lambda: store.delete(run_id)) if freed is not RunError] or not store.list()
    )
    assert store.list() == []
    tally("double clicks: the same request eight times at once", "only one has an effect", injected=24)


def test_a_delete_and_a_launch_at_once_leave_a_whole_run_or_none(store, tally):
    chance = random.Random(0)
    for _ in range(10):
        run_id = store.create({"steps": 1})
        errors = []

        def act(what, run_id=run_id, errors=errors):
            time.sleep(chance.random() * 0.02)
            try:
                what(run_id)
            except RunError:
                pass
            except OSError as error:
                errors.append(error)

        both = [lambda run_id: launcher.launch(store, run_id), store.delete]
        threads = [threading.Thread(target=act, args=(what,)) for what in both]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
    for info in store.list():
        assert info.state in STATES and info.config
    tally("launching and deleting one run at the same time", "the run is complete or deleted", injected=10)
