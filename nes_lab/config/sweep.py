"""Define the fields of a sweep (many runs of one experiment), and read a sweep from a file with :func:`load_sweep`.

A sweep has a base experiment, the fields that vary, and objectives (which numbers of a run to maximize or minimize).

Tests: tests/config/test_config.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from nes_lab.config.base import Section
from nes_lab.config.load import knobs, read_yaml
from nes_lab.errors import OptionError, closest
from nes_lab.records.renamed_fields import RENAMED

__all__ = ["Range", "SweepConfig", "load_sweep"]

Direction = Literal["maximize", "minimize"]
SECTIONS = ("data", "backbone", "compression", "training")
NUMBERS = ("top1", "top5", "best_top1", "ema_top1", "best_ema_top1", "params", "learner_params", "madds", "dense_params", "dense_madds",
           "latency_ms", "latency_p90_ms", "seconds")  # fmt: skip  # numbers in a run's summary
MOST_TRIALS = 100_000


class Range(Section):
    """A range of numbers from ``low`` to ``high``, both included.

    The numbers are integers if ``low``, ``high`` and ``step`` are integers.
    """

    low: int | float = Field(description="Smallest value.")
    high: int | float = Field(description="Largest value.")
    log: bool = Field(default=False, description="Draw values evenly on a logarithmic scale.")
    step: int | float | None = Field(
        default=None, gt=0, description="Distance between two neighboring values; a grid needs it."
    )

    @property
    def is_whole(self) -> bool:
        """True if all numbers of the range are integers."""
        return isinstance(self.low, int) and isinstance(self.high, int) and isinstance(self.step, int | None)

    @model_validator(mode="after")
    def _is_a_range(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low={self.low:g} should be below high={self.high:g}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("a logarithmic range needs low above 0, and no step")
        if self.step is not None and (self.high - self.low) / self.step > MOST_TRIALS:
            raise ValueError(f"step={self.step:g} makes more than {MOST_TRIALS:,} values")
        return self

    def values(self) -> tuple[int | float, ...]:
        """List the numbers of the range, from the lower end ``low`` to the upper end ``high``, at the distance ``step``.

        If no distance is given, it is 1.

        Examples:
            >>> Range(low=0.1, high=0.4, step=0.1).values()
            (0.1, 0.2, 0.3, 0.4)
        """
        step = self.step or 1
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        values = (self.low + index * step for index in range(count))
        return tuple(value if isinstance(value, int) else round(value, 12) for value in values)


def _kind(axis: Any) -> str:
    return "range" if isinstance(axis, Mapping | Range) else "list"


Axis = Annotated[
    Annotated[Range, Tag("range")] | Annotated[tuple[Any, ...], Tag("list")],
    Discriminator(_kind),
]


class SweepConfig(Section):
    """The configuration of a sweep: many runs of one experiment that differ in the values of some fields."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")] = Field(
        description="Name of the sweep, in lower-case letters, digits and dashes; the group of its runs."
    )
    base: str | dict[str, Any] = Field(
        default={},
        description="The base experiment: its sections, a YAML file, the name of a recipe, or recipe/variant.",
    )
    space: dict[str, Axis] = Field(
        min_length=1, description="Fields that vary: dotted field -> a list of values, or low, high, log and step."
    )
    sampler: Literal["grid", "random", "tpe", "nsga2"] = Field(
        default="grid",
        description="How trials are chosen: all combinations, independent random draws, or draws that learn from finished trials.",
    )
    trials: int | None = Field(
        default=None,
        ge=1,
        le=MOST_TRIALS,
        description="Number of trials; empty takes all combinations of a grid. Other samplers need a number.",
    )
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Seed of the sampler; the runs have their own seeds.")
    objectives: dict[str, Direction] = Field(
        default={"top1": "maximize", "madds": "minimize", "params": "minimize"},
        min_length=1,
        description="Numbers of a run's summary -> maximize or minimize.",
    )
    storage: str = Field(
        default="", description="URL of Optuna's database; empty uses SQLite in sweeps/<name> next to the runs."
    )
    retries: int = Field(default=2, ge=0, le=100, description="How often a trial is resumed after its process died.")

    @field_validator("space", mode="before")
    @classmethod
    def _names_fields(cls, space: Any) -> Any:
        known = {*(knob.path for knob in knobs()), *SECTIONS} - {"schema_version", "label"}
        old = {".".join(names) for names in RENAMED}
        for path, axis in space.items() if isinstance(space, Mapping) else ():
            if path not in known | old:
                leaf = str(path).rpartition(".")[2]
                elsewhere = [name for name in sorted(known) if name.rpartition(".")[2] == leaf]
                near = f" Did you mean {elsewhere[0]!r}?" if elsewhere else closest(path, known)
                raise ValueError(f"{path!r} is not a field of an experiment.{near}")
            if not isinstance(axis, Range | Mapping | list | tuple):
                raise ValueError(f"{path}={axis!r} should be a list of values, or have low and high")
        return space

    @field_validator("space", mode="after")
    @classmethod
    def _lists_differ(cls, space: dict[str, Range | tuple[Any, ...]]) -> dict[str, Range | tuple[Any, ...]]:
        for path, axis in space.items():
            if isinstance(axis, tuple) and not axis:
                raise ValueError(f"{path} has no values")
            twice = (
                [] if isinstance(axis, Range) else [value for index, value in enumerate(axis) if value in axis[:index]]
            )
            if twice:
                raise ValueError(f"{path} lists {_text(twice[0])} twice")
        return space

    @field_validator("objectives", mode="after")
    @classmethod
    def _are_numbers_of_a_run(cls, objectives: dict[str, Direction]) -> dict[str, Direction]:
        for name in objectives:
            if name not in NUMBERS:
                raise ValueError(
                    f"{name!r} is not a number of a run.{closest(name, NUMBERS)} Known: {', '.join(NUMBERS)}"
                )
        return objectives

    @model_validator(mode="after")
    def _can_be_counted(self) -> SweepConfig:
        if self.sampler != "grid":
            if self.trials is None:
                raise ValueError(f"sampler={self.sampler} needs trials, the number of runs")
            return self
        total = 1
        for path, axis in self.space.items():
            if isinstance(axis, Range) and axis.step is None:
                raise ValueError(f"space.{path} needs a step in a grid; or list its values, or use sampler: random")
            total *= len(axis.values() if isinstance(axis, Range) else axis)
        if total > MOST_TRIALS:
            raise ValueError(f"the grid has {total:,} combinations; the limit is {MOST_TRIALS:,}")
        return self


