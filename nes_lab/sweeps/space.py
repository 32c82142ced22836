"""List and check the trials of a sweep: their settings, their experiments, and the values that Optuna stores."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nes_lab.config import ExperimentConfig, load_config
from nes_lab.config.sweep import Range, SweepConfig
from nes_lab.errors import OptionError
from nes_lab.recipes.registry import experiment_tree, recipe_names
from nes_lab.records.renamed_fields import current_fields, current_tree
from nes_lab.sweeps.words import setting_words

__all__ = [
    "Candidate",
    "SweepSpace",
    "base_tree",
    "candidate",
    "check_corners",
    "check_space",
    "decode",
    "encode",
    "enumerate_trials",
    "has_grown",
    "key_of",
]

MOST_CORNERS = 4096
_REDRAWS = 100


@dataclass(frozen=True)
class Candidate:
    """One trial of a sweep before it is started: its settings and its experiment, already checked.

    Attributes:
        point: The value of every field that the sweep varies, by the path of the field, such as ``training.epochs``.
        settings: The values of ``point`` that apply to this trial. A trial without ``compression`` has no fields of that
            section.
        config: The configuration of the experiment.
        key: A hash of the experiment. Trials with equal experiments have the same key.
        label: The settings in words.
    """

    point: dict[str, Any]
    settings: dict[str, Any]
    config: ExperimentConfig
    key: str
    label: str


@dataclass(frozen=True)
class SweepSpace:
    """The checked trials of a sweep.

    Attributes:
        config: The configuration of the sweep.
        base: The sections of the base experiment, from which all trials start.
        candidates: All trials of a grid sweep or a random sweep; empty for the samplers ``tpe`` and ``nsga2``.
    """

    config: SweepConfig
    base: dict[str, Any]
    candidates: tuple[Candidate, ...] = ()

    @property
    def learns(self) -> bool:
        """True if the sampler of the sweep learns from earlier trials (``tpe`` and ``nsga2``)."""
        return self.config.sampler in ("tpe", "nsga2")

    @property
    def planned(self) -> int:
        """Number of trials that the sweep will have in total."""
        return (self.config.trials or 0) if self.learns else len(self.candidates)

    def candidate(self, params: Mapping[str, Any]) -> Candidate:
        """Check and return the trial (one run of the sweep) whose settings Optuna stores as ``params``."""
        return candidate(self.base, decode(self.config, params))


def check_space(config: SweepConfig) -> SweepSpace:
    """List and check the trials of a sweep.

    The samplers ``tpe`` and ``nsga2`` choose their trials later. For them, only listed values and the ends of ranges are
    checked.

    Raises:
        OptionError: If a combination of settings is not a valid experiment.

    Examples:
        >>> from nes_lab.config.sweep import load_sweep
        >>> [trial.label for trial in check_space(load_sweep({"name": "a", "space": {"seed": [0, 1]}})).candidates]
        ['seed 0', 'seed 1']
    """
    space = SweepSpace(config, base_tree(config.base))
    if not space.learns:
        return replace(space, candidates=tuple(enumerate_trials(config, space.base)))
    check_corners(config, space.base)
    return space


def base_tree(base: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections of a sweep's base experiment: the configuration in which each trial changes some fields.

    Args:
        base: A mapping with the sections, the path of a YAML file, or the name of a recipe, which is a named experiment
            (``name`` or ``name/variant``).

    Raises:
        OptionError: If there is no such file or recipe. The message names the nearest recipe.
    """
    if not isinstance(base, str):
        return dict(base)
    name, _, variant = base.partition("/")
    if name in recipe_names() and not Path(base).is_file():
        return dict(experiment_tree(name, variant or None))
    return dict(experiment_tree(base))


def candidate(base: Mapping[str, Any], point: Mapping[str, Any]) -> Candidate:
    """Return the trial (one run of a sweep) that changes the fields of ``point`` in the experiment ``base``.

    The changed experiment is checked.

    Args:
        base: The sections of the base experiment.
        point: The value of every field that the sweep varies, by the path of the field, such as ``training.epochs``.

    Raises:
        OptionError: If the changed experiment is not valid. The message names the settings and the wrong field.

    Examples:
        >>> candidate({}, {"seed": 3, "training.epochs": 2}).label
        'seed 3, epochs 2'
    """
    tree = current_tree(json.loads(json.dumps(base, default=str)))
    settings = {path: value for path, value in point.items() if not _is_left_out(path, point)}
    for path in sorted(settings, key=lambda path: path.count(".")):
        section, _, field = path.rpartition(".")
        for name, value in current_fields(section, field, settings[path]).items():
            _put(tree, f"{section}.{name}" if section else name, value)
    label = setting_words(settings)
    try:
        config = load_config(tree)
    except OptionError as error:
        raise OptionError(f"trial ({label}): {str(error).removeprefix('config: ')}") from error
    if config.start is not None:
        raise OptionError(
            f"start={config.start!r}: the runs of a sweep start from a backbone; give its backbone.checkpoint instead"
        )
    return Candidate(dict(point), settings, config, key_of(config.to_dict()), label)


