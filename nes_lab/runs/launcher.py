"""Put runs into the queue, start them while fewer than the allowed number train, and cancel them.

Also write the final state of runs whose training process has died.
"""

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
from nes_lab.runs.info import RunInfo, read_info, refuse_finished
from nes_lab.runs.lock import hold_lock
from nes_lab.runs.put_back import drop_requests, former_status, queued_status
from nes_lab.runs.store import RunStore

__all__ = ["cancel", "holders", "launch", "max_parallel_runs", "requeue", "runs_before", "settle", "start_waiting"]

DEFAULT_PARALLEL_RUNS = 1  # $NES_LAB_PLACES changes it


def max_parallel_runs() -> int:
    """Return how many queued runs may train at the same time: the value of ``$NES_LAB_PLACES``, or 1 if it is not set.

    Raises:
        RunError: If the variable is not an integer from 1 to 1024.
    """
    text = os.environ.get("NES_LAB_PLACES", str(DEFAULT_PARALLEL_RUNS))
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise RunError(f"NES_LAB_PLACES={text!r} should be a number from 1 to 1024")
    return int(text)


def launch(store: RunStore, run_id: str) -> int | None:
    """Put a run into the queue. The run starts at once if fewer than :func:`max_parallel_runs` runs train.

    A cancelled, failed or lost run is resumed. A second call for the same run does not start it twice.

    Returns:
        Id of the process that trains the run, or None while the run waits for other runs to end.

    Raises:
        RunError: If the run is already finished, or cannot be started.
    """
    info = store.get(run_id)
    if info.is_active:
        return info.pid
    refuse_finished(info)
    if info.given:
        raise RunError(f"run {run_id} cannot train in the background: it continues only when {info.given_again()}")
    with queue.hold_queue(store.root):
        if info.state != "queued":
            requeue(store, info)
        queue.take_ticket(store.root, run_id)
    return start_waiting(store).get(run_id) or store.get(run_id).pid


def requeue(store: RunStore, info: RunInfo) -> None:
    """Set a run that was cancelled, failed or lost to ``queued``, so that it can be resumed.

    Raises:
        RunError: If a process still holds the lock of the run.
    """
    folder = store.path(info.id)
    with hold_lock(folder):
        former = former_status(folder)
        drop_requests(folder, info)
        write_json(folder / layout.STATUS, queued_status(info, former))


def _status(info: RunInfo, state: str, reason: str) -> dict[str, Any]:
    return {"state": state, "reason": reason, "step": info.step, "total": info.total, "attempt": info.attempt}


def start_waiting(store: RunStore, start_runner: bool = True) -> dict[str, int]:
    """Start waiting runs in the order of the queue, up to :func:`max_parallel_runs` at a time.

    If runs still wait then, the process :mod:`nes_lab.runs.queue_runner`, called the queue runner, starts them later.

    Args:
        store: The store of the runs.
        start_runner: Whether to start a queue runner if runs still wait and no queue runner exists.

    Returns:
        A mapping from the id of each started run to the id of the process that trains it.
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
            with contextlib.suppress(OSError):  # without a queue runner, the end of a run still starts the next one
                spawn.start_queue_runner(store.root)
    return started


def runs_before(store: RunStore, run_id: str) -> int:
    """Return how many other runs must end before a queued run can start.

    The result is 0 if the run can start now, or if it is not in the queue.
    """
    waiting = [waits for _, waits in queue.tickets(store.root)]
    if run_id not in waiting:
        return 0
    return max(0, len(_busy(store)) + waiting.index(run_id) + 1 - max_parallel_runs())


def _busy(store: RunStore) -> list[str]:
    """Return the ids of the runs that are being trained or are about to start.

    These runs count toward :func:`max_parallel_runs`.
    """
    busy = []
    for name in layout.names(store.root):
        with contextlib.suppress(RunError):
            if claims.is_claimed(store.root / name) or read_info(store.root / name).is_active:
                busy.append(name)
    return busy


def holders(store: RunStore) -> list[process.Identity]:
    """Return the processes that train a run or are about to train one.

    Each run names its process in two files: the claim file, which reserves the run, and the status file.
    """
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
    """Ask a training run to stop, or take a waiting run out of the queue.

    A training run saves a checkpoint before it stops. The run can be resumed later.

    Returns:
        The run. Its state is now ``stopping`` or already ``cancelled``.

    Raises:
        RunError: If the run has already ended, or its folder cannot be written.
    """
    info = store.get(run_id)
    folder = store.path(run_id)
    if info.is_final:
        raise RunError(f"run {run_id} has already ended: it is {info.state}")
    waiting = info.state == "queued"
    write_json(folder / layout.CANCEL, {"attempt": info.attempt + waiting, "time": time.time()})
    with queue.hold_queue(store.root):
        queue.drop_ticket(store.root, run_id)
        idle = info.state in ("queued", "lost") and not claims.is_claimed(folder)
    if not idle or not settle(store, run_id, "cancelled", info.reason or "cancelled before it began"):
        _signal(folder)
    return store.get(run_id)


def settle(store: RunStore, run_id: str, state: str, reason: str) -> bool:
    """Write the final state of a run whose training process never started or has died.

    Args:
        store: The store of the run.
        run_id: Id of the run.
        state: The final state: ``cancelled``, ``failed`` or ``finished``.
        reason: Why the run has this state.

    Returns:
        True if the state was written. False if a process holds the lock of the run, or the run already has a final state.
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
        return False  # the lock is held: the run has started, and its process will see the request to stop


def _signal(folder: Path) -> None:
    """Tell the process that trains a run to end, by the signal SIGTERM.

    A training process that is still starting gets no signal. It finds the request to stop in the run's folder.
    """
    with contextlib.suppress(FileNotFoundError, RunError, ProcessLookupError):
        holder = process.Identity.read(read_json(folder / layout.STATUS))
        if holder is not None and holder.pid != os.getpid() and process.is_alive(holder):
            # The signal goes to the whole process group if the training process leads one.
            leads = os.getpgid(holder.pid) == holder.pid
            (os.killpg if leads else os.kill)(holder.pid, signal.SIGTERM)
