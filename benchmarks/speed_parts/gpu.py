"""Measure compiled ``factored`` convolutions on a GPU beside their floor, in bfloat16 at batch 256."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.speed_parts.floors import LayerFloor
from benchmarks.speed_parts.layers import RESNET50, Shape, dense_layer, epitome_layer
from benchmarks.speed_parts.record import Row, compare
from benchmarks.speed_parts.settings import Job, Settings
from benchmarks.speed_parts.timing import Times, take_turns
from nes_lab.nn.conv import EpitomeConv2d

__all__ = ["jobs", "measure_shape"]

HALF = {"input axis": (1.0, 0.5), "output axis": (0.5, 1.0), "both axes": (0.5**0.5, 0.5**0.5)}
"""Ways to halve the multiply-adds: the shares of the output axis and the input axis that are kept."""


def jobs(settings: Settings) -> Iterator[Job]:
    """Yield one job per ResNet-50 shape."""
    missing = None if torch.cuda.is_available() else "this machine has no GPU"
    for shape in RESNET50[: 1 if settings.quick else None]:
        yield Job(f"gpu/{shape}/batch 256", partial(measure_shape, shape, 256, "cuda", settings), missing)


def measure_shape(shape: Shape, batch: int, device: str, settings: Settings) -> list[Row]:
    """Measure the speed of a layer at half the multiply-adds, as a share of the speed of its floor.

    The floor is a convolution with the epitome's shape, a copy of what the fold reads, and a copy of what the expansion
    writes, if the layer folds or expands.
    """
    torch.manual_seed(settings.seed)
    rows = []
    x = torch.randn(settings.batch(batch), shape.c_in, shape.size, shape.size, device=device, dtype=torch.bfloat16)
    x = x.contiguous(memory_format=torch.channels_last)
    plain = dense_layer(shape).to(device, torch.bfloat16, memory_format=torch.channels_last)
    for axes, shares in HALF.items():
        for starts in ("integer", "fractional"):
            layer = epitome_layer(shape, shares, starts, settings.seed, round_to=8)
            layer = layer.to(device, torch.bfloat16, memory_format=torch.channels_last)
            floor = LayerFloor(layer, x, whole_copies=True)
            floor = floor.to(memory_format=torch.channels_last)
            floor.folded = floor.folded.contiguous(memory_format=torch.channels_last)
            torch.compiler.reset()  # dynamo keeps only a few graphs of one class, so every layer is compiled from scratch
            dense = torch.compile(plain, dynamic=False)
            compiled = torch.compile(layer, fullgraph=True, dynamic=False)
            with torch.no_grad():
                calls = {"dense": partial(dense, x), "epitome": partial(compiled, x), "floor": floor}
                times = take_turns(calls, settings.effort(0.5), device)
            rows.append(_row(shape, batch, layer, axes, starts, times))
    return rows


def _row(shape: Shape, batch: int, layer: EpitomeConv2d, axes: str, starts: str, times: Times) -> Row:
    measured = compare(
        times, "epitome", "floor", str(shape), network=shape.network, batch=batch, axes=axes, starts=starts
    )
    share = layer.geometry.epitome_shape[0] * layer.geometry.epitome_shape[1] / (shape.c_in * shape.c_out)
    speed = float(f"{times.ratio('floor', 'epitome'):.4g}")
    more = {
        "key": "gpu_layer",
        "target": 0.90,
        "at_least": True,
        "met": speed >= 0.90,
        "ratio": speed,
        "conv_ratio": share,
    }
    dense = {"dense_ms": times.median("dense"), "dense_ratio": times.ratio("epitome", "dense")}
    return measured | more | dense