def key_of(config: Mapping[str, Any]) -> str:
    """Return the key of an experiment: a hash of its fields, without its label. Equal experiments have equal keys.

    Every version of NES Lab since 0.1.0 gives an experiment the same key, so sweeps of older versions can be continued.
    """
    # studies store these keys, so a field renamed after version 0.1.0 enters the hash with its old name
    content = {name: value for name, value in config.items() if name != "label"}
    if (section := content.get("compression")) and "initial_weights" in section:
        old = "search" if section["search_starts"] else section["initial_weights"]
        new = ("initial_weights", "search_starts")
        content["compression"] = {name: value for name, value in section.items() if name not in new} | {"weights": old}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _is_left_out(path: str, point: Mapping[str, Any]) -> bool:
    """Return True if a trial (one run of a sweep) sets the section of a field to None.

    For example, a dense network has no section ``compression``.
    """
    parents = itertools.accumulate(path.split(".")[:-1], lambda left, right: f"{left}.{right}")
    return any(parent in point and point[parent] is None for parent in parents)


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        if not isinstance(tree.get(parent), dict):
            tree[parent] = {}
        tree = tree[parent]
    tree[last] = json.loads(json.dumps(value))


def encode(value: Any) -> str | int | float | bool | None:
    """Return the value of a field in the form that Optuna stores: scalars unchanged, sections and lists as JSON."""
    return value if isinstance(value, str | int | float | bool | None) else json.dumps(value)


def decode(sweep: SweepConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the parameters that Optuna stores back into the values of fields, by the paths of the fields."""
    point = {}
    for path, axis in sweep.space.items():
        stored = params[path]
        point[path] = stored if isinstance(axis, Range) else next(value for value in axis if encode(value) == stored)
    return point


def enumerate_trials(sweep: SweepConfig, base: Mapping[str, Any]) -> list[Candidate]:
    """Return all trials of a grid sweep or a random sweep, in order. Of trials with equal experiments only the first is kept.

    Random settings depend only on the seed of the sweep.

    Raises:
        OptionError: At the first trial that is not a valid experiment.
    """
    trials: dict[str, Candidate] = {}
    points = _grid(sweep) if sweep.sampler == "grid" else _draws(sweep)
    for point in points:
        if sweep.trials is not None and len(trials) >= sweep.trials:
            break
        trial = candidate(base, point)
        trials.setdefault(trial.key, trial)
    return list(trials.values())


def _grid(sweep: SweepConfig) -> Iterator[dict[str, Any]]:
    axes = [axis.values() if isinstance(axis, Range) else axis for axis in sweep.space.values()]
    for values in itertools.product(*axes):
        yield dict(zip(sweep.space, values, strict=True))


def _draws(sweep: SweepConfig) -> Iterator[dict[str, Any]]:
    """Yield settings at random: for each field that the sweep varies, one of its possible values."""
    # more than the sweep has trials: repeated settings are dropped later
    for number in range((sweep.trials or 0) + _REDRAWS):
        chance = random.Random(f"{sweep.seed}-{number}")
        yield {path: _draw(axis, chance) for path, axis in sweep.space.items()}


def _draw(axis: Range | tuple[Any, ...], chance: random.Random) -> Any:
    if not isinstance(axis, Range):
        return chance.choice(axis)
    if axis.step is not None:
        return chance.choice(axis.values())
    if axis.log:
        value = math.exp(chance.uniform(math.log(axis.low), math.log(axis.high)))
        value = min(max(value, axis.low), axis.high)
        return round(value) if axis.is_whole else value
    if isinstance(axis.low, int) and isinstance(axis.high, int):
        return chance.randint(axis.low, axis.high)
    return chance.uniform(axis.low, axis.high)


def check_corners(sweep: SweepConfig, base: Mapping[str, Any]) -> None:
    """Check the experiments of at most 4096 combinations of the values that a sweep can choose.

    Of a range, only the two ends are used.

    Raises:
        OptionError: At the first combination that is not a valid experiment.
    """
    axes = [(axis.low, axis.high) if isinstance(axis, Range) else axis for axis in sweep.space.values()]
    for values in itertools.islice(itertools.product(*axes), MOST_CORNERS):
        candidate(base, dict(zip(sweep.space, values, strict=True)))


def has_grown(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether the definition ``now`` of a grid sweep only adds values to the lists of its old definition ``then``.

    Examples:
        >>> then = {"sampler": "grid", "base": {}, "space": {"seed": [0, 1]}}
        >>> has_grown(then, then | {"space": {"seed": [0, 1, 2]}}), has_grown(then, then | {"base": {"seed": 3}})
        (True, False)
    """
    same = now["sampler"] == "grid" and {**then, "space": {}} == {**now, "space": {}}
    axes = [(axis, now["space"].get(path, [])) for path, axis in then["space"].items()]
    return (
        same
        and len(axes) == len(now["space"])
        and all(value in _values(new) for old, new in axes for value in _values(old))
    )


def _values(axis: Any) -> Sequence[Any]:
    return axis if isinstance(axis, list) else Range(**axis).values()
