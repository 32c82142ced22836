"""Define every field of an experiment's configuration once, for YAML files, command-line flags and app widgets.

The classes are pydantic models whose fields cannot be changed. The options of planning (how a network is compressed)
come from :mod:`nes_lab.records.options`. No file of this folder imports torch.

Tests: tests/config/test_config.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from nes_lab.config.base import MOST_CHANNELS, Section, from_json, one_or_a_pair
from nes_lab.config.training import TrainingConfig
from nes_lab.errors import check_choice
from nes_lab.geometry.epitome_geometry import Boundary
from nes_lab.import_spec import check_import_spec, is_import_spec
from nes_lab.records.budget import parse_bytes, parse_latency, parse_quantity
from nes_lab.records.dataset_facts import DATASET_FACTS, DatasetName
from nes_lab.records.options import (
    ClassOrder,
    EpitomeDtype,
    InitialWeights,
    Interpolation,
    LearnerKind,
    Normalization,
    Preprocess,
    Routing,
    ScopeOption,
    Share,
    Squash,
    Strategy,
    Wiring,
    choices_help,
    option_default,
    option_help,
)
from nes_lab.records.renamed_fields import current_section

__all__ = ["BackboneConfig", "CompressionConfig", "DataConfig", "ExperimentConfig", "option_field"]

SCHEMA_VERSION = 1
LARGEST_BUDGET = 1e15
Text = Annotated[str, Field(max_length=500)]
Channels = Annotated[int, Field(ge=1, le=MOST_CHANNELS)]


def option_field(name: str, **rules: Any) -> Any:
    """Return a pydantic field for one of the options that say how a network is compressed.

    The field has the default and the description of the option.

    Args:
        name: Name of the option, such as ``routing``.
        rules: More arguments of pydantic's ``Field``, such as ``ge=1``. A ``default`` among them replaces the option's
            own default.
    """
    default = rules.pop("default", option_default(name))
    return Field(default=default, description=option_help(name), **rules)


class DataConfig(Section):
    """The data section of an experiment: the data set, and how it is loaded and augmented."""

    name: DatasetName | Annotated[str, Field(max_length=200)] = Field(
        default="digits",
        description="Data set, or your own function as package.module:function. digits needs no download.",
    )
    root: Path | None = Field(default=None, description="Folder that holds the data; empty means data/<name>.")
    download: bool = Field(default=False, description="Download the data set if it is not on disk yet.")
    image_size: int | None = Field(
        default=None,
        ge=4,
        le=2048,
        description="Height and width of the images in pixels; empty keeps the size of the data set.",
    )
    batch_size: int = Field(
        default=64,
        ge=1,
        le=65536,
        description="Number of images per batch and process; one training step takes batch_size x accumulate x processes images.",
    )
    workers: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Number of processes that load images; 0 loads them in the training process.",
    )
    limit: int | None = Field(
        default=None, ge=1, le=10**9, description="Use at most this many training images; empty uses all."
    )
    holdout: int | None = Field(
        default=None,
        ge=1,
        le=10**9,
        description="Hold out this many training images and validate on them instead of the validation split, to make choices "
        "without looking at it; empty holds out none.",
    )
    augment: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        default="standard",
        description="Augmentation: standard (crop and mirror, or shift), none, or a policy of timm such as rand-m9-mstd0.5-inc1.",
    )
    color_jitter: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Strength of random changes of brightness, contrast and saturation; 0 turns them off.",
    )
    erase: float = Field(default=0.0, ge=0, le=1, description="Probability that a random rectangle is erased.")
    crop_scale: float = Field(
        default=0.08, gt=0, le=1, description="Smallest share of an image's area that a random crop may keep."
    )
    interpolation: Interpolation = Field(
        default="bilinear", description="Interpolation for resizing images of folders and shards."
    )
    normalize: Normalization = Field(
        default="own",
        description="Mean and standard deviation for normalizing: those of the data set (own), of ImageNet, or 0.5 and 0.5 (half).",
    )
    class_order: ClassOrder | Path = Field(
        default="own",
        description="Order of the classes, which gives them their labels: the data set's own (folders sorted as text), "
        "text, natural (2 before 10, as timm sorts), or a file with one class name per line.",
    )
    preprocess: Preprocess = Field(
        default="data",
        description="How images are resized, cropped and normalized: by interpolation and normalize (data), or as the backbone's "
        "weights were trained (backbone), for timm's networks and for a start that recorded it.",
    )
    skip_broken: float = Field(
        default=0.0,
        ge=0,
        le=0.01,
        description="Share of unreadable images up to which they are left out; if there are more, the data set is refused.",
    )
    samples: int | None = Field(
        default=None,
        ge=16,
        le=10**8,
        description="Number of samples of an audio clip that the network gets; empty takes the length of the longest clip.",
    )
    val_fold: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Fold of an audio set used for validation; the other folds are used for training.",
    )

    @field_validator("name")
    @classmethod
    def _is_name(cls, value: str) -> str:
        return check_import_spec(value, "name") if is_import_spec(value) else check_choice("name", value, DATASET_FACTS)

    @model_validator(mode="after")
    def _one_preprocessing(self) -> DataConfig:
        for name in ("interpolation", "normalize"):
            value = getattr(self, name)
            if self.preprocess == "backbone" and value != type(self).model_fields[name].default:
                raise ValueError(f"preprocess='backbone' decides {name}; leave out {name}={value!r}, or preprocess")
        return self


class BackboneConfig(Section):
    """The backbone section of an experiment: the network before compression, and where its weights come from."""

    name: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        default="small_mobilenetv2",
        description="Name of the network: small_mobilenetv2, any model name of timm, or your own function as package.module:function.",
    )
    width: float = Field(default=1.0, gt=0, le=8, description="Multiply the number of channels of every layer by this.")
    pretrained: bool = Field(
        default=False, description="Start from timm's pretrained weights, which are downloaded on first use."
    )
    checkpoint: Path | None = Field(
        default=None, description="Start from the dense network's weights in this .safetensors file."
    )
    new_head: bool = Field(
        default=False,
        description="Draw a random classifier if the checkpoint or the start has another number of classes.",
    )
    options: dict[str, Any] = Field(
        default={}, description='Further options of the backbone, such as {"drop_rate": 0.2, "pad_type": "same"}.'
    )

    @field_validator("name")
    @classmethod
    def _is_name(cls, value: str) -> str:
        return check_import_spec(value, "name") if is_import_spec(value) else value

    @field_validator("options", mode="before")
    @classmethod
    def _options_are_json(cls, value: Any) -> Any:
        return from_json(value, '{"drop_rate": 0.2}')

    @model_validator(mode="after")
    def _one_source(self) -> BackboneConfig:
        if self.pretrained and self.checkpoint is not None:
            raise ValueError("give pretrained or checkpoint, not both: they are two sources of weights")
        return self


class CompressionConfig(Section):
    """The compression section of an experiment: a budget or a preset, and how epitomes replace the backbone's weights."""

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
    stored_bytes: str | float | int | None = Field(
        default=None,
        description="Budget for the bytes of the saved tensors: a fraction such as 10% or 0.1, or a number such as 200k.",
    )
    preset: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        default=None,
        description="A named compression instead of a budget: small_file (one epitome for all layers; a ResNet's file shrinks to a "
        "tenth), released_x2, both_axes, input_axis or output_axis.",
    )
    strategy: Strategy = option_field("strategy")
    routing: Routing = option_field("routing")
    scope: ScopeOption = option_field("scope")
    boundary: Boundary = option_field("boundary")
    patch_channels: Channels | tuple[Channels, Channels] | None = option_field("patch_channels")
    share: Share = option_field("share")
    windows: int = option_field("windows", ge=1, le=64)
    epitome_dtype: EpitomeDtype = option_field("epitome_dtype")
    round_to: int = option_field("round_to", ge=1, le=1024)
    wiring: Wiring = option_field("wiring")
    min_channels: int = option_field("min_channels", ge=1, le=65536)
    include: tuple[str, ...] = option_field("include", default=())
    exclude: tuple[str, ...] = option_field("exclude", default=())
    overrides: dict[str, dict[str, Any]] = option_field("overrides", default={})
    reach: float = option_field("reach", gt=0, le=1e4)
    squash: Squash = option_field("squash")
    momentum: float = option_field("momentum", ge=0, lt=1)
    learner: LearnerKind = option_field("learner")
    initial_weights: InitialWeights = Field(
        default="reset",
        description=f"Weights of the epitomes before training: {choices_help('initial_weights')}.",
    )
    search_starts: bool = Field(
        default=False, description="Also search the starts with which epitomes fit the dense weights best."
    )
    calibration: int = Field(
        default=0,
        ge=0,
        le=10**6,
        description="Number of training images for calibrating the fit and measuring batch norms again; 0 fits to the weights alone.",
    )
    sequential: bool = Field(
        default=False,
        description="Fit layer after layer, each on its inputs in the compressed network. This keeps more of the network, takes longer, "
        "and needs images for calibrating the fit.",
    )
    snap: bool = option_field("snap")

    @model_validator(mode="before")
    @classmethod
    def _current_names(cls, values: Any) -> Any:
        return current_section("compression", values) if isinstance(values, Mapping) else values

    @field_validator("params", "madds", "stored_bytes", mode="after")
    @classmethod
    def _is_quantity(cls, value: str | float | int | None, info: ValidationInfo) -> str | float | int | None:
        parse = parse_bytes if info.field_name == "stored_bytes" else parse_quantity
        number = parse(value, info.field_name or "budget")
        if number is not None and number > LARGEST_BUDGET:
            raise ValueError(f"no network has more than {LARGEST_BUDGET:g}")
        return value

    @field_validator("latency_ms", mode="after")
    @classmethod
    def _is_latency(cls, value: str | float | int | None) -> str | float | int | None:
        parse_latency(value)
        return value

    @field_validator("patch_channels", mode="before")
    @classmethod
    def _is_one_or_a_pair(cls, value: Any) -> Any:
        return one_or_a_pair(value)

    @field_validator("overrides", mode="before")
    @classmethod
    def _is_json(cls, value: Any) -> Any:
        return from_json(value, '{"head*": {"ratio": 0.5}}')

    @model_validator(mode="after")
    def _has_one_aim(self) -> CompressionConfig:
        budget = any(limit is not None for limit in (self.params, self.madds, self.latency_ms, self.stored_bytes))
        if budget and self.preset is not None:
            raise ValueError("give a budget (params, madds, stored_bytes, latency_ms) or a preset, not both")
        if self.search_starts and self.initial_weights != "fit":
            raise ValueError("search_starts=true needs initial_weights='fit': the search fits epitomes to the weights")
        if self.calibration and not self.search_starts:
            raise ValueError(f"calibration={self.calibration} needs search_starts=true")
        if self.sequential and not self.calibration:
            raise ValueError(
                "sequential=true needs calibration: give the number of training images for it, such as 256"
            )
        if self.sequential and self.preset == "small_file":
            raise ValueError(
                "sequential=true does not go with preset='small_file': its epitome is fitted once to all its layers"
            )
        if self.sequential and self.share != "layer":
            raise ValueError(
                f"sequential=true does not go with share={self.share!r}: a shared epitome is fitted once to all its layers"
            )
        if not budget and self.preset is None:
            raise ValueError(
                "give params, madds, stored_bytes, latency_ms or several (or a preset); for a dense network leave compression empty"
            )
        return self


