"""Start and stop the processes that train. They are detached: closing a terminal, a browser tab or the app ends none."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from nes_lab.errors import RunError
from nes_lab.runs import claims, layout, process, queue, spawn
from nes_lab.runs.files import read_json, remove, write_json
from nes_lab.runs.info import RunInfo, read_info
from nes_lab.runs.lock import hold_lock
from nes_lab.runs.store import RunStore

__all__ = ["cancel", "holders", "launch", "max_parallel_runs", "requeue", "runs_before", "settle", "start_waiting"]

DEFAULT_PARALLEL_RUNS = 1  # $NES_LAB_PLACES changes it


def max_parallel_runs() -> int:
    """Return how many queued runs may train at the same time."""
    text = os.environ.get("NES_LAB_PLACES", str(DEFAULT_PARALLEL_RUNS))
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise RunError(f"NES_LAB_PLACES={text!r} should be a number from 1 to 1024")
    return int(text)


def launch(store: RunStore, run_id: str) -> int | None:
    """Queue a run and start it as soon as fewer than :func:`max_parallel_runs` train.

    Calling it twice starts it once. A finished run is refused; a cancelled, failed or lost one is resumed.

    Returns:
        The pid of its process, or None while it waits for others.

    Raises:
        RunError: If it is finished already, or cannot be started.
    """
    info = store.get(run_id)
    if info.is_active:
        return info.pid
    if info.state == "finished":
        raise RunError(f"run {run_id} is finished; there is nothing left to do")
    with queue.hold_queue(store.root):
        if info.state != "queued":
            requeue(store, info)
        queue.take_ticket(store.root, run_id)
    return start_waiting(store).get(run_id) or store.get(run_id).pid


def requeue(store: RunStore, info: RunInfo) -> None:
    """Make a run that was cancelled, failed or lost ready to be resumed.

    Raises:
        RunError: If its process still exists, though silent: it holds the lock.
    """
    folder = store.path(info.id)
    with hold_lock(folder):
        remove(folder / layout.CLAIM)
        remove(folder / layout.CANCEL)
        write_json(folder / layout.STATUS, _status(info, "queued", ""))


def _status(info: RunInfo, state: str, reason: str) -> dict[str, Any]:
    return {"state": state, "reason": reason, "step": info.step, "total": info.total, "attempt": info.attempt}


def start_waiting(store: RunStore, start_runner: bool = True) -> dict[str, int]:
    """Start waiting runs in the order of the queue, up to :func:`max_parallel_runs` at a time.

    A training process calls this when its run ends, and every list of runs calls it. While runs wait, the process of
    :mod:`nes_lab.runs.queue_runner` calls it when a training process dies.

    Args:
        store: The runs.
        start_runner: Start the queue runner if runs still wait and none is there.

    Returns:
        The pid of each started process, by run id.
    """
    started: dict[str, int] = {}
    spawn.reap()
    if not queue.tickets(store.root):
        return started
    with queue.hold_queue(store.root) as folder:
        free = max_parallel_runs() - len(_busy(store))
        for ticket, run_id in queue.tickets(store.root):
            if free <= 0:
                break
            pid = _start(store, run_id)
            remove(folder / ticket)
            if pid is not None:
                started[run_id] = pid
                free -= 1
        if start_runner and queue.tickets(store.root):
            with contextlib.suppress(OSError):  # without it the queue still continues at the end of each run
                spawn.start_queue_runner(store.root)
    return started


def runs_before(store: RunStore, run_id: str) -> int:
    """Return how many runs must end before a queued one can begin; 0 when it is about to."""
    waiting = [waits for _, waits in queue.tickets(store.root)]
    if run_id not in waiting:
        return 0
    return max(0, len(_busy(store)) + waiting.index(run_id) + 1 - max_parallel_runs())


def _busy(store: RunStore) -> list[str]:
    """Return the runs that a process works on or is about to; they count as parallel runs."""
    busy = []
    for name in layout.names(store.root):
        with contextlib.suppress(RunError):
            if claims.is_claimed(store.root / name) or read_info(store.root / name).is_active:
                busy.append(name)
    return busy


def holders(store: RunStore) -> list[process.Identity]:
    """Return the processes that work on runs or are about to, from the claims and the statuses of the runs."""
    identities = []
    for name in _busy(store):
        for file in (layout.CLAIM, layout.STATUS):
            with contextlib.suppress(FileNotFoundError, RunError):
                identities.append(process.Identity.read(read_json(store.root / name / file)))
    return [identity for identity in identities if identity is not None]


def _start(store: RunStore, run_id: str) -> int | None:
    try:
        run = store.path(run_id)
        if read_info(run).state != "queued" or not claims.try_claim(run):
            return None
    except RunError:
        return None  # deleted or damaged since it was queued
    try:
        pid = spawn.start_worker(store.root, run)
    except OSError as error:
        claims.release_claim(run)
        raise RunError(f"run {run_id} cannot be started: {error.strerror or error}") from error
    claims.give_claim(run, pid)
    return pid


def cancel(store: RunStore, run_id: str) -> RunInfo:
    """Ask a run to stop after a checkpoint; a waiting one never starts. It can be resumed later.

    Returns:
        The run as it is now: stopping, or already cancelled.

    Raises:
        RunError: If it has ended already, or trains on another machine that cannot be reached from here.
    """
    info = store.get(run_id)
    folder = store.path(run_id)
    if info.is_final:
        raise RunError(f"run {run_id} has ended already: it is {info.state}")
    waiting = info.state == "queued"
    write_json(folder / layout.CANCEL, {"attempt": info.attempt + waiting, "time": time.time()})
    with queue.hold_queue(store.root):
        queue.drop_ticket(store.root, run_id)
        idle = info.state in ("queued", "lost") and not claims.is_claimed(folder)
    if not idle or not settle(store, run_id, "cancelled", info.reason or "cancelled before it began"):
        _signal(folder)
    return store.get(run_id)


def settle(store: RunStore, run_id: str, state: str, reason: str) -> bool:
    """Write the final state of a run that no process works on: one that never began, or died.

    Returns:
        False if a process holds it, or it has a final state already.
    """
    folder = store.path(run_id)
    try:
        with hold_lock(folder):
            info = read_info(folder)
            if info.is_final:
                return False
            write_json(folder / layout.STATUS, _status(info, state, reason))
            remove(folder / layout.CANCEL)
            return True
    except RunError:
        return False  # locked: it has begun, and will see a request


def _signal(folder: Path) -> None:
    """Send SIGTERM to the process of a run, and to its group if it leads one; not if another process has its pid now.

    A process that is still starting gets no signal; it reads the cancel request when it begins.
    """
    with contextlib.suppress(FileNotFoundError, RunError, ProcessLookupError):
        holder = process.Identity.read(read_json(folder / layout.STATUS))
        if holder is not None and holder.pid != os.getpid() and process.is_alive(holder):
            leads = os.getpgid(holder.pid) == holder.pid
            (os.killpg if leads else os.kill)(holder.pid, signal.SIGTERM)
