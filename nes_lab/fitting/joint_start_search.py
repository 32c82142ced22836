"""The best integer starts of every block under joint scope: the weight's blocks laid against all places of the epitome."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from nes_lab.epitome.routing_map import RoutingMap
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["joint_starts"]

_WORK = 2e9
"""Multiply-adds that one search of all blocks may take; larger epitomes are searched on a lattice of places."""

_CLEAR = 1e-5
"""Share of a block's energy that a move must gain: well above what single precision loses in comparing."""


def joint_starts(
    routing_map: RoutingMap, weight: Tensor, epitome: Tensor, row_scale: Tensor | None = None
) -> RoutingMap:
    """Move every block to the place where the epitome as it is leaves least of it.

    All places are compared at once, by one correlation. A block stays unless another place is clearly better, so the residual never
    rises. Where the places are too many they are taken from a lattice, which lies elsewhere after every move.

    Args:
        routing_map: Integer starts of joint scope.
        weight: ``geometry.weight_shape``, float64.
        epitome: ``geometry.epitome_shape``.
        row_scale: A factor per output channel, or None.

    Returns:
        The same map with better starts along the channel axes.

    Examples:
        >>> geometry = EpitomeGeometry((2, 2), (2, 3), (1, 1), scope="joint")
        >>> tiled = RoutingMap(geometry, (None, torch.zeros(2, 2, dtype=torch.long)), "free")
        >>> weight, epitome = torch.tensor([[1.0, 2.0], [3.0, 1.0]]).double(), torch.tensor([[1.0, 2.0, 3.0]] * 2).double()
        >>> joint_starts(tiled, weight, epitome).starts[1]
        tensor([[0, 1],
                [2, 0]])
    """
    geometry = routing_map.geometry
    scale = weight.new_ones(weight.shape[0]) if row_scale is None else row_scale
    factor = scale.view(-1, *[1] * (weight.ndim - 1)).expand_as(weight)
    error = weight - factor * routing_map.materialize(epitome)
    now, energy = (_blocks(t.square(), geometry).flatten(1).sum(1) for t in (error, weight))
    step = max(1, ceil(sqrt(weight.numel() * geometry.epitome_shape[0] * geometry.epitome_shape[1] / _WORK)))
    shift = _lattice_shift(routing_map, step)
    cost = _costs(
        _blocks(factor * weight, geometry), _blocks(factor.square(), geometry), epitome, geometry, step, shift
    )
    at = [_places(geometry, axis, step, shift, weight.device) for axis in (0, 1)]
    allowed = _allowed(routing_map, 0, at[0]).unsqueeze(2) & _allowed(routing_map, 1, at[1]).unsqueeze(1)
    least, place = cost.masked_fill(~allowed, float("inf")).flatten(1).min(1)
    better = least.double() + energy < now - _CLEAR * energy
    found = (at[0][place // at[1].numel()], at[1][place % at[1].numel()])
    starts = list(routing_map.starts)
    for axis in (0, 1):
        old = starts[axis]
        if old is not None:
            starts[axis] = torch.where(better.view_as(old), found[axis].view_as(old), old.long())
    return replace(routing_map, starts=tuple(starts))


def _lattice_shift(routing_map: RoutingMap, step: int) -> int:
    return sum(int(s.sum()) for s in routing_map.starts[:2] if s is not None) % step


def _places(geometry: EpitomeGeometry, axis: int, step: int, shift: int, device: torch.device) -> Tensor:
    return torch.arange(geometry.axes[axis].cells, device=device)[shift::step]


def _blocks(weight: Tensor, geometry: EpitomeGeometry) -> Tensor:
    """Blocks of a tensor of the weight's shape, row by row of the grid, ``(R_out * R_in, taps, b_out, b_in)``; zeros beyond its end."""
    out, inner = geometry.axes[:2]
    grid = weight.reshape(out.size, inner.size, -1)
    grid = F.pad(grid, (0, 0, 0, inner.patches * inner.patch - inner.size, 0, out.patches * out.patch - out.size))
    grid = grid.view(out.patches, out.patch, inner.patches, inner.patch, -1)
    return grid.permute(0, 2, 4, 1, 3).flatten(0, 1)


def _costs(
    products: Tensor, squares: Tensor, epitome: Tensor, geometry: EpitomeGeometry, step: int, shift: int
) -> Tensor:
    """What each block would leave at each place, less its own energy, ``(blocks, places out, places in)``, single precision."""
    out, inner = geometry.axes[:2]
    image = epitome.reshape(out.cells, inner.cells, -1).permute(2, 0, 1).unsqueeze(0).float()
    room = (0, inner.patch - 1, 0, out.patch - 1)
    image = F.pad(image, room, mode="circular") if geometry.boundary == "circular" else F.pad(image, room)
    image = image[:, :, shift:, shift:]
    return (
        F.conv2d(image.square(), squares.float(), stride=step) - 2 * F.conv2d(image, products.float(), stride=step)
    )[0]


def _allowed(routing_map: RoutingMap, axis: int, places: Tensor) -> Tensor:
    """Which places each block may begin at along an axis, ``(blocks, places)``."""
    geometry = routing_map.geometry
    a = geometry.axes[axis]
    if routing_map.starts[axis] is None:
        fixed = torch.as_tensor(geometry.spread(torch.arange(a.patches).numpy() * a.patch, axis), device=places.device)
        return fixed.reshape(-1, 1) == places
    if geometry.boundary == "circular":
        return torch.ones(
            geometry.patch_grid[0] * geometry.patch_grid[1], places.numel(), dtype=torch.bool, device=places.device
        )
    return places <= torch.as_tensor(geometry.limits(axis), device=places.device).reshape(-1, 1)