class ExperimentConfig(Section):
    """The configuration of one experiment: data, backbone, compression and training. A run stores it in ``config.json``."""

    schema_version: Literal[1] = Field(default=SCHEMA_VERSION, description="Version of this file format.")
    label: Text = Field(default="", description="Free text to recognize the run.")
    seed: int = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        description="Seed for the split of the data, the initial weights and the order of images.",
    )
    start: Text | None = Field(
        default=None,
        description="Start from this network: the folder of a saved one, or a run (RUN, RUN:best or RUN:averaged).",
    )
    data: DataConfig = Field(default_factory=DataConfig, description="The data set, and how it is loaded.")
    backbone: BackboneConfig = Field(default_factory=BackboneConfig, description="The network before compression.")
    compression: CompressionConfig | None = Field(
        default=None, description="How the network is compressed; empty trains the dense network."
    )
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="How the network is trained.")

    @model_validator(mode="after")
    def _rounds_starts(self) -> ExperimentConfig:
        compression = self.compression
        rounds = compression is not None and (compression.search_starts or self.training.starts_snap_epoch is not None)
        if compression is not None and compression.snap and not rounds:
            raise ValueError(
                "compression.snap=true plans for integer starts: give compression.search_starts=true, which searches such starts, or "
                "training.starts_snap_epoch, which rounds the starts that were learned until then"
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as nested dicts of plain JSON values, as a run stores it in ``config.json``."""
        tree = self.model_dump(mode="json")
        return tree if self.start is not None else {name: value for name, value in tree.items() if name != "start"}
