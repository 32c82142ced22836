"""What plan, compress and fit ask alike: which backbone, and what it shall become."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from nes_lab.config import BackboneConfig, CompressionConfig, load_config
from nes_lab.errors import BudgetError, OptionError

if TYPE_CHECKING:
    from nes_lab.models.source import DenseSource
    from nes_lab.records.compression_plan import CompressionPlan

__all__ = ["PlanFlags", "compression_config", "dense_source", "read_plan", "search_options"]

MOST_PIXELS, MOST_SAMPLES, MOST_CLASSES = 10**5, 10**8, 10**6
_DEFAULT = {name: field.default for name, field in CompressionConfig.model_fields.items()}


@dataclass(frozen=True, kw_only=True)
class PlanFlags:
    """A backbone and what to make of it."""

    backbone: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="BACKBONE")]]
    """Backbone: small_mobilenetv2 or any name that timm knows."""
    params: str | None = None
    """Parameter budget: a fraction such as 50%, or a number such as 1.2M."""
    madds: str | None = None
    """Multiply-add budget: a fraction such as 75%, or a number such as 225M."""
    latency_ms: str | None = None
    """Time budget, measured here by tuning: milliseconds such as 12.5, or a share of the dense network's time such as 75%."""
    preset: str | None = None
    """A named compression instead of a budget: released_x2, input_axis, output_axis or both_axes."""
    strategy: str = _DEFAULT["strategy"]
    """One ratio for all layers (uniform), or more from those that an epitome fits best (sensitivity)."""
    input: tuple[int, ...] = (3, 224, 224)
    """Channels, height and width of one image; channels and samples of a sound."""
    classes: int = 1000
    """Classes of the classifier."""
    pretrained: bool = False
    """Start from timm's pretrained weights, fetched on first use."""
    checkpoint: Path | None = None
    """Start from a .safetensors file of the dense network's weights."""
    seed: int = 0
    """Of fresh weights, of random routing and of every search."""
    width: float = BackboneConfig.model_fields["width"].default
    """Width multiplier on the channels of every layer."""
    routing: str = _DEFAULT["routing"]
    """Who sets the starting indices: tiled, stride, random, free or learner."""
    scope: str = _DEFAULT["scope"]
    """One start per axis (separable) or per patch (joint); auto follows the binding budget."""
    boundary: str = _DEFAULT["boundary"]
    """What happens at the end of an epitome axis: clamp or circular."""
    patch_channels: int | None = None
    """Channels sampled in one piece; by default the planner chooses."""
    round_to: int = _DEFAULT["round_to"]
    """Epitome channels are multiples of this."""
    wiring: str = _DEFAULT["wiring"]
    """Which channel axes shrink: both_axes, input_axis, output_axis or narrow_axis."""
    min_channels: int = _DEFAULT["min_channels"]
    """Layers with fewer channels on either side stay dense: thin ones gain no time."""
    include: tuple[str, ...] = ()
    """Layer names, patterns or types (Linear, conv2d) to compress; by default all that can be."""
    exclude: tuple[str, ...] = ()
    """Layer names, patterns or types that stay dense."""
    overrides: str | None = None
    """Settings for single layers as JSON, such as '{"head*": {"ratio": 0.5}, "classifier": {"keep": true}}'."""
    seconds: float = 60.0
    """About how long a search for --latency-ms may take."""


def compression_config(options: PlanFlags) -> CompressionConfig:
    """The checked section of a configuration that the flags amount to.

    Raises:
        BudgetError: If there is neither a budget nor a preset.
        OptionError: If a flag's value is not among its choices, or out of range.
    """
    aims = (options.params, options.madds, options.latency_ms, options.preset)
    if all(aim is None for aim in aims):
        raise BudgetError(
            "give a budget, such as --madds 75%, --params 1.2M or --latency-ms 75%, or a --preset such as released_x2"
        )
    known = CompressionConfig.model_fields
    settings: dict[str, Any] = {f.name: getattr(options, f.name) for f in fields(PlanFlags) if f.name in known}
    settings["overrides"] = options.overrides or {}
    wanted = load_config({"backbone": _backbone(options), "compression": settings}).compression
    assert wanted is not None  # it was given
    return wanted


def dense_source(options: PlanFlags) -> DenseSource:
    """The dense network to start from.

    Raises:
        OptionError: If a size is out of range.
    """
    shown = " ".join(map(str, options.input))
    if not 2 <= len(options.input) <= 4:
        raise OptionError(
            f"--input {shown}: give channels, height and width, such as 3 224 224, or channels and samples"
        )
    most = MOST_SAMPLES if len(options.input) == 2 else MOST_PIXELS
    if min(options.input) < 1 or max(options.input) > most:
        raise OptionError(f"--input {shown}: channels, height and width should each be from 1 to {most}")
    if not 1 <= options.classes <= MOST_CLASSES:
        raise OptionError(f"--classes {options.classes}: a classifier has from 1 to {MOST_CLASSES} classes")
    backbone = load_config({"backbone": _backbone(options), "seed": options.seed}).backbone
    from nes_lab.models.source import DenseSource

    weights: dict[str, Any] = {"pretrained": options.pretrained, "checkpoint": options.checkpoint, "seed": options.seed}
    return DenseSource(backbone.name, options.input, options.classes, backbone.width, **weights)


def search_options(options: PlanFlags) -> dict[str, Any]:
    """How the search for a limit on time goes: its seconds, and a bar where there is a terminal."""
    return {"seconds": options.seconds, "progress": options.latency_ms is not None and sys.stderr.isatty()}


def read_plan(path: Path, options: PlanFlags) -> CompressionPlan:
    """A plan that ``nes-lab plan --output`` wrote.

    Raises:
        OptionError: If the file cannot be read, or a budget is given besides.
        PlanError: If it holds no plan.
    """
    from nes_lab.records.compression_plan import CompressionPlan

    for name in ("params", "madds", "latency_ms", "preset"):
        if getattr(options, name) is not None:
            raise OptionError(f"--plan {path} and --{name.replace('_', '-')} say the same thing twice; give one")
    try:
        return CompressionPlan.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--plan {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _backbone(options: PlanFlags) -> dict[str, Any]:
    return {"name": options.backbone, "width": options.width}
