"""Find the best integer starts of every patch under joint scope, by comparing each patch with all places in the epitome.

A place is a pair of starts, one along each channel axis. All comparisons are one correlation of the epitome with the patches of
the weight, computed as a convolution.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from nes_lab.epitome.routing_map import RoutingMap
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["best_joint_starts"]

MAX_MADDS_PER_SEARCH = 2e9
"""Limit on the multiply-adds of one search over all patches. If it would take more, only places on a lattice are compared."""

MIN_GAIN = 1e-5
"""A patch moves only if its squared residual falls by this share of its squared norm, well above single-precision rounding."""


def best_joint_starts(
    routing_map: RoutingMap, weight: Tensor, epitome: Tensor, row_scale: Tensor | None = None
) -> RoutingMap:
    """Move every patch of a weight to the place in the given epitome where its residual is smallest.

    A patch stays where it is unless another place is clearly better, so the residual never rises. If there are too many places
    to compare, only those on a lattice are compared, and the lattice is shifted after every move.

    Args:
        routing_map: Present integer starts, of joint scope.
        weight: The weight to approximate, in ``geometry.weight_shape``, float64.
        epitome: The epitome, in ``geometry.epitome_shape``, float64.
        row_scale: ``(C_out,)`` factor of each output channel; None: all are 1.

    Returns:
        The routing map with the better starts along both channel axes.

    Examples:
        >>> geometry = EpitomeGeometry((2, 2), (2, 3), (1, 1), scope="joint")
        >>> tiled = RoutingMap(geometry, (None, torch.zeros(2, 2, dtype=torch.long)), "free")
        >>> weight, epitome = torch.tensor([[1.0, 2.0], [3.0, 1.0]]).double(), torch.tensor([[1.0, 2.0, 3.0]] * 2).double()
        >>> best_joint_starts(tiled, weight, epitome).starts[1]
        tensor([[0, 1],
                [2, 0]])
    """
    geometry = routing_map.geometry
    scale = weight.new_ones(weight.shape[0]) if row_scale is None else row_scale
    factor = scale.view(-1, *[1] * (weight.ndim - 1)).expand_as(weight)
    error = weight - factor * routing_map.materialize(epitome)
    present, energy = (_patches(t.square(), geometry).flatten(1).sum(1) for t in (error, weight))
    step = max(1, ceil(sqrt(weight.numel() * epitome.shape[0] * epitome.shape[1] / MAX_MADDS_PER_SEARCH)))
    shift = sum(int(s.sum()) for s in routing_map.starts[:2] if s is not None) % step
    products, squares = _patches(factor * weight, geometry), _patches(factor.square(), geometry)
    residual = _residuals(products, squares, epitome, geometry, step, shift)
    places = [torch.arange(geometry.axes[axis].cells, device=weight.device)[shift::step] for axis in (0, 1)]
    allowed = _allowed(routing_map, 0, places[0]).unsqueeze(2) & _allowed(routing_map, 1, places[1]).unsqueeze(1)
    least, place = residual.masked_fill(~allowed, float("inf")).flatten(1).min(1)
    is_better = least.double() + energy < present - MIN_GAIN * energy
    best = (places[0][place // places[1].numel()], places[1][place % places[1].numel()])
    starts = list(routing_map.starts)
    for axis in (0, 1):
        old = starts[axis]
        if old is not None:
            starts[axis] = torch.where(is_better.view_as(old), best[axis].view_as(old), old.long())
    return replace(routing_map, starts=tuple(starts))


def _patches(weight: Tensor, geometry: EpitomeGeometry) -> Tensor:
    """Cut a tensor of the weight's shape into patches, padded with zeros at its end.

    Returns:
        ``(R_out * R_in, taps, b_out, b_in)``: one entry per patch, with its kernel taps, output channels and input channels.
    """
    out, inner = geometry.axes[:2]
    grid = weight.reshape(out.size, inner.size, -1)
    grid = F.pad(grid, (0, 0, 0, inner.patches * inner.patch - inner.size, 0, out.patches * out.patch - out.size))
    grid = grid.view(out.patches, out.patch, inner.patches, inner.patch, -1)
    return grid.permute(0, 2, 4, 1, 3).flatten(0, 1)


def _residuals(
    products: Tensor, squares: Tensor, epitome: Tensor, geometry: EpitomeGeometry, step: int, shift: int
) -> Tensor:
    """Return the squared residual of each patch at each place in the epitome, minus the squared norm of the patch.

    It is computed in single precision; :data:`MIN_GAIN` is large enough for its rounding errors.

    Returns:
        ``(patches, starts along the output axis, starts along the input axis)``.
    """
    out, inner = geometry.axes[:2]
    image = epitome.reshape(out.cells, inner.cells, -1).permute(2, 0, 1).unsqueeze(0).float()
    margin = (0, inner.patch - 1, 0, out.patch - 1)
    image = F.pad(image, margin, mode="circular") if geometry.boundary == "circular" else F.pad(image, margin)
    image = image[:, :, shift:, shift:]
    energies = F.conv2d(image.square(), squares.float(), stride=step)
    return (energies - 2 * F.conv2d(image, products.float(), stride=step))[0]


def _allowed(routing_map: RoutingMap, axis: int, places: Tensor) -> Tensor:
    """Check which of the starts in ``places`` each patch may have along an axis.

    Returns:
        ``(patches, places)`` booleans.
    """
    geometry = routing_map.geometry
    a = geometry.axes[axis]
    if routing_map.starts[axis] is None:
        fixed = torch.as_tensor(geometry.spread(torch.arange(a.patches).numpy() * a.patch, axis), device=places.device)
        return fixed.reshape(-1, 1) == places
    if geometry.boundary == "circular":
        patches = geometry.patch_grid[0] * geometry.patch_grid[1]
        return torch.ones(patches, places.numel(), dtype=torch.bool, device=places.device)
    return places <= torch.as_tensor(geometry.limits(axis), device=places.device).reshape(-1, 1)
