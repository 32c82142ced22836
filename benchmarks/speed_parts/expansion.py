"""Measure ``materialize()``: the bytes it reads and writes per second, as a share of those of a copy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.speed_parts.layers import AXES, Shape, epitome_layer
from benchmarks.speed_parts.record import Row, row
from benchmarks.speed_parts.settings import Job, Settings
from benchmarks.speed_parts.timing import take_turns

__all__ = ["SHAPES", "jobs", "measure_expansion"]

SHAPES = (
    Shape("resnet50", 3, 256, 256, 14),
    Shape("resnet50", 1, 1024, 2048, 7),
    Shape("resnet50", 3, 512, 512, 7),
    Shape("large", 1, 2048, 2048, 7),
    Shape("large", 3, 512, 1024, 7),
)


def jobs(settings: Settings) -> Iterator[Job]:
    """Yield one job for the CPU and one for a GPU."""
    yield Job("expansion/cpu", partial(_measure, "cpu", settings))
    missing = None if torch.cuda.is_available() else "this machine has no GPU"
    yield Job("expansion/cuda", partial(_measure, "cuda", settings), missing)


def _measure(device: str, settings: Settings) -> list[Row]:
    torch.manual_seed(settings.seed)
    return [
        measure_expansion(shape, axes, starts, device, settings)
        for shape in SHAPES[: 1 if settings.quick else None]
        for axes in AXES
        for starts in ("integer", "fractional")
    ]


def measure_expansion(shape: Shape, axes: str, starts: str, device: str, settings: Settings) -> Row:
    """Measure one epitome-to-weight expansion, as a share of the speed of a copy of the weight."""
    layer = epitome_layer(shape, AXES[axes], starts, settings.seed).to(device)
    weight = layer.geometry.weight_shape
    source, target = (torch.ones(weight, device=device) for _ in range(2))
    with torch.no_grad():
        calls = {"expansion": layer.materialize, "copy": partial(target.copy_, source)}
        times = take_turns(calls, settings.effort(0.3), device)
    moved = source.nbytes + layer.epitome.nbytes
    share = moved / (2 * source.nbytes) / times.ratio("expansion", "copy")
    large = device == "cuda" and source.nbytes >= 2**24
    more = {"key": "gpu_expansion", "target": 0.70, "at_least": True} if large else {}
    return row(
        f"weight of {shape.kernel}x{shape.kernel} {shape.c_in}-{shape.c_out}",
        "materialize()",
        "copy",
        share,
        mib=source.nbytes / 2**20,
        axes=axes,
        starts=starts,
        device=device,
        median_ms=times.median("expansion"),
        p90_ms=times.p90("expansion"),
        pairs=times.pairs,
        gb_per_s=moved / times.median("expansion") / 1e6,
        copy_gb_per_s=2 * source.nbytes / times.median("copy") / 1e6,
        **more,
    )
