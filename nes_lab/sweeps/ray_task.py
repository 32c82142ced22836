"""Train one run in a Ray worker. If the worker dies, Ray calls this again and the run continues from its checkpoint."""

from __future__ import annotations

import os
import time
from pathlib import Path

from nes_lab.errors import RunError
from nes_lab.runs import claims, layout
from nes_lab.runs.info import RunInfo, is_cancel_requested
from nes_lab.runs.launcher import requeue
from nes_lab.runs.spawn import end_python, start_python
from nes_lab.runs.store import RunStore

__all__ = ["is_over", "train_run"]

POLL_SECONDS, GRACE_SECONDS = 0.5, 60.0


def train_run(root: str, run_id: str, first: int, retries: int, place: str) -> str:
    """Train a run to its end on this machine, by the same process as everywhere else.

    While another process works on the run (that of a worker given up too early), it only waits: there are never two
    writers, because a run's lock allows one.

    Args:
        root: The folder of all runs, on a file system that all machines share.
        run_id: Id of the run.
        first: Attempts at the run before the trial was handed out.
        retries: How often it is resumed when its process dies.
        place: Folder to work in, as relative paths of the experiment mean it.

    Returns:
        The state it is left in.
    """
    store = RunStore(root)
    begun = 0
    while True:
        info = store.get(run_id)
        folder = store.path(run_id)
        if is_over(folder, info):
            return info.state
        if info.is_active or info.state == "stopping" or claims.is_claimed(folder):
            time.sleep(POLL_SECONDS)
            continue
        if begun > retries or info.attempt - first > retries:
            return info.state
        begun += 1
        if info.state != "queued":
            requeue(store, info)
        _train(store, run_id, place)


def is_over(folder: Path, info: RunInfo) -> bool:
    """Whether no program should resume a run: it is finished, failed, or was stopped on request.

    One that got a signal without being asked, as when a machine is shut down, is to be resumed.
    """
    if info.state != "cancelled":
        return info.state in ("finished", "failed")
    return is_cancel_requested(folder, max(1, info.attempt)) or info.reason.startswith("cancelled")


def _train(store: RunStore, run_id: str, place: str) -> None:
    if not os.path.isdir(place):
        raise RunError(f"run {run_id} cannot be started here: there is no folder {place}; is it a shared one?")
    words = [
        "-m",
        "nes_lab.sweeps.linked_process",
        str(os.getpid()),
        "_run",
        run_id,
        "--alone",
        "--root",
        str(store.root),
    ]
    child = start_python(words, store.path(run_id) / layout.LOG, cwd=place)
    try:
        child.wait()
    finally:  # the task itself may be cancelled
        end_python(child, GRACE_SECONDS)
