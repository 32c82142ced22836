"""Train the runs of a sweep with separate processes on this machine. ``ray_executor`` does the same on a Ray cluster.

To train in another way, write a class with the methods of :class:`Executor` and name it in ``sweep.EXECUTORS``.

Tests: tests/sweeps/test_sweep.py.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from nes_lab.errors import OptionError, RunError
from nes_lab.runs import claims, launcher, queue
from nes_lab.runs.info import RunInfo
from nes_lab.runs.store import RunStore
from nes_lab.sweeps.ray_task import is_over

__all__ = ["Executor", "LocalExecutor", "stop_runs"]

STOP_SECONDS = 120.0
NEVER_BEGAN = "its process ended before it began; log.txt may say why"


class Executor(Protocol):
    """The interface of a class that trains the runs of a sweep and reports which have ended."""

    def open(self) -> contextlib.AbstractContextManager[None]:
        """Return a context manager that is open while runs train. For example, it connects to a Ray cluster and disconnects at the end."""
        ...

    def places(self) -> int:
        """Return how many trials (runs of a sweep) may train at the same time."""
        ...

    def start(self, run_id: str) -> None:
        """Start the training of a run, or resume it."""
        ...

    def ended(self) -> list[RunInfo]:
        """Return the runs that have ended since the last call, among those that this object trains."""
        ...

    def stop(self) -> None:
        """Ask all runs that this object trains to save a checkpoint and stop. Wait for them at most two minutes."""
        ...


class LocalExecutor:
    """Trains the runs of a sweep with separate processes on this machine. The runs wait in a queue until they are trained.

    Args:
        store: The store of the runs.
        jobs: Number of runs that train at the same time. Runs that were in the queue before count too.
        retries: How often a run is resumed after its process died.
    """

    def __init__(self, store: RunStore, jobs: int = 1, retries: int = 2) -> None:
        if jobs < 1:
            raise OptionError(f"jobs={jobs} should be at least 1: the number of trials at a time")
        self.store, self.jobs, self.retries = store, jobs, retries
        self.tries: dict[str, int] = {}

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Let at least ``jobs`` runs train at the same time inside the ``with`` block. Afterwards the old limit applies again."""
        before = os.environ.get("NES_LAB_PLACES")
        os.environ["NES_LAB_PLACES"] = str(max(self.jobs, launcher.max_parallel_runs()))  # child processes read it too
        try:
            yield
        finally:
            os.environ.pop("NES_LAB_PLACES")
            if before is not None:
                os.environ["NES_LAB_PLACES"] = before

    def places(self) -> int:
        """Return how many runs may train at the same time: the number ``jobs``."""
        return self.jobs

    def start(self, run_id: str) -> None:
        """Put a run into the queue of runs that wait to be trained."""
        launcher.launch(self.store, run_id)
        self.tries[run_id] = 0

    def ended(self) -> list[RunInfo]:
        """Return the runs that have ended since the last call.

        A run whose process died is not returned but resumed, at most ``retries`` times.
        """
        launcher.start_waiting(self.store)
        ended = [info for run_id in list(self.tries) if (info := self._end_of(run_id)) is not None]
        for info in ended:
            del self.tries[info.id]
        return ended

    def _end_of(self, run_id: str) -> RunInfo | None:
        try:
            info = self.store.get(run_id)
            if is_over(self.store.path(run_id), info):
                return info
            is_over_early = info.state == "queued" and not self._is_expected(run_id)
            if info.state in ("lost", "cancelled") or is_over_early:
                if self.tries[run_id] >= self.retries:
                    return replace(info, state="lost", reason=NEVER_BEGAN) if is_over_early else info
                self.tries[run_id] += 1
                launcher.launch(self.store, run_id)
        except RunError as error:
            return RunInfo(run_id, state="lost", reason=str(error))
        return None

    def _is_expected(self, run_id: str) -> bool:
        with queue.hold_queue(self.store.root):  # under this lock, a run is either in the queue or claimed
            waits = run_id in (name for _, name in queue.tickets(self.store.root))
            return waits or claims.is_claimed(self.store.path(run_id)) or self.store.get(run_id).state != "queued"

    def stop(self) -> None:
        """Cancel all runs that this object trains. Cancelled runs can be resumed."""
        stop_runs(self.store, list(self.tries))


def stop_runs(store: RunStore, run_ids: list[str]) -> None:
    """Ask runs to stop, and wait for them at most two minutes."""
    for run_id in run_ids:
        with contextlib.suppress(RunError):  # the run has just ended
            launcher.cancel(store, run_id)
    end = time.monotonic() + STOP_SECONDS
    while time.monotonic() < end and any(_is_working(store, run_id) for run_id in run_ids):
        time.sleep(0.2)


def _is_working(store: RunStore, run_id: str) -> bool:
    try:
        return store.get(run_id).is_active
    except RunError:
        return False
