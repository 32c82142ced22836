"""Measure one-dimensional layers with long kernels, whose windows overlap in one epitome filter and share products (as in WSNet)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.speed_parts.record import Row, compare
from benchmarks.speed_parts.settings import Job, Settings
from benchmarks.speed_parts.timing import take_turns
from nes_lab.cost.count import count
from nes_lab.nn.conv import EpitomeConv1d

__all__ = ["jobs"]

KERNEL, CELLS, FILTERS, WINDOWS, LENGTH = 32, 96, 8, 16, 1000
"""16 windows of 32 weights start along the 96 cells of each of 8 epitome filters: 128 output channels."""


def jobs(settings: Settings) -> Iterator[Job]:
    """Yield one job per number of input channels and batch."""
    for channels in (64, 256):
        for batch in (1, 8):
            yield Job(
                f"audio/{channels} channels/batch {batch}", partial(_measure, channels, settings.batch(batch), settings)
            )


def _measure(channels: int, batch: int, settings: Settings) -> list[Row]:
    torch.manual_seed(settings.seed)
    layers = {}
    for name in ("materialize", "wrapped", "product_map"):
        layers[name] = EpitomeConv1d(
            channels,
            FILTERS * WINDOWS,
            KERNEL,
            padding=KERNEL // 2,
            bias=False,
            epitome_shape=(FILTERS, channels // 2, CELLS),
            routing="stride",
            execution=name,
        ).eval()
    dense: nn.Module = layers["materialize"].to_dense().eval()
    x = torch.randn(batch, channels, LENGTH)
    with torch.inference_mode():
        calls: dict[str, Callable[[], object]] = {n: partial(m, x) for n, m in {"dense": dense, **layers}.items()}
        times = take_turns(calls, settings.effort(2.0))
    full, rows = count(dense, x), []
    for name, layer in layers.items():
        cost = count(layer, x)
        shares: dict[str, Any] = {
            "madd_ratio": cost.madds / full.madds,
            "params_ratio": cost.params / full.params,
        }
        case = f"{channels}-{FILTERS * WINDOWS}, kernel {KERNEL}, length {LENGTH}"
        rows.append(compare(times, name, "dense", case, batch=batch, **shares))
    return rows
