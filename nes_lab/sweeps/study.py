"""Store the trials of a sweep in an Optuna study: the settings of each trial, its run, and its result.

Tests: tests/sweeps/test_sweep.py.
"""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nes_lab.config.sweep import Range, SweepConfig
from nes_lab.errors import OptionError, RunError
from nes_lab.packages import needed_for
from nes_lab.runs.flatten import flatten
from nes_lab.sweeps.space import Candidate, encode, has_grown

with needed_for("a sweep"):
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
    from optuna.trial import FrozenTrial, TrialState
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

__all__ = ["TrialRecord", "TrialBook", "shown_storage"]

OWNER = "folder"
KEY, RUN, REASON, SETTINGS, LABEL, DEFINITION = "key", "run", "reason", "settings", "label", "nes_lab"
_STATES = {TrialState.COMPLETE: "finished", TrialState.FAIL: "failed", TrialState.PRUNED: "failed"}


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a sweep as the Optuna study stores it.

    Attributes:
        number: The number of the trial in the study.
        state: ``finished``, ``failed``, or ``open`` when the trial has no result yet.
        key: A hash of the trial's experiment; empty if not stored yet.
        run: Id of the trial's run; empty when ``key`` is empty.
        params: The value of every field that the sweep varies, as Optuna stores it.
        settings: The fields that apply to this trial, with their values.
        values: The values of the objectives, by name; empty until the trial is finished.
        reason: Why the trial failed; empty if it did not fail.
    """

    number: int
    state: str
    key: str
    run: str
    params: dict[str, Any]
    settings: dict[str, Any]
    values: Mapping[str, float]
    reason: str


class TrialBook:
    """Opens or creates the Optuna study of a sweep, and records its trials there.

    Args:
        sweep: The configuration of the sweep.
        url: URL of the database of the study.
        definition: The base experiment, space (the fields that vary and their values), sampler, seed and objectives of
            the sweep. They may not change later. Only the lists of a grid may get more values.
        make: Create the study if there is none.

    Raises:
        KeyError: If there is no study and ``make`` is False.
        RunError: If the database cannot be opened.
        OptionError: If the study was created with another definition. The message names what differs.
    """

    def __init__(self, sweep: SweepConfig, url: str, definition: Mapping[str, Any], make: bool = True) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.sweep = sweep
        self.distributions = {path: _distribution(axis) for path, axis in sweep.space.items()}
        try:
            storage = optuna.storages.RDBStorage(url, engine_kwargs=_engine_options(url))
            if make:
                self.study = self._made(storage)
            else:
                self.study = optuna.load_study(study_name=sweep.name, storage=storage)
        except (SQLAlchemyError, optuna.exceptions.OptunaError, ImportError, OSError) as error:
            text = str(getattr(error, "orig", None) or error).replace(url, shown_storage(url))
            raise RunError(f"storage={shown_storage(url)!r} cannot be opened: {text[:500]}") from error
        self._check(definition, make)

    def _made(self, storage: optuna.storages.BaseStorage) -> optuna.Study:
        """Return the Optuna study of the sweep, and create it if there is none."""
        names, directions = list(self.sweep.objectives), list(self.sweep.objectives.values())
        study = optuna.create_study(
            study_name=self.sweep.name, storage=storage, directions=directions, load_if_exists=True
        )
        if study.metric_names is None and len(study.directions) == len(names):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names(names)  # for dashboards
        return study

    def _check(self, definition: Mapping[str, Any], make: bool) -> None:
        now = json.loads(json.dumps(definition, default=str))
        text = self.study.user_attrs.get(DEFINITION)
        if text is None:
            if self.study.trials:
                raise OptionError(
                    f"storage has a study named {self.sweep.name!r} that no sweep made; take another name"
                )
            self.study.set_user_attr(DEFINITION, json.dumps(now))
            return
        if (then := json.loads(text)) != now and has_grown(then, now):
            return self._grow(now) if make else None
        before, after = flatten(then), flatten(now)
        paths = [path for path in {**before, **after} if before.get(path) != after.get(path)]
        if paths:
            lines = [f"{path}: {before.get(path)!r} then, {after.get(path)!r} now" for path in paths[:8]]
            raise OptionError(
                f"sweep {self.sweep.name!r} was started with other settings:\n  " + "\n  ".join(lines) +
                "\nRestore them to continue it (the lists of a grid may grow), or give the new sweep another name."
            )  # fmt: skip

    def _grow(self, definition: Mapping[str, Any]) -> None:
        """Replace the Optuna study of a grid sweep by a copy that also allows the values that were added to the grid."""
        # Optuna cannot add values to an existing study. A process killed here may lose trials, but not their runs.
        trials, attrs, storage = self.study.get_trials(), self.study.user_attrs, self.study._storage
        optuna.delete_study(study_name=self.sweep.name, storage=storage)
        self.study = self._made(storage)
        for name, value in (attrs | {DEFINITION: json.dumps(definition)}).items():
            self.study.set_user_attr(name, value)
        for trial in trials:
            trial.distributions = {path: self.distributions[path] for path in trial.params}
            self.study.add_trial(trial)

    def tie(self, folder: str, where: str) -> None:
        """Record in the Optuna study which sweep folder it belongs to.

        Args:
            folder: Random name of this sweep's folder, stored in its ``sweep.json``.
            where: Folder of the runs and name of this machine. Error messages show this text.

        Raises:
            RunError: If the study belongs to another folder. The message shows where that folder is.
        """
        owner = self.study.user_attrs.get(OWNER)
        if owner is None:
            self.study.set_user_attr(OWNER, [folder, where])
        elif owner[0] != folder:
            raise RunError(
                f"sweep {self.sweep.name!r}: its study in that storage belongs to {owner[1]}, and this is {where}. Continue it "
                "there, or take another name; delete the study if those runs no longer exist"
            )

    def records(self) -> list[TrialRecord]:
        """Return all trials of the Optuna study in order. A failed trial is left out if a later trial repeats it."""
        trials = self.study.get_trials(deepcopy=False)
        again = {trial.user_attrs.get("again") for trial in trials}
        return [self._record(trial) for trial in trials if trial.number not in again]

    def _record(self, trial: FrozenTrial) -> TrialRecord:
        attrs = trial.user_attrs
        state = _STATES.get(trial.state, "open")
        values = dict(zip(self.sweep.objectives, trial.values or [], strict=False))
        settings = json.loads(attrs.get(SETTINGS, "{}"))
        params = dict(trial.params)
        return TrialRecord(
            trial.number, state, attrs.get(KEY, ""), attrs.get(RUN, ""), params, settings, values, attrs.get(REASON, "")
        )

    def suggest(self) -> TrialRecord:
        """Let Optuna's sampler choose settings, and add a trial with these settings to the sweep's Optuna study.

        A trial is one training run of the sweep. The study is Optuna's record of all trials.
        """
        # the number of earlier trials changes the seed, so a resumed sweep draws new settings
        self.study.sampler = _sampler(self.sweep, len(self.study.get_trials(deepcopy=False)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna warns if the steps of a range do not meet its end
            number = self.study.ask(self.distributions).number
        return self._record(self._trial(number))

    def begin(self, trial: Candidate, run: str, again: int | None = None) -> TrialRecord:
        """Add a trial with known settings to the Optuna study.

        Args:
            trial: The trial.
            run: Id of the run that trains the trial.
            again: Number of the failed trial that this trial repeats; None if it repeats none.
        """
        about = _about(trial, run) | ({} if again is None else {"again": again})
        params = {path: encode(value) for path, value in trial.point.items()}
        fresh = optuna.trial.create_trial(
            state=TrialState.RUNNING, params=params, distributions=self.distributions, user_attrs=about
        )
        self.study.add_trial(fresh)
        return self._record(self.study.get_trials(deepcopy=False)[-1])

    def note(self, number: int, trial: Candidate, run: str) -> TrialRecord:
        """Store the settings of a trial, a hash of its experiment, and the id of its run in the Optuna study."""
        for name, value in _about(trial, run).items():
            self._set(number, name, value)
        return self._record(self._trial(number))

    def finish(self, number: int, values: Mapping[str, float]) -> None:
        """Record in the sweep's Optuna study that a trial (one training run) has finished, with the values of its objectives."""
        self.study.tell(number, [float(values[name]) for name in self.sweep.objectives])

    def fail(self, number: int, reason: str) -> None:
        """Record in the sweep's Optuna study that a trial (one training run) has failed, with the reason."""
        self._set(number, REASON, reason[:2000])
        self.study.tell(number, state=TrialState.FAIL)

    def _set(self, number: int, name: str, value: Any) -> None:
        self.study._storage.set_trial_user_attr(self._trial(number)._trial_id, name, value)

    def _trial(self, number: int) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]


