"""Train one run as a task of Ray. If the task dies, Ray starts it again, and the run resumes from its checkpoint.

Tests: tests/sweeps/test_ray.py.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from nes_lab.errors import RunError
from nes_lab.runs import claims, layout
from nes_lab.runs.allocator import allocator_settings
from nes_lab.runs.info import RunInfo, is_cancel_requested
from nes_lab.runs.launcher import requeue
from nes_lab.runs.spawn import end_python, start_python
from nes_lab.runs.store import RunStore

__all__ = ["is_over", "train_run"]

POLL_SECONDS, GRACE_SECONDS = 0.5, 60.0


def train_run(root: str, run_id: str, first: int, retries: int, place: str) -> str:
    """Train a run to its end on this machine, in a separate training process.

    If another process still trains the run, this function waits until that process has ended, and then looks at the run's
    state. A run that has not ended is resumed.

    Args:
        root: The folder of all runs, on a file system that all machines share.
        run_id: Id of the run.
        first: How often the run had been started or resumed before this function was first called for it.
        retries: How often the run may be resumed after its process died. Resumes before ``first`` do not count.
        place: Working folder of the training. Relative paths in the experiment start there.

    Returns:
        The last state of the run: ``finished``, ``failed``, ``cancelled`` or ``lost``.
    """
    store = RunStore(root)
    started = 0
    while True:
        info = store.get(run_id)
        folder = store.path(run_id)
        if is_over(folder, info):
            return info.state
        if info.is_active or info.state == "stopping" or claims.is_claimed(folder):
            time.sleep(POLL_SECONDS)
            continue
        if started > retries or info.attempt - first > retries:
            return info.state
        started += 1
        if info.state != "queued":
            requeue(store, info)
        _train(store, run_id, place)


def is_over(folder: Path, info: RunInfo) -> bool:
    """Return whether a Ray task must leave a run as it is, because it finished, failed, or was cancelled by a user."""
    # a run that only received a signal, as when its machine shuts down, is not over
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
    child = start_python(words, store.path(run_id) / layout.LOG, cwd=place, environment=allocator_settings())
    try:
        child.wait()
    finally:  # also when Ray cancels this task
        end_python(child, GRACE_SECONDS)
