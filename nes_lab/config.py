"""Every knob of an experiment, once: frozen models that YAML files, command-line flags and app widgets all read.

Defaults, ranges and descriptions live here and nowhere else. Nothing in this file imports torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticUndefined

from nes_lab.compress.budget import parse_latency, parse_quantity
from nes_lab.errors import OptionError, closest

__all__ = [
    "BackboneConfig",
    "CompressionConfig",
    "DataConfig",
    "ExperimentConfig",
    "Knob",
    "TrainingConfig",
    "knobs",
    "load_config",
]

SCHEMA_VERSION = 1
LARGEST_BUDGET = 1e15
Routing = Literal["tiled", "stride", "random", "free", "learner"]
Scope = Literal["separable", "joint", "auto"]
Boundary = Literal["clamp", "circular"]
DataName = Literal["digits", "image_folder", "cifar10", "fashion_mnist"]
Text = Annotated[str, Field(max_length=500)]


def _is_numeric(annotation: Any) -> bool:
    kinds = set(get_args(annotation)) or {annotation}
    return bool(kinds & {int, float}) and bool not in kinds


class Section(BaseModel):
    """Parent of all sections: frozen, no unknown keys, no NaN, no yes/no where a number belongs."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _plain_values(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[info.field_name or ""].annotation
        kinds = get_args(annotation)
        if isinstance(value, bool) and _is_numeric(annotation):
            raise ValueError("a number is wanted here, not true or false")
        if NoneType in kinds and isinstance(value, str) and value.strip().lower() in ("none", "null"):
            return None
        if annotation == tuple[str, ...] and isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        if isinstance(value, bool) and "off" in kinds and not value:
            return "off"  # YAML 1.1 reads a bare `off` as false
        return value


class DataConfig(Section):
    """Which images, and how they are served."""

    name: DataName = Field(
        default="digits", description="Data set; digits comes with scikit-learn and needs no download."
    )
    root: Path | None = Field(default=None, description="Folder that holds the data; empty means data/<name>.")
    download: bool = Field(default=False, description="Fetch the data set when it is not on disk yet.")
    image_size: int | None = Field(
        default=None, ge=4, le=2048, description="Side of the square images in pixels; empty keeps the data set's own."
    )
    batch_size: int = Field(default=64, ge=1, le=65536, description="Images per training step.")
    workers: int = Field(
        default=0, ge=0, le=256, description="Processes that load images; 0 loads in the training process."
    )
    limit: int | None = Field(
        default=None, ge=1, le=10**9, description="Use at most this many training images; empty uses all."
    )


class BackboneConfig(Section):
    """Which network, before compression."""

    name: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        default="small_mobilenetv2", description="Backbone: small_mobilenetv2 or any name that timm knows."
    )
    width: float = Field(default=1.0, gt=0, le=8, description="Width multiplier on the channels of every layer.")


