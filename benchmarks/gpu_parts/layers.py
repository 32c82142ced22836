"""Measure epitome to weight, folds and expansions as shares of a copy's speed, and single compiled layers beside dense ones."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.gpu_parts.sizes import Size
from benchmarks.speed_parts.expansion import measure_expansion
from benchmarks.speed_parts.gpu import measure_shape
from benchmarks.speed_parts.layers import AXES, Shape, epitome_layer
from benchmarks.speed_parts.record import Row, row
from benchmarks.speed_parts.settings import Job
from benchmarks.speed_parts.timing import take_turns
from nes_lab.epitome.sampling import expand, fold

__all__ = ["jobs"]


def jobs(size: Size, device: str) -> Iterator[Job]:
    """Yield one job per shape: epitome to weight, folds and expansions of activations, and compiled layers."""
    for shape in size.expansions:
        yield Job(f"expansion/{shape}", partial(_expansions, shape, size, device))
    for shape in size.layers:
        yield Job(f"fold/{shape}", partial(_passes, shape, size, device))
    for shape in size.layers:
        yield Job(f"layer/{shape}", partial(measure_shape, shape, size.batch, device, size.settings))


def _expansions(shape: Shape, size: Size, device: str) -> list[Row]:
    torch.manual_seed(size.settings.seed)
    return [
        measure_expansion(shape, axes, starts, device, size.settings)
        for axes in AXES
        for starts in ("integer", "fractional")
    ]


def _passes(shape: Shape, size: Size, device: str) -> list[Row]:
    """Measure a fold of the input and an expansion of the output, as shares of the speed of a copy of as many bytes."""
    torch.manual_seed(size.settings.seed)
    rows = []
    for starts in ("integer", "fractional"):
        layer = epitome_layer(shape, (0.5, 0.5), starts, size.settings.seed, round_to=8).to(device)
        outer, inner = layer.taps()[:2]
        assert outer is not None and inner is not None  # both axes are halved
        wide = torch.randn(size.batch, shape.c_in, shape.size, shape.size, device=device, dtype=torch.bfloat16)
        thin = torch.randn(size.batch, outer.cells, shape.size, shape.size, device=device, dtype=torch.bfloat16)
        for name, call, nbytes in (
            ("fold", partial(fold, wide, inner, 1), wide.nbytes * (1 + inner.cells / shape.c_in)),
            ("expand", partial(expand, thin, outer, 1), thin.nbytes * (1 + shape.c_out / outer.cells)),
        ):
            source = torch.ones(int(nbytes) // 4, device=device, dtype=torch.bfloat16)
            copy = partial(torch.empty_like(source).copy_, source)
            with torch.no_grad():
                times = take_turns({"pass": call, "copy": copy}, size.settings.effort(0.3), device)
            about = {"starts": starts, "median_ms": times.median("pass"), "copy_ms": times.median("copy")}
            rows.append(row(str(shape), name, "copy", times.ratio("copy", "pass"), at_least=True, **about))
    return rows
