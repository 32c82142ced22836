"""Waiting runs that are moved: the order they start in, two hands at once, and damaged queues."""

import threading
import time

import pytest

from nes_lab.errors import OptionError, RunError
from nes_lab.runs import launcher, queue
from nes_lab.runs.launcher import cancel, launch
from nes_lab.runs.queue_order import move_waiting, waiting_ids, waiting_text


@pytest.fixture
def waiting(store, monkeypatch):
    """Five runs that wait, because no run may start."""
    monkeypatch.setattr(launcher, "start_waiting", lambda store, start_runner=True: {})
    ids = [store.create({}, label=f"run {number}") for number in range(5)]
    for run_id in ids:
        launch(store, run_id)
    assert waiting_ids(store) == ids
    return ids


@pytest.mark.parametrize(
    ("chosen", "where", "after"),
    [
        ([3], "first", [3, 0, 1, 2, 4]),
        ([3, 1], "first", [1, 3, 0, 2, 4]),
        ([0], "last", [1, 2, 3, 4, 0]),
        ([2], "up", [0, 2, 1, 3, 4]),
        ([0, 1], "up", [0, 1, 2, 3, 4]),
        ([1, 2], "down", [0, 3, 1, 2, 4]),
        ([4], "down", [0, 1, 2, 3, 4]),
    ],
)
def test_runs_move_and_new_ones_come_last(store, waiting, chosen, where, after):
    assert move_waiting(store, [waiting[place] for place in chosen], where) == [waiting[place] for place in after]
    assert [launcher.runs_before(store, waiting[place]) for place in after] == [0, 1, 2, 3, 4]
    new = store.create({})
    launch(store, new)
    assert waiting_ids(store) == [*(waiting[place] for place in after), new]


def test_the_moved_run_starts_first_and_no_run_starts_twice(store, waiting, monkeypatch):
    monkeypatch.undo()
    started = []
    monkeypatch.setattr(launcher, "_start", lambda store, run_id: started.append(run_id) or 1)
    monkeypatch.setattr(launcher.spawn, "start_queue_runner", lambda root: None)
    move_waiting(store, [waiting[4]], "first")
    for _ in range(6):
        launcher.start_waiting(store)
    assert started == [waiting[4], *waiting[:4]] and waiting_ids(store) == []


def test_two_tabs_and_a_starter_at_once_lose_and_repeat_nothing(store, waiting, monkeypatch):
    monkeypatch.undo()
    started = []
    monkeypatch.setattr(launcher, "_start", lambda store, run_id: started.append(run_id) or 1)
    monkeypatch.setattr(launcher.spawn, "start_queue_runner", lambda root: None)
    barrier = threading.Barrier(3)
    problems = []

    def tab(where):
        barrier.wait()
        for number in range(40):
            try:
                move_waiting(store, [waiting[number % 5]], where)
            except RunError as error:  # it has started meanwhile
                if "does not wait" not in str(error):
                    problems.append(error)
            except Exception as error:  # noqa: BLE001 - a thread must tell
                problems.append(error)

    def starter():
        barrier.wait()
        while waiting_ids(store):
            launcher.start_waiting(store)
            time.sleep(0.05)

    threads = [threading.Thread(target=tab, args=[where]) for where in ("first", "up")]
    threads.append(threading.Thread(target=starter))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == [] and sorted(started) == sorted(waiting)


def test_nothing_moves_while_a_run_is_being_started(store, waiting):
    mover = threading.Thread(target=move_waiting, args=[store, waiting[4:], "first"])
    with queue.hold_queue(store.root):  # as the one that starts runs does
        mover.start()
        mover.join(0.3)
        assert mover.is_alive() and waiting_ids(store) == waiting
    mover.join(10)
    assert waiting_ids(store) == [waiting[4], *waiting[:4]]


def test_what_cannot_be_moved_is_refused(store, waiting):
    with pytest.raises(OptionError, match="where"):
        move_waiting(store, waiting[:1], "sideways")
    cancel(store, waiting[0])
    for ids in ([waiting[0]], [], ["../../etc"]):
        with pytest.raises(RunError, match="does not wait"):
            move_waiting(store, ids, "first")
    assert waiting_ids(store) == waiting[1:]


def test_a_queue_that_cannot_be_written_keeps_its_order(store, waiting, monkeypatch):
    def fail(self, target):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.rename", fail)
    with pytest.raises(RunError, match="Read-only"):
        move_waiting(store, waiting[3:4], "first")
    assert waiting_ids(store) == waiting


def test_numbers_that_two_tickets_share_are_mended(store, waiting):
    for ticket, run_id in queue.tickets(store.root):
        (store.root / ".queue" / ticket).rename(store.root / ".queue" / f"00000007-{run_id}")
    order = move_waiting(store, [waiting[2]], "first")
    assert sorted(order) == sorted(waiting) and order[0] == waiting[2] and waiting_ids(store) == order


def test_words_say_which_runs_wait(store, waiting):
    assert waiting_text(store.list(), waiting) == "5 waiting: run 0, run 1, run 2 and 2 more"
    assert waiting_text([], []) == ""
