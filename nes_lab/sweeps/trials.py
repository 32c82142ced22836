"""Run the trials of a sweep: resume unfinished trials, start new ones, and record their results in the Optuna study.

Tests: tests/sweeps/test_sweep.py.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from nes_lab.errors import RunError
from nes_lab.progress_bar import OnProgress
from nes_lab.runs.info import RunInfo
from nes_lab.runs.store import RunStore
from nes_lab.sweeps.executors import Executor
from nes_lab.sweeps.space import Candidate, SweepSpace, key_of

if TYPE_CHECKING:
    from nes_lab.sweeps.study import TrialBook, TrialRecord

__all__ = ["OnRun", "TrialRunner"]

POLL_SECONDS = 0.25
OnRun = Callable[[str, RunInfo], object]
"""Type of a function that is called with ``"began"`` or ``"ended"`` and the run, when a run begins or ends."""


class TrialRunner:
    """Starts the trials of a sweep, and writes their results into the sweep's Optuna study.

    The attribute ``resumable`` holds the trials that were started before, ``fresh`` the new trials of a grid sweep or a random
    sweep. The samplers ``tpe`` and ``nsga2`` choose each new trial just before it starts.

    Args:
        store: The store of the runs.
        space: The checked trials of the sweep.
        book: The Optuna study of the sweep.
        executor: Object that trains the runs.
        on_progress: Function that is called several times a second with a progress event that counts trials.
        on_run: Function that is called with ``"began"`` or ``"ended"`` and the run, when a run begins or ends; None calls
            nothing.
    """

    def __init__(
        self,
        store: RunStore,
        space: SweepSpace,
        book: TrialBook,
        executor: Executor,
        on_progress: OnProgress,
        on_run: OnRun | None = None,
    ) -> None:
        self.store, self.space, self.book, self.executor = store, space, book, executor
        self.on_progress, self.on_run = on_progress, on_run or (lambda *_: None)
        self.resumable: deque[tuple[int, str]] = deque()  # number of the trial, id of its run
        self.fresh: deque[Candidate] = deque()
        self.numbers: dict[str, list[int]] = {}  # active run -> the trials that it trains
        self.orphans: dict[str, str] = {}  # key of an experiment -> run that no trial knows
        self.begun = 0
        self.retry_failed = False

    def prepare(self, retry_failed: bool) -> None:
        """Find the trials to run: unfinished trials go into :attr:`resumable`, and new trials into :attr:`fresh`.

        Args:
            retry_failed: Also resume trials that failed.
        """
        self.retry_failed = retry_failed
        records = self.book.records()
        self.orphans = self._orphans({record.run for record in records})
        for record in records:
            if record.state == "open":
                self._resume(record)
            elif record.state == "failed" and retry_failed and record.key:
                trial = self.space.candidate(record.params)
                self._resume(self.book.begin(trial, record.run, again=record.number))
        keys = [record.key for record in self.book.records() if record.key]
        self.begun = len(keys)
        self.fresh.extend(trial for trial in self.space.candidates if trial.key not in keys)

    def _orphans(self, known: set[str]) -> dict[str, str]:
        """Return the runs of this sweep that no trial in the Optuna study names. They can be used for new trials.

        Returns:
            A dict with one entry per run: the key of the run's experiment (a hash), and the id of the run.
        """
        members = [info for info in self.store.list() if info.group == self.space.config.name]
        usable = [info for info in members if info.config and not info.extended_from]
        return {key_of(info.config): info.id for info in usable if info.id not in known}

    def _resume(self, record: TrialRecord) -> None:
        """Put an unfinished trial into the list of the trials that the sweep will resume.

        A trial is one training run of the sweep. If the files of the run were deleted, the trial gets a new run.
        """
        if not set(self.space.config.space) <= set(record.params):
            self.book.fail(record.number, "its process ended while its settings were drawn")
            return
        run = record.run
        with contextlib.suppress(RunError):
            if run and self.store.get(run):
                self.resumable.append((record.number, run))
                return
        trial = self.space.candidate(record.params)
        run = self._run_of(trial)
        self.book.note(record.number, trial, run)
        self.resumable.append((record.number, run))

    def _run_of(self, trial: Candidate) -> str:
        """Return the id of a run for a trial. An unused run of the same experiment is taken first; otherwise a new run is made."""
        if orphan := self.orphans.pop(trial.key, ""):
            return orphan
        return self.store.create(trial.config.to_dict(), label=trial.label, group=self.space.config.name)

    def work(self, should_stop: Callable[[], object]) -> bool:
        """Run the trials of the sweep until all have ended, or until ``should_stop`` returns true.

        Returns:
            True if ``should_stop`` returned true.
        """
        while True:
            stop = bool(should_stop())
            if stop:
                self._report("stopping")
                self.executor.stop()
            while not stop and len(self.numbers) < self.executor.places() and (trial := self._next()):
                self._start(*trial)
            for info in self.executor.ended():
                self._record(info)
            if stop or not (self.numbers or self._has_next()):
                return stop
            self._report("trials")
            time.sleep(POLL_SECONDS)

    def _report(self, phase: str) -> None:
        active = sum(map(len, self.numbers.values()))
        done = self.begun - active - len(self.resumable)
        self.on_progress({"phase": phase, "done": done, "total": self.space.planned, "label": f"{active} active"})

    def _has_next(self) -> bool:
        return bool(self.resumable or self.fresh) or (self.space.learns and self.begun < self.space.planned)

    def _next(self) -> tuple[int, str] | None:
        """Choose the trial (training run) that the sweep starts next, and return its number and the id of its run.

        Return None if no trial is left.
        """
        if self.resumable:
            return self.resumable.popleft()
        if not self._has_next():
            return None
        self.begun += 1
        if self.fresh:
            trial = self.fresh.popleft()
            run = self._run_of(trial)
            return self.book.begin(trial, run).number, run
        return self._draw()

    def _draw(self) -> tuple[int, str] | None:
        """Let the sampler choose the settings of a new trial, and return the trial's number and the id of its run.

        Trials with equal experiments share one run. If that run has failed and failed trials are not resumed, the new trial has
        failed too, and None is returned.
        """
        runs = {record.key: record.run for record in self.book.records()}
        record = self.book.suggest()
        trial = self.space.candidate(record.params)
        run = runs.get(trial.key) or self._run_of(trial)
        self.book.note(record.number, trial, run)
        if trial.key in runs and not self.retry_failed:
            with contextlib.suppress(RunError):
                if (info := self.store.get(run)).state == "failed":
                    self.book.fail(record.number, info.reason)
                    return None
        return record.number, run

    def _start(self, number: int, run: str) -> None:
        if run in self.numbers:
            self.numbers[run].append(number)
            return
        self.numbers[run] = [number]
        info = self.store.get(run)
        if info.state == "finished":
            self._record(info)
            return
        try:
            self.executor.start(run)
        except RunError as error:  # for example, a hung process still holds the run's lock
            self._record(replace(info, state="lost", reason=str(error)))
        else:
            self.on_run("began", info)

    def _record(self, info: RunInfo) -> None:
        """Write the result of a run into the sweep's Optuna study.

        A trial (one training run of the sweep) that was cancelled or lost gets no result and can be resumed.
        """
        for number in self.numbers.pop(info.id, []):
            if info.state == "failed":
                self.book.fail(number, info.reason)
            elif info.state == "finished":
                self._finish(number, info)
        self.on_run("ended", info)

    def _finish(self, number: int, info: RunInfo) -> None:
        missing = [name for name in self.space.config.objectives if not _is_number(info.summary.get(name))]
        if missing:
            names = ", ".join(name for name, value in info.summary.items() if _is_number(value))
            self.book.fail(number, f"its summary has no {', '.join(missing)}; it has {names}")
        else:
            self.book.finish(number, info.summary)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
