"""The result of a sweep as plain data: trials, their means over seeds, and the Pareto front. Imports nothing heavy."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from nes_lab.runs.query import nondominated
from nes_lab.sweeps.space import describe

__all__ = ["SweepResult", "SweepSetting", "SweepTrial", "front", "settings_of"]

SEED = "seed"


@dataclass(frozen=True)
class SweepTrial:
    """One trial of a sweep.

    Attributes:
        number: Its number in the study.
        label: Its settings in words.
        settings: The fields that vary, with the values of this trial.
        run: Id of its run directory.
        state: finished or failed for good; cancelled, lost, queued or running are to be continued.
        numbers: The objectives, and top1, madds and params, as far as they are known.
        reason: Why it is not finished.
    """

    number: int
    label: str
    settings: Mapping[str, Any]
    run: str
    state: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class SweepSetting:
    """The trials that differ in their seed only.

    Attributes:
        label: What they share, in words.
        settings: The fields that vary, without the seed.
        trials: Numbers of the trials, finished or not.
        n: How many of them are finished, each run counted once.
        mean: The numbers of the finished ones, averaged; empty while there is none.
        std: Their sample standard deviation; empty below two.
    """

    label: str
    settings: Mapping[str, Any]
    trials: tuple[int, ...]
    n: int
    mean: Mapping[str, float] = field(default_factory=dict)
    std: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SweepResult:
    """A sweep as it stands.

    Attributes:
        name: The sweep; the group of its runs.
        storage: Where the study is, without a password.
        trials: All that were begun, in order.
        objectives: Direction by name.
        planned: How many trials there are to be in all.
        interrupted: Whether it was asked to stop.

    Examples:
        >>> trial = SweepTrial(0, "seed=0", {"seed": 0}, "a-run", "failed", reason="loss is nan at step 7")
        >>> found = SweepResult("seeds", "", (trial,), {"top1": "maximize"}, planned=1)
        >>> [trial.reason for trial in found.unfinished]
        ['loss is nan at step 7']
    """

    name: str
    storage: str
    trials: tuple[SweepTrial, ...]
    objectives: Mapping[str, str]
    planned: int
    interrupted: bool = False

    @property
    def unfinished(self) -> tuple[SweepTrial, ...]:
        """Trials without a result."""
        return tuple(trial for trial in self.trials if trial.state != "finished")

    @property
    def settings(self) -> tuple[SweepSetting, ...]:
        """The trials averaged over seeds, in order of appearance."""
        return settings_of(self.trials)

    @property
    def front(self) -> tuple[SweepSetting, ...]:
        """The settings whose means no other setting beats."""
        return front(self.settings, self.objectives)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; the front as labels of settings."""
        settings = [asdict(setting) for setting in self.settings]
        return asdict(self) | {"settings": settings, "front": [setting.label for setting in self.front]}


def settings_of(trials: Sequence[SweepTrial]) -> tuple[SweepSetting, ...]:
    """Average trials that differ in their seed only.

    Examples:
        >>> trials = [SweepTrial(i, "", {"seed": i}, f"run-{i}", "finished", {"top1": 60.0 + 2 * i}) for i in (0, 1)]
        >>> [(found.n, found.mean["top1"], round(found.std["top1"], 3)) for found in settings_of(trials)]
        [(2, 61.0, 1.414)]
    """
    groups: dict[str, list[SweepTrial]] = {}
    for trial in trials:
        shared = {path: value for path, value in trial.settings.items() if path != SEED}
        groups.setdefault(json.dumps(shared, sort_keys=True), []).append(trial)
    return tuple(_setting(members) for members in groups.values())


def _setting(members: Sequence[SweepTrial]) -> SweepSetting:
    shared = {path: value for path, value in members[0].settings.items() if path != SEED}
    done = {trial.run: trial.numbers for trial in members if trial.state == "finished"}  # a sampler may draw one twice
    names = list(dict.fromkeys(name for numbers in done.values() for name in numbers))
    columns = {name: [numbers[name] for numbers in done.values() if name in numbers] for name in names}
    mean = {name: statistics.fmean(values) for name, values in columns.items()}
    std = {name: statistics.stdev(values) for name, values in columns.items() if len(values) > 1}
    return SweepSetting(
        describe(shared) or "all seeds", shared, tuple(trial.number for trial in members), len(done), mean, std
    )


def front(settings: Sequence[SweepSetting], objectives: Mapping[str, str]) -> tuple[SweepSetting, ...]:
    """Return the settings that no other beats: as good in every objective's mean, and better in one.

    The best in the first objective comes first; equal ones are on the front together.

    Examples:
        >>> small = SweepSetting("small", {}, (0,), 1, {"top1": 60.0, "madds": 5.0})
        >>> large = SweepSetting("large", {}, (1,), 1, {"top1": 50.0, "madds": 9.0})
        >>> [found.label for found in front([large, small], {"top1": "maximize", "madds": "minimize"})]
        ['small']
    """
    points = [_point(setting, objectives) for setting in settings]
    best = [
        pair for pair, is_best in zip(zip(points, settings, strict=True), nondominated(points), strict=True) if is_best
    ]
    return tuple(setting for _, setting in sorted(best, key=lambda pair: pair[0]))


def _point(setting: SweepSetting, objectives: Mapping[str, str]) -> tuple[float, ...]:
    """The means, with the sign that makes less better."""
    signs = {"minimize": 1.0, "maximize": -1.0}
    return tuple(signs[direction] * setting.mean.get(name, math.nan) for name, direction in objectives.items())