class CompressionConfig(Section):
    """How the backbone's weights are replaced by epitomes: a budget, or a preset."""

    params: str | float | int | None = Field(
        default=None, description="Parameter budget: a fraction such as 50% or 0.5, or a number such as 1.2M."
    )
    madds: str | float | int | None = Field(
        default=None, description="Multiply-add budget: a fraction such as 75% or 0.75, or a number such as 225M."
    )
    latency_ms: str | float | int | None = Field(
        default=None,
        description="Time budget, measured here by tuning: milliseconds, or a share of the dense network's time such as 75%.",
    )
    preset: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="A named compression instead of a budget, such as released_x2 or both_axes."
    )
    strategy: Literal["uniform", "sensitivity"] = Field(
        default="uniform",
        description="One ratio for all layers, or more from those whose weights an epitome fits best (sensitivity).",
    )
    routing: Routing = Field(default="tiled", description="Who sets the starting indices.")
    scope: Scope = Field(default="separable", description="One start per axis (separable) or per patch (joint).")
    boundary: Boundary = Field(default="clamp", description="What happens at the end of an epitome axis.")
    patch_channels: int | None = Field(
        default=None, ge=1, le=65536, description="Channels sampled in one piece; empty lets the planner choose."
    )
    round_to: int = Field(
        default=8, ge=1, le=1024, description="Epitome channels are multiples of this; 1 or 2 for tiny networks."
    )
    wiring: Literal["both_axes", "input_axis", "output_axis", "narrow_axis"] = Field(
        default="both_axes",
        description="Which channel axes shrink; narrow_axis runs fastest, both_axes keeps most rank.",
    )
    min_channels: int = Field(
        default=1, ge=1, le=65536, description="Layers with fewer channels on either side stay dense."
    )
    include: tuple[str, ...] = Field(
        default=(), description="Layer names, patterns or types (Linear) to compress; empty means all that can be."
    )
    exclude: tuple[str, ...] = Field(default=(), description="Layer names, patterns or types that stay dense.")
    overrides: dict[str, dict[str, Any]] = Field(
        default={}, description='Settings for single layers by name pattern or type, such as {"head*": {"ratio": 0.5}}.'
    )
    reach: float = Field(
        default=1.0, gt=0, le=1e4, description="Farthest an index learner moves a start from the tiling, in cells."
    )
    squash: Literal["tanh", "sigmoid"] = Field(
        default="tanh", description="Index learner: a move of at most reach, or the paper's free range (sigmoid)."
    )
    momentum: float = Field(
        default=0.9, ge=0, lt=1, description="Index learner: share of the old routing map in its moving average."
    )
    learner: Literal["mlp", "conv"] = Field(default="mlp", description="Index learner: pool and MLP, or convolutions.")
    weights: Literal["fit", "reset"] = Field(
        default="reset", description="Fit epitomes to the present weights, or draw new ones."
    )

    @field_validator("params", "madds", mode="after")
    @classmethod
    def _is_quantity(cls, value: str | float | int | None, info: ValidationInfo) -> str | float | int | None:
        number = parse_quantity(value, info.field_name or "budget")
        if number is not None and number > LARGEST_BUDGET:
            raise ValueError(f"no network has more than {LARGEST_BUDGET:g}")
        return value

    @field_validator("latency_ms", mode="after")
    @classmethod
    def _is_latency(cls, value: str | float | int | None) -> str | float | int | None:
        parse_latency(value)
        return value

    @field_validator("overrides", mode="before")
    @classmethod
    def _is_json(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value) if value.strip() else {}
        except json.JSONDecodeError as error:
            raise ValueError(f'as text it should be JSON, such as {{"head*": {{"ratio": 0.5}}}}: {error}') from error

    @model_validator(mode="after")
    def _has_one_aim(self) -> CompressionConfig:
        budget = any(limit is not None for limit in (self.params, self.madds, self.latency_ms))
        if budget and self.preset is not None:
            raise ValueError("give a budget (params, madds, latency_ms) or a preset, not both")
        if not budget and self.preset is None:
            raise ValueError(
                "give params, madds, latency_ms or several (or a preset); for a dense network leave compression empty"
            )
        return self


class TrainingConfig(Section):
    """The training recipe."""

    epochs: int = Field(default=20, ge=1, le=100_000, description="Passes over the training images.")
    optimizer: Literal["sgd", "adamw"] = Field(default="sgd", description="Optimizer.")
    lr: float = Field(default=0.05, gt=0, le=100, description="Peak learning rate, reached after the warm-up.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of sgd; beta1 of adamw.")
    weight_decay: float = Field(default=1e-4, ge=0, le=10, description="Weight decay on matrices; never on starts.")
    warmup_epochs: float = Field(default=1.0, ge=0, le=100_000, description="Epochs of linear warm-up.")
    label_smoothing: float = Field(default=0.1, ge=0, lt=1, description="Label smoothing of the training loss.")
    ema_decay: float | None = Field(
        default=None, gt=0, lt=1, description="Decay of the averaged weights; empty keeps none."
    )
    amp: Literal["auto", "off"] = Field(
        default="auto", description="Mixed precision where the device has it, or never."
    )
    starts_lr_scale: float = Field(default=1.0, ge=0, le=1e4, description="Learning rate of the starts relative to lr.")
    clip_grad: float | None = Field(default=None, gt=0, le=1e6, description="Largest gradient norm; empty never clips.")
    checkpoint_every_epochs: int = Field(default=1, ge=1, le=100_000, description="Epochs between two checkpoints.")
    keep_checkpoints: int = Field(default=2, ge=1, le=1000, description="How many checkpoints stay on disk.")
    log_every_steps: int = Field(default=10, ge=1, le=10**6, description="Steps between two rows of training metrics.")
    threads: int | None = Field(
        default=None, ge=1, le=1024, description="CPU threads for training; empty lets torch choose."
    )
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$")] = Field(
        default="auto", description="auto, cpu, mps, cuda or cuda:1."
    )

    @model_validator(mode="after")
    def _warm_up_fits(self) -> TrainingConfig:
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs={self.warmup_epochs:g} is longer than epochs={self.epochs}")
        return self


