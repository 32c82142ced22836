"""Train the runs of trials with detached processes of this machine. A Ray cluster does the same in ``ray_executor``.

To add another way, write a class with the methods of :class:`Executor` and name it in ``sweep.EXECUTORS``.
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
    """Trains runs until told to stop."""

    def open(self) -> contextlib.AbstractContextManager[None]:
        """Prepare for training, and clean up afterwards."""
        ...

    def places(self) -> int:
        """Return how many trials may be handed out at the same time."""
        ...

    def start(self, run_id: str) -> None:
        """Hand out a run, which may have been begun before."""
        ...

    def ended(self) -> list[RunInfo]:
        """Return the handed-out runs that came to an end since the last call."""
        ...

    def stop(self) -> None:
        """Ask all handed-out runs to save a checkpoint and stop, and wait a while for it."""
        ...


class LocalExecutor:
    """Detached processes of this machine, in the queue that all runs share.

    Args:
        store: The runs.
        jobs: Number of trials at a time. Runs that wait already come first and count.
        retries: How often a run whose process died is resumed.
    """

    def __init__(self, store: RunStore, jobs: int = 1, retries: int = 2) -> None:
        if jobs < 1:
            raise OptionError(f"jobs={jobs} should be at least 1: the number of trials at a time")
        self.store, self.jobs, self.retries = store, jobs, retries
        self.tries: dict[str, int] = {}

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Let the queue start as many runs at a time as there are jobs."""
        before = os.environ.get("NES_LAB_PLACES")
        os.environ["NES_LAB_PLACES"] = str(max(self.jobs, launcher.max_parallel_runs()))  # what it starts reads it too
        try:
            yield
        finally:
            os.environ.pop("NES_LAB_PLACES")
            if before is not None:
                os.environ["NES_LAB_PLACES"] = before

    def places(self) -> int:
        """Return the number of jobs."""
        return self.jobs

    def start(self, run_id: str) -> None:
        """Queue a run."""
        launcher.launch(self.store, run_id)
        self.tries[run_id] = 0

    def ended(self) -> list[RunInfo]:
        """Return the runs that ended; those whose process died are queued again first, as often as allowed."""
        launcher.start_waiting(self.store)
        found = [info for run_id in list(self.tries) if (info := self._end_of(run_id)) is not None]
        for info in found:
            del self.tries[info.id]
        return found

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
        with queue.hold_queue(self.store.root):  # between leaving the queue and being claimed there is no moment then
            waits = run_id in (name for _, name in queue.tickets(self.store.root))
            return waits or claims.is_claimed(self.store.path(run_id)) or self.store.get(run_id).state != "queued"

    def stop(self) -> None:
        """Cancel the runs that were handed out; they can be resumed."""
        stop_runs(self.store, list(self.tries))


def stop_runs(store: RunStore, run_ids: list[str]) -> None:
    """Ask runs to stop, and wait until they have."""
    for run_id in run_ids:
        with contextlib.suppress(RunError):  # it has just ended
            launcher.cancel(store, run_id)
    end = time.monotonic() + STOP_SECONDS
    while time.monotonic() < end and any(_is_working(store, run_id) for run_id in run_ids):
        time.sleep(0.2)


def _is_working(store: RunStore, run_id: str) -> bool:
    try:
        return store.get(run_id).is_active
    except RunError:
        return False
