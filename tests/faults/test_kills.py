"""SIGKILL at thirty points, inside a save and outside; of a server, of both; of the only one who would start the next."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from nes_lab.runs import launcher
from tests.faults.conftest import STEPS, config, corners, count_lost, ending, saved

pytestmark = pytest.mark.slow
INSIDE = [
    {"kill_before_write": {"save": 1}},
    {"kill_before_write": {"save": 2}},
    {"kill_half_written": {"save": 1, "size": 100}},
    {"kill_half_written": {"save": 2, "size": 10_000}},
    *({"kill_in_save": {"save": 2, "function": "replace", "call": n, "late": False}} for n in (1, 2, 3, 4)),
    *({"kill_in_save": {"save": 2, "function": "replace", "call": n, "late": True}} for n in (1, 2, 3, 4)),
    {"kill_in_save": {"save": 1, "function": "replace", "call": 4, "late": True}},
    {"kill_in_save": {"save": 2, "function": "fsync", "call": 3, "late": False}},
    {"kill_in_save": {"save": 2, "function": "unlink", "call": 1, "late": True}},  # then, or in the next: see below
]
assert len(INSIDE) == 15


# A kill right after one rename leaves nearly the same files as a kill right before the next: the corners take one of the two.
@pytest.mark.parametrize("number", corners(range(len(INSIDE)), (1, 2, 3, 4, 5, 6, 7, 11, 13, 14)))
def test_killed_inside_a_save(store, zygote, ends_exactly, tally, number):
    routing = ("free", "learner")[number % 2]
    wish = config(routing)
    if number == len(INSIDE) - 1:  # of three, one must go, also where the best is not the last
        wish["training"]["keep_checkpoints"] = 1
    run_id = store.create(wish)
    assert zygote.train(store, run_id, **INSIDE[number]) == -signal.SIGKILL
    info = store.get(run_id)
    assert info.state == "lost" and "resume it from its last checkpoint" in info.reason
    before = saved(store, run_id)
    same = ends_exactly(store, run_id, routing)
    litter = [path.name for path in (store.path(run_id) / "checkpoints").iterdir() if path.name.startswith(".")]
    assert litter == []
    tally(
        "SIGKILL inside a save: before the write, halfway, before and after each rename",
        "lost; continues from the newest complete checkpoint; half-written files are removed",
        resumed=1,
        identical=same,
        lost=count_lost(store, run_id, before),
    )


@pytest.mark.parametrize("number", corners(range(15), (0, 3, 9, 10, 13)))
def test_killed_at_a_random_moment(store, zygote, ends_exactly, tally, number, wait):
    chance = random.Random(number)
    routing = ("free", "learner")[number % 2]
    run_id = store.create(config(routing))
    if number < 10:  # anywhere between two rows, whatever is being done then
        pid = zygote.start(store, run_id)
        goal, delay = chance.randrange(STEPS), chance.random() * 0.05
        wait(lambda: store.get(run_id).state == "finished" or len(store.metrics(run_id)) >= goal)
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        assert zygote.wait(pid) in (-signal.SIGKILL, 0)
    else:
        assert zygote.train(store, run_id, kill_at_row={"row": chance.randint(1, 14)}) == -signal.SIGKILL
    before = saved(store, run_id)
    state = store.get(run_id).state
    assert state in ("lost", "queued", "finished")
    same = ends_exactly(store, run_id, routing) if state != "finished" else 1
    tally(
        "SIGKILL at random moments of training, validating and starting",
        "lost at once, with the reason; continues from the last checkpoint",
        resumed=1,
        identical=same,
        lost=count_lost(store, run_id, before),
    )


SERVER = """
import sys, time
from nes_lab.runs import launcher
from nes_lab.runs.store import RunStore
print(launcher.launch(RunStore(sys.argv[1]), sys.argv[2]), flush=True)
time.sleep(600)
"""


def serve(store, run_id):
    """A server that launched a run: another process, which is still there."""
    words = [sys.executable, "-c", SERVER, str(store.root), run_id]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    return server, int(server.stdout.readline())


def test_the_server_is_killed_and_then_both(store, calm, tally, wait):
    """Real detached processes. One run outlives its server; the other is killed with it, and launched anew."""
    first = store.create(config())
    server, pid = serve(store, first)
    wait(lambda: store.get(first).step >= 2)
    os.killpg(server.pid, signal.SIGKILL)
    server.communicate()
    wait(lambda: store.get(first).state == "finished")
    same = int(ending(store, first) == calm())
    tally("SIGKILL of the server that launched a run", "the run continues and finishes", resumed=1, identical=same)

    second = store.create(config())
    server, pid = serve(store, second)
    wait(lambda: store.get(second).step >= 6)
    for victim in (server.pid, pid):
        os.killpg(victim, signal.SIGKILL)
    server.communicate()
    before = saved(store, second)
    wait(lambda: store.get(second).state == "lost")
    launcher.launch(store, second)
    wait(lambda: store.get(second).state == "finished")
    tally(
        "SIGKILL of server and training together",
        "lost; continues from the last checkpoint when it is launched again",
        resumed=1,
        identical=int(ending(store, second) == calm()),
        lost=count_lost(store, second, before),
    )


def test_the_queue_goes_on_after_a_kill_with_nobody_looking(store, tally, wait, fake_training):
    doomed = [store.create({"steps": 900, "sleep": 0.02}) for _ in range(3)]
    last = store.create({"steps": 2})
    for run_id in (*doomed, last):
        launcher.launch(store, run_id)
    for run_id in doomed:
        info = wait(lambda run_id=run_id: (info := store.get(run_id)).state == "running" and info)
        os.kill(info.pid, signal.SIGKILL)
    wait(lambda: store.get(last).state == "finished")
    assert store.get(last).attempt == 1
    tally("SIGKILL of the only training while others wait", "the next run starts by itself, exactly once", injected=3)