class ExperimentConfig(Section):
    """One experiment from data to summary; the file a run stores as ``config.json``."""

    schema_version: Literal[1] = Field(default=SCHEMA_VERSION, description="Version of this file format.")
    label: Text = Field(default="", description="Free text to recognize the run by.")
    seed: int = Field(
        default=0, ge=0, le=2**31 - 1, description="Seed of the split, the initial weights and the order."
    )
    data: DataConfig = Field(default_factory=DataConfig, description="Which images, and how they are served.")
    backbone: BackboneConfig = Field(default_factory=BackboneConfig, description="Which network.")
    compression: CompressionConfig | None = Field(
        default=None, description="How it is compressed; empty trains it dense."
    )
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="The training recipe.")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, as they are stored in a run directory."""
        return self.model_dump(mode="json")


class Knob(NamedTuple):
    """One field of the configuration, for help texts and widgets."""

    path: str
    default: Any
    description: str
    choices: tuple[str, ...]


def knobs(section: type[BaseModel] = ExperimentConfig, prefix: str = "") -> Iterator[Knob]:
    """List every field with its dotted path, default, description and choices.

    Examples:
        >>> next(knob.default for knob in knobs() if knob.path == "training.epochs")
        20
    """
    for name, field in section.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None)
        if inner is not None:
            yield from knobs(inner, f"{prefix}{name}.")
            continue
        default = None if field.default is PydanticUndefined else field.default
        choices = tuple(item for item in get_args(field.annotation) if isinstance(item, str))
        yield Knob(prefix + name, default, field.description or "", choices)


def load_config(source: str | Path | Mapping[str, Any], overrides: Mapping[str, str] | None = None) -> ExperimentConfig:
    """Read and check a configuration.

    Args:
        source: A YAML file, or a mapping that was read elsewhere.
        overrides: Values by dotted path, such as ``{"training.lr": "0.1"}``; they win over ``source``.

    Raises:
        OptionError: With the dotted path of every wrong field, its value, and the nearest name of an unknown one.

    Examples:
        >>> load_config({"training": {"epochs": 3}}, {"seed": "7"}).seed
        7
    """
    where = "config" if isinstance(source, Mapping) else str(source)
    tree = _copy_tree(source if isinstance(source, Mapping) else _read_yaml(Path(source)))
    for path, value in (overrides or {}).items():
        _set(tree, path, value)
    try:
        return ExperimentConfig.model_validate(tree)
    except ValidationError as error:
        lines = list({item["loc"][:2]: _explain(item) for item in error.errors()}.values())[:8]
        raise OptionError(f"{where}:" + ("\n  " if len(lines) > 1 else " ") + "\n  ".join(lines)) from error


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise OptionError("reading YAML needs PyYAML: pip install 'nes-lab[train]'") from error
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"config file {path} cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise OptionError(f"config file {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise OptionError(f"config file {path} should hold 'section: values', but holds a {type(tree).__name__}")
    return tree


def _copy_tree(tree: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: _copy_tree(value) if isinstance(value, Mapping) else value for key, value in tree.items()}


def _set(tree: dict[Any, Any], path: str, value: str) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        if not isinstance(tree.get(parent), dict):
            tree[parent] = {}
        tree = tree[parent]
    tree[last] = value


def _explain(item: Any) -> str:
    names = [str(part) for part in item["loc"] if isinstance(part, int) or str(part).isidentifier()]
    known = {knob.path for knob in knobs()}
    sections = {path.rsplit(".", 1)[0] for path in known if "." in path}
    while len(names) > 1 and ".".join(names) not in known | sections and item["type"] != "extra_forbidden":
        names.pop()  # the tail names a member of a union, such as str or float
    path = ".".join(names) or "config"
    if item["type"] == "extra_forbidden":
        path = ".".join(str(part) for part in item["loc"])
        parent = path.rpartition(".")[0]
        siblings = [name.rpartition(".")[2] for name in known | sections if name.rpartition(".")[0] == parent]
        last = path.rpartition(".")[2]
        elsewhere = [name for name in known if name.rpartition(".")[2] == last]
        near = f" Did you mean {elsewhere[0]!r}?" if elsewhere else closest(last, siblings)
        return f"{path} is not a known field.{near or ' Known here: ' + ', '.join(sorted(siblings)) + '.'}"
    value = item["input"]
    shown = "" if isinstance(value, Mapping | BaseModel) else f"={_short(value)}"
    message = item["msg"].removeprefix("Value error, ")
    if message.startswith(f"{names[-1] if names else path}="):  # it names the value itself
        return f"{path.rpartition('.')[0]}.{message}".lstrip(".") + "."
    choices = next((knob.choices for knob in knobs() if knob.path == path), ())
    return f"{path}{shown}: {message}.{closest(value, choices)}"


def _short(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
