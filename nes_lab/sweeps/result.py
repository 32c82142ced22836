"""Hold the result of a sweep as plain data: trials, means over seeds, and the Pareto front.

Tests: tests/sweeps/test_sweep.py.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from nes_lab.records.columns import columns, number_column
from nes_lab.records.record import Part, Record
from nes_lab.records.table import Table
from nes_lab.runs.query import nondominated
from nes_lab.sweeps.words import setting_words

__all__ = ["SweepResult", "SweepSetting", "SweepTrial", "front", "settings_of"]

SEED = "seed"


@dataclass(frozen=True)
class SweepTrial(Part):
    """One trial of a sweep: its settings, its run and its result.

    Attributes:
        number: The number of the trial in the sweep's Optuna study.
        label: The settings of the trial in words.
        settings: The fields that the sweep varies, with the values of this trial.
        run: Id of the run that trains the trial.
        state: State of the trial. ``finished`` and ``failed`` are final; ``cancelled``, ``lost``, ``queued`` and ``running``
            trials can be continued.
        numbers: The known values of the objectives and of ``top1``, ``madds`` and ``params``, by name.
        reason: Why the trial is not finished; empty for finished trials and for unknown reasons.
        extended_from: Where the run was given more epochs than the sweep planned, such as ``epoch 20``; empty if it never was.
    """

    number: int
    label: str
    settings: Mapping[str, Any]
    run: str
    state: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    extended_from: str = ""


@dataclass(frozen=True)
class SweepSetting:
    """One setting of a sweep, with the trials that have it and differ only in their seed.

    Attributes:
        label: The settings that these trials share, in words.
        settings: The fields that the sweep varies, without the seed, with their values.
        trials: Numbers of all trials with this setting, finished or not.
        n: Number of finished runs of these trials. A run that several trials share counts once.
        mean: Means over the finished runs, by name: of the objectives, ``top1``, ``madds`` and ``params``. Empty while no
            run is finished.
        std: Sample standard deviations over the finished runs, by name. Empty if fewer than two runs are finished.
    """

    label: str
    settings: Mapping[str, Any]
    trials: tuple[int, ...]
    n: int
    mean: Mapping[str, float] = field(default_factory=dict)
    std: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class SweepResult(Record):
    """The result of a sweep, finished or not.

    Attributes:
        name: Name of the sweep, which is also the group of its runs.
        storage: URL of the database of the sweep's Optuna study, with the password hidden.
        trials: All trials that were started, in the order of their numbers.
        objectives: Name of each objective -> its direction, ``maximize`` or ``minimize``.
        planned: Number of trials that the sweep will have in total.
        interrupted: Whether the sweep was asked to stop.

    Examples:
        >>> import nes_lab
        >>> trial = {"number": 0, "label": "seed 0", "settings": {"seed": 0}, "run": "a-run", "state": "failed", "reason": "loss is nan"}
        >>> result = {"name": "seeds", "storage": "", "trials": [trial], "objectives": {"top1": "maximize"}, "planned": 1}
        >>> [trial.reason for trial in nes_lab.SweepResult.from_dict(result).unfinished]
        ['loss is nan']
    """

    NAME = "sweep result"
    SCHEMA = None

    name: str
    storage: str
    trials: tuple[SweepTrial, ...]
    objectives: Mapping[str, str]
    planned: int
    interrupted: bool = False

    @property
    def unfinished(self) -> tuple[SweepTrial, ...]:
        """The trials of the sweep that are not finished."""
        return tuple(trial for trial in self.trials if trial.state != "finished")

    @property
    def settings(self) -> tuple[SweepSetting, ...]:
        """The settings of the sweep, each with means over its seeds, in the order of their first trials."""
        return settings_of(self.trials)

    @property
    def front(self) -> tuple[SweepSetting, ...]:
        """The settings on the Pareto front of the objectives."""
        return front(self.settings, self.objectives)

    def table(self) -> Table:
        """Return the result of the sweep as a table, with one row per setting.

        A row has the means over the seeds of the setting. A star marks the settings on the Pareto front.
        """
        best, settings = {setting.label for setting in self.front}, self.settings
        names = list(dict.fromkeys(name for setting in settings for name in setting.mean))
        rows = [{"best": "*" if x.label in best else "", "setting": x.label, "seeds": x.n, **x.mean} for x in settings]
        return Table((*columns("best", "setting", "seeds"), *map(number_column, names)), rows)

    def notebook_table(self) -> Table:
        """Return the table that a notebook shows. The reasons of failed trials stand below it."""
        failed = [f"{trial.label}: {trial.state}, {trial.reason}" for trial in self.unfinished if trial.reason]
        return replace(self.table(), before=[repr(self)], after=failed)

    def __repr__(self) -> str:
        done = len(self.trials) - len(self.unfinished)
        state = ", interrupted" if self.interrupted else ""
        return (
            f"SweepResult: {self.name}, {done} of {self.planned} trials finished, {len(self.settings)} settings{state}"
        )

    @classmethod
    def upgrade(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Remove the computed values, such as the Pareto front, from the JSON of a saved result.

        They are computed again from the remaining fields.
        """
        return {name: value for name, value in data.items() if name not in ("settings", "front")}

    def to_dict(self) -> dict[str, Any]:
        """Return the result of the sweep as a dictionary for JSON."""
        settings = [asdict(setting) for setting in self.settings]
        return asdict(self) | {"settings": settings, "front": [setting.label for setting in self.front]}