def load_sweep(source: str | Path | Mapping[str, Any]) -> SweepConfig:
    """Read and check the configuration of a sweep.

    A relative path in the sweep's field ``base`` is first looked up in the folder of the sweep's file.

    Args:
        source: Path of a YAML file, or a mapping with its content.

    Raises:
        OptionError: If a field is wrong or unknown. The message gives the dotted path and value of each wrong field, and the
            closest known name of each unknown field.

    Examples:
        >>> load_sweep({"name": "seeds", "space": {"seed": [0, 1, 2]}}).sampler
        'grid'
    """
    where = "sweep" if isinstance(source, Mapping) else str(source)
    tree = dict(source if isinstance(source, Mapping) else read_yaml(Path(source)))
    if not isinstance(source, Mapping) and isinstance(tree.get("base"), str):
        beside = Path(source).parent / tree["base"]
        tree["base"] = str(beside.absolute()) if beside.is_file() else tree["base"]
    try:
        return SweepConfig.model_validate(tree)
    except ValidationError as error:
        problems: dict[str, str] = {}
        for item in error.errors():
            problems.setdefault(_path(item), _explain(item, _path(item)))
        lines = list(problems.values())[:8]
        raise OptionError(f"{where}:" + ("\n  " if len(lines) > 1 else " ") + "\n  ".join(lines)) from error


def _path(item: Any) -> str:
    if not item["loc"]:
        return ""
    head, *tail = item["loc"]
    if head == "space":  # the field comes next, then the kind of axis that pydantic tried
        tail = tail[:1] + tail[2:]
    return ".".join(str(part) for part in ([head] if head == "base" else [head, *tail]))


def _explain(item: Any, path: str) -> str:
    if item["type"] == "extra_forbidden":
        model = Range if path.startswith("space.") else SweepConfig
        last = str(item["loc"][-1])
        known = ", ".join(model.model_fields)
        return f"{path} is not a known field.{closest(last, model.model_fields) or f' Known here: {known}.'}"
    if item["type"] == "missing":
        return f"{path} is missing."
    message = item["msg"].removeprefix("Value error, ")
    if path == "base":
        message = "should be sections of an experiment, a YAML file, or a recipe's name"
    value = item["input"]
    shown = f"{path}: " if isinstance(value, Mapping | BaseModel) else f"{path}={_text(value)}: "
    field = SweepConfig.model_fields.get(path)
    choices = [name for name in get_args(field.annotation) if isinstance(name, str)] if field else ()
    choices = get_args(Direction) if path.startswith("objectives.") else choices
    return f"{shown.removeprefix(': ')}{message.rstrip('.?')}{'?' if message.endswith('?') else '.'}{closest(value, choices)}"


def _text(value: Any) -> str:
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
