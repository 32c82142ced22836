"""One process's work on a sweep: what is to be continued, what to be begun, and what came of it."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from nes_lab.errors import RunError
from nes_lab.runs.info import RunInfo
from nes_lab.sweeps.executors import Executor
from nes_lab.sweeps.space import Candidate, candidate, decode, key_of

if TYPE_CHECKING:
    from nes_lab.sweeps.study import Record, TrialBook
    from nes_lab.sweeps.sweep import Sweep

__all__ = ["News", "Session"]

POLL_SECONDS = 0.25
News = Callable[[str, RunInfo | None], None]


class Session:
    """One process's work on a sweep."""

    def __init__(self, sweep: Sweep, book: TrialBook, executor: Executor, news: News) -> None:
        self.sweep, self.book, self.executor, self.news = sweep, book, executor, news
        self.waiting: deque[tuple[int, str]] = deque()  # begun before: number of the trial, its run
        self.fresh: deque[Candidate] = deque()
        self.numbers: dict[str, list[int]] = {}  # run at work -> trials it stands for
        self.orphans: dict[str, str] = {}  # experiment -> run that no trial knows
        self.begun = 0

    def prepare(self, retry_failed: bool) -> None:
        """Sort what is finished, what is to be continued and what is to be begun."""
        records = self.book.records()
        self.orphans = self._orphans({record.run for record in records})
        for record in records:
            if record.state == "open":
                self._take_up(record)
            elif record.state == "failed" and retry_failed and record.key:
                trial = candidate(self.sweep.base, decode(self.sweep.config, record.params))
                again = self.book.begin(trial, record.run, again=record.number)
                self._take_up(again)
        keys = [record.key for record in self.book.records() if record.key]
        self.begun, known = len(keys), set(keys)
        self.fresh.extend(trial for trial in self.sweep.candidates if trial.key not in known)

    def _orphans(self, known: set[str]) -> dict[str, str]:
        """Find runs of this sweep that no trial knows: of a killed process, or of a study that was lost."""
        mine = [info for info in self.sweep.store.list() if info.group == self.sweep.config.name]
        return {key_of(info.config): info.id for info in mine if info.id not in known and info.config}

    def _take_up(self, record: Record) -> None:
        """Continue a trial that has no result yet, on its own run if that is still there."""
        if not set(self.sweep.config.space) <= set(record.params):
            self.book.fail(record.number, "its process ended while its settings were drawn")
            return
        trial = candidate(self.sweep.base, decode(self.sweep.config, record.params))
        run = record.run
        with contextlib.suppress(RunError):
            if run and self.sweep.store.get(run):
                self.waiting.append((record.number, run))
                return
        run = self.orphans.pop(trial.key, "") or self._create(trial)
        self.book.note(record.number, trial, run)
        self.waiting.append((record.number, run))

    def _create(self, trial: Candidate) -> str:
        return self.sweep.store.create(trial.config.to_dict(), label=trial.label, group=self.sweep.config.name)

    def work(self, should_stop: Callable[[], object]) -> bool:
        """Hand out trials until none is left; return whether it was stopped before."""
        while True:
            stop = bool(should_stop())
            if stop:
                self.news("stopping", None)
                self.executor.stop()
            while not stop and len(self.numbers) < self.executor.places() and (found := self._next()):
                self._start(*found)
            for info in self.executor.ended():
                self._conclude(info)
            if stop or not (self.numbers or self._is_more()):
                return stop
            self.news("tick", None)
            time.sleep(POLL_SECONDS)

    def _is_more(self) -> bool:
        drawable = self.sweep.learns and self.begun < self.sweep.planned
        return bool(self.waiting or self.fresh) or drawable

    def _next(self) -> tuple[int, str] | None:
        if self.waiting:
            return self.waiting.popleft()
        if self.fresh:
            trial = self.fresh.popleft()
            run = self.orphans.pop(trial.key, "") or self._create(trial)
            return self.book.begin(trial, run).number, run
        return self._draw() if self._is_more() else None

    def _draw(self) -> tuple[int, str]:
        """Let the sampler choose; settings that were trained before keep their run and are not trained again."""
        known = {record.key: record.run for record in self.book.records()}
        record = self.book.suggest()
        trial = candidate(self.sweep.base, decode(self.sweep.config, record.params))
        run = known.get(trial.key) or self.orphans.pop(trial.key, "") or self._create(trial)
        self.book.note(record.number, trial, run)
        self.begun += 1
        return record.number, run

    def _start(self, number: int, run: str) -> None:
        if run in self.numbers:
            self.numbers[run].append(number)
            return
        self.numbers[run] = [number]
        info = self.sweep.store.get(run)
        if info.state == "finished":
            self._conclude(info)
            return
        try:
            self.executor.start(run)
        except RunError as error:  # such as a hung process that still holds it
            self._conclude(replace(info, state="lost", reason=str(error)))
        else:
            self.news("began", info)

    def _conclude(self, info: RunInfo) -> None:
        for number in self.numbers.pop(info.id, []):
            if info.state == "failed":
                self.book.fail(number, info.reason)
            elif info.state == "finished":
                self._finish(number, info)
        self.news("ended", info)

    def _finish(self, number: int, info: RunInfo) -> None:
        missing = [name for name in self.sweep.config.objectives if not _is_number(info.summary.get(name))]
        if missing:
            known = ", ".join(name for name, value in info.summary.items() if _is_number(value))
            self.book.fail(number, f"its summary has no {', '.join(missing)}; it has {known}")
        else:
            self.book.finish(number, info.summary)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
