"""``nes-lab plan``: what a budget means for a backbone, before anything is trained."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from nes_lab.cli.options import parse
from nes_lab.cli.tables import print_table, printable
from nes_lab.config import BackboneConfig, CompressionConfig, ExperimentConfig, load_config
from nes_lab.errors import BudgetError, OptionError

if TYPE_CHECKING:
    from nes_lab.compress.compression_plan import CompressionPlan

__all__ = ["run"]

MOST_PIXELS, MOST_CLASSES = 10**5, 10**6
_DEFAULT = {name: field.default for name, field in CompressionConfig.model_fields.items()}


@dataclass(frozen=True)
class Plan:
    """Compress a backbone to a budget, on paper."""

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
    input: tuple[int, int, int] = (3, 224, 224)
    """Channels, height and width of one image."""
    classes: int = 1000
    """Classes of the classifier."""
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
    explain: bool = False
    """Print every layer's ratio, its multiply-adds under every execution plan, and why it is as it is."""
    json: bool = False
    """Print the plan as JSON, and nothing else, to standard output."""
    output: Path | None = None
    """Also write the plan to this file."""


def run(words: Sequence[str]) -> int:
    """Make and print a plan."""
    options = parse(Plan, "plan", words)
    config = _config(options)
    with contextlib.redirect_stdout(sys.stderr):  # whatever other libraries say must not end up in the JSON
        plan = _make(config, options)
    if options.output is not None:
        _write(options.output, plan.to_json())
    if options.json:
        print(json.dumps(plan.to_dict() | {"rows": plan.rows()}, default=list))
    elif options.explain:
        _explain(plan)
    else:
        _show(plan, options.backbone)
    return 0


def _config(options: Plan) -> ExperimentConfig:
    aims = (options.params, options.madds, options.latency_ms, options.preset)
    if all(aim is None for aim in aims):
        raise BudgetError(
            "give a budget, such as --madds 75%, --params 1.2M or --latency-ms 75%, or a --preset such as released_x2"
        )
    if min(options.input) < 1 or max(options.input) > MOST_PIXELS:
        shown = " ".join(map(str, options.input))
        raise OptionError(f"--input {shown}: channels, height and width should each be from 1 to {MOST_PIXELS}")
    if not 1 <= options.classes <= MOST_CLASSES:
        raise OptionError(f"--classes {options.classes}: a classifier has from 1 to {MOST_CLASSES} classes")
    known = CompressionConfig.model_fields
    settings = {item.name: getattr(options, item.name) for item in fields(options) if item.name in known}
    settings["overrides"] = options.overrides or {}
    backbone = {"name": options.backbone, "width": options.width}
    return load_config({"backbone": backbone, "compression": settings})


def _make(config: ExperimentConfig, options: Plan) -> CompressionPlan:
    import torch

    from nes_lab.backbones.registry import create_backbone
    from nes_lab.compress.wanted import plan_as_wanted

    wanted = config.compression
    assert wanted is not None  # _config put it there
    backbone, shape = config.backbone, options.input
    model = create_backbone(
        backbone.name, num_classes=options.classes, in_channels=shape[0], width=backbone.width
    ).eval()
    progress = wanted.latency_ms is not None and sys.stderr.isatty()
    example = torch.zeros(1, *shape)
    return plan_as_wanted(model, example, wanted, config.seed, seconds=options.seconds, progress=progress)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OptionError(f"--output {path} cannot be written: {error.strerror or error}") from error


def _show(plan: CompressionPlan, backbone: str) -> None:
    print(f"{backbone}: {len(plan.layers)} layers compressed, {len(plan.kept)} kept dense")
    head = ("layer", "weight", "epitome", "params", "dense", "madds", "dense", "why kept")
    print_table(head, [_cells(row) for row in plan.rows()], numbers=range(3, 7))
    _show_totals(plan)


def _show_totals(plan: CompressionPlan) -> None:
    for name in ("params", "madds"):
        dense, now = getattr(plan.dense, name), getattr(plan.predicted, name)
        print(f"{name:<6} {dense:>15,} -> {now:>15,}  ({now / dense:.1%} of the dense network)")
    for note in plan.notes:
        print(note)


def _cells(row: dict[str, Any]) -> list[str]:
    shapes = ["x".join(map(str, row[key])) if row[key] else "" for key in ("weight_shape", "epitome_shape")]
    counts = [f"{row[key]:,}" for key in ("params", "params_dense", "madds", "madds_dense")]
    return [row["name"], *shapes, *counts, printable(row["reason"] or "", 60)]


def _explain(plan: CompressionPlan) -> None:
    print("\n".join(printable(line, 400) for line in plan.explain().splitlines()))
    print()
    _show_totals(plan)
