"""Random layers, drawn from a seed: what conformance and properties are tried on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from nes_lab.nn.conv import EpitomeConv1d, EpitomeConv2d, EpitomeConv3d
from nes_lab.nn.free_starts import FreeStarts
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.linear import EpitomeLinear


@dataclass
class Case:
    """A layer and the shape of an input for it."""

    layer: EpitomeLayer
    input_shape: tuple[int, ...]

    def input(self, dtype: torch.dtype, seed: int = 0, batch: int | None = None) -> torch.Tensor:
        shape = self.input_shape if batch is None else (batch, *self.input_shape[1:])
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def random_case(
    seed: int,
    dtype: torch.dtype = torch.float64,
    small: bool = False,
    windows: bool = False,
    make: type[EpitomeConv2d | EpitomeConv3d] | None = None,
) -> Case:
    """A random layer: any kind, geometry, scope, boundary and routing; learned starts lie anywhere, also on bounds.

    With ``windows`` it is an ungrouped convolution, separable and clamped, with at least one kernel axis longer than its
    window, as one in fifteen has otherwise. With ``make`` it is a convolution of that class.
    """
    draw = np.random.default_rng(seed)
    torch.manual_seed(seed)
    spatial = int(draw.integers(1, 3)) if windows else int(draw.integers(0, 3))
    spatial = spatial if make is None else make.spatial
    top = 9 if small else 24
    groups = int(draw.choice([1, 1, 1, 2, 3])) if spatial and not windows else 1
    c_out, c_in = (int(draw.integers(1, top)) * groups for _ in range(2))
    kernel = tuple(int(draw.integers(1, 4)) for _ in range(spatial))
    sizes = (c_out, c_in // groups)
    cells = tuple(int(draw.integers(1, max(2, n + 3))) for n in sizes)
    patch = tuple(int(draw.integers(1, n + 1)) for n in cells)
    options = {
        "epitome_shape": (*cells, *(k + int(draw.choice([0, 0, 0, 1, 2])) for k in kernel)),
        "patch_channels": patch,
        "scope": str(draw.choice(["separable", "separable", "separable", "joint"])),
        "boundary": str(draw.choice(["clamp", "circular"])),
        "routing": str(draw.choice(["tiled", "stride", "random", "free", "free"])),
        "seed": seed,
        "bias": bool(draw.integers(0, 2)),
        "dtype": dtype,
    }
    if windows:
        longer = draw.permutation([int(draw.integers(1, 4)), *draw.integers(0, 4, spatial - 1)])
        options |= {"scope": "separable", "boundary": "clamp"}
        options["epitome_shape"] = (*cells, *(k + int(more) for k, more in zip(kernel, longer, strict=True)))
    if spatial == 0:
        layer: EpitomeLayer = EpitomeLinear(c_in, c_out, **options)
        shape: tuple[int, ...] = (3, c_in) if draw.integers(0, 2) else (2, 3, c_in)
    else:
        make = make or (EpitomeConv1d if spatial == 1 else EpitomeConv2d)
        options |= {
            "groups": groups,
            "stride": tuple(int(v) for v in draw.integers(1, 4, spatial)),
            "padding": tuple(int(v) for v in draw.integers(0, 3, spatial)),
            "dilation": tuple(int(v) for v in draw.integers(1, 3, spatial)),
        }
        if draw.integers(0, 5) == 0:
            options |= {"padding": "same", "stride": 1}
        layer = make(c_in, c_out, kernel, **options)
        shape = (2, c_in, *(int(v) for v in draw.integers(6, 10, spatial)))
    scatter_starts(layer, draw)
    return Case(layer, shape)


def scatter_starts(layer: EpitomeLayer, draw: np.random.Generator) -> None:
    """Move learned starts anywhere: inside, on both bounds, on integers; circular ones far outside too."""
    if layer.frozen:
        return
    with torch.no_grad():
        for axis, table in layer.routing.tables():
            high = torch.from_numpy(layer.geometry.limits(axis)).to(table)
            if layer.geometry.boundary == "circular":
                layer.routing.set_starts_(axis, torch.from_numpy(draw.uniform(-20, 20, tuple(table.shape))))
                continue
            values = torch.from_numpy(draw.uniform(0, 1, tuple(table.shape))).to(table) * high
            place = torch.from_numpy(draw.integers(0, 5, tuple(table.shape)))
            values = torch.where(place == 0, torch.zeros_like(values), values)
            values = torch.where(place == 1, high, values)
            values = torch.where(place == 2, values.floor(), values)
            if isinstance(layer.routing, FreeStarts):  # as training leaves them: anchors of the rule, and offsets
                table.copy_(values - layer.routing.anchor(axis))
            else:
                table.copy_(values)