def _about(trial: Candidate, run: str) -> dict[str, str]:
    return {KEY: trial.key, RUN: run, SETTINGS: json.dumps(trial.settings), LABEL: trial.label}


def _distribution(axis: Range | tuple[Any, ...]) -> BaseDistribution:
    if not isinstance(axis, Range):
        return CategoricalDistribution([encode(value) for value in axis])
    if isinstance(axis.low, int) and isinstance(axis.high, int) and isinstance(axis.step, int | None):
        return IntDistribution(axis.low, axis.high, log=axis.log, step=axis.step or 1)
    high = axis.low + (len(axis.values()) - 1) * axis.step if axis.step else axis.high
    return FloatDistribution(axis.low, high, log=axis.log, step=axis.step)


def _sampler(sweep: SweepConfig, done: int) -> optuna.samplers.BaseSampler:
    seed = random.Random(f"{sweep.seed}-{done}").randrange(2**31)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if sweep.sampler == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=min(50, max(4, (sweep.trials or 0) // 4)))
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


def _engine_options(url: str) -> dict[str, Any]:
    return {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}


def shown_storage(url: str) -> str:
    """Return the URL of a database with its password hidden.

    Examples:
        >>> shown_storage("postgresql://lab:secret@db/sweeps")
        'postgresql://lab:***@db/sweeps'
    """
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "(not a URL)"