def settings_of(trials: Sequence[SweepTrial]) -> tuple[SweepSetting, ...]:
    """Group trials that differ only in their seed. Return one :class:`SweepSetting` per group.

    A trial whose run was extended (given more epochs than planned) is not in one group with trials that were not.

    Examples:
        >>> trials = [SweepTrial(i, "", {"seed": i}, f"run-{i}", "finished", {"top1": 60.0 + 2 * i}) for i in (0, 1)]
        >>> [(setting.n, setting.mean["top1"], round(setting.std["top1"], 3)) for setting in settings_of(trials)]
        [(2, 61.0, 1.414)]
    """
    groups: dict[str, list[SweepTrial]] = {}
    for trial in trials:
        shared = {path: value for path, value in trial.settings.items() if path != SEED}
        groups.setdefault(json.dumps([shared, trial.extended_from], sort_keys=True), []).append(trial)
    return tuple(_setting(members) for members in groups.values())


def _setting(members: Sequence[SweepTrial]) -> SweepSetting:
    shared = {path: value for path, value in members[0].settings.items() if path != SEED}
    done = {trial.run: trial.numbers for trial in members if trial.state == "finished"}  # a sampler may draw one twice
    names = list(dict.fromkeys(name for numbers in done.values() for name in numbers))
    columns = {name: [numbers[name] for numbers in done.values() if name in numbers] for name in names}
    mean = {name: statistics.fmean(values) for name, values in columns.items()}
    std = {name: statistics.stdev(values) for name, values in columns.items() if len(values) > 1}
    extended = f", extended from {members[0].extended_from}" if members[0].extended_from else ""
    return SweepSetting(
        (setting_words(shared) or "all seeds") + extended,
        shared,
        tuple(trial.number for trial in members),
        len(done),
        mean,
        std,
    )


def front(settings: Sequence[SweepSetting], objectives: Mapping[str, str]) -> tuple[SweepSetting, ...]:
    """Return the settings on the Pareto front, starting with the best in the first objective.

    Settings are compared by their means of the objectives. A setting is not on the front if another setting is at least
    as good in every objective and better in at least one. Settings with equal means are on the front together.

    Examples:
        >>> small = SweepSetting("small", {}, (0,), 1, {"top1": 60.0, "madds": 5.0})
        >>> large = SweepSetting("large", {}, (1,), 1, {"top1": 50.0, "madds": 9.0})
        >>> [setting.label for setting in front([large, small], {"top1": "maximize", "madds": "minimize"})]
        ['small']
    """
    points = [_point(setting, objectives) for setting in settings]
    best = [
        pair for pair, is_best in zip(zip(points, settings, strict=True), nondominated(points), strict=True) if is_best
    ]
    return tuple(setting for _, setting in sorted(best, key=lambda pair: pair[0]))


def _point(setting: SweepSetting, objectives: Mapping[str, str]) -> tuple[float, ...]:
    """Return the mean of each objective of a setting, with a minus sign if it is to be maximized, so that smaller is always better."""
    signs = {"minimize": 1.0, "maximize": -1.0}
    return tuple(signs[direction] * setting.mean.get(name, math.nan) for name, direction in objectives.items())
