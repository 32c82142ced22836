"""Find the best place in the epitome for every patch of a weight, by comparing each patch with all places.

A place is a pair of integer starts, one along the output axis and one along the input axis. With the scope ``joint``,
each patch has its own place. One convolution computes all comparisons.
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
    """Move every patch of a weight to the place in the given epitome that approximates the patch best.

    A place is a pair of integer starts, one along each channel axis. A patch moves only if another place is clearly
    better. The error therefore never rises. If there are very many places, only some of them are compared. The next
    call then compares others.

    Args:
        routing_map: Present integer starts, with the scope ``joint``.
        weight: The weight to approximate, in ``geometry.weight_shape``, float64.
        epitome: The epitome, in ``geometry.epitome_shape``, float64.
        row_scale: Factor of each output channel, ``(output channels,)``; None: all factors are 1.

    Returns:
        The routing map with the new starts along both channel axes.

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
    """Cut a tensor of the weight's shape into patches. If the last patch is shorter, zeros are added to it.

    Returns:
        The patches, ``(patches, positions of the convolution kernel, output channels of a patch, input channels of a
        patch)``.
    """
    out, inner = geometry.axes[:2]
    grid = weight.reshape(out.size, inner.size, -1)
    grid = F.pad(grid, (0, 0, 0, inner.patches * inner.patch - inner.size, 0, out.patches * out.patch - out.size))
    grid = grid.view(out.patches, out.patch, inner.patches, inner.patch, -1)
    return grid.permute(0, 2, 4, 1, 3).flatten(0, 1)


def _residuals(
    products: Tensor, squares: Tensor, epitome: Tensor, geometry: EpitomeGeometry, step: int, shift: int
) -> Tensor:
    """Return how badly each patch of the weight matches each place in the epitome. A smaller number is a better match.

    A place is a pair of starts, one along the output axis and one along the input axis.

    Args:
        products: The patches of the weight, with each output channel multiplied by its factor.
        squares: The square of the factor of each entry's output channel, in the shape of ``products``.
        epitome: The epitome.
        geometry: Geometry of the layer.
        step: Distance between neighboring starts that are compared.
        shift: The smallest start that is compared.

    Returns:
        The squared error of each patch at each place, without a term that is the same at all places. The shape is
        ``(patches, starts along the output axis, starts along the input axis)``.
    """
    out, inner = geometry.axes[:2]
    image = epitome.reshape(out.cells, inner.cells, -1).permute(2, 0, 1).unsqueeze(0).float()
    margin = (0, inner.patch - 1, 0, out.patch - 1)
    image = F.pad(image, margin, mode="circular") if geometry.boundary == "circular" else F.pad(image, margin)
    image = image[:, :, shift:, shift:]
    energies = F.conv2d(image.square(), squares.float(), stride=step)
    # The squared norm of a patch is the same at all places. MIN_GAIN covers the rounding errors of float32.
    return (energies - 2 * F.conv2d(image, products.float(), stride=step))[0]


def _allowed(routing_map: RoutingMap, axis: int, places: Tensor) -> Tensor:
    """Say for each patch which of the given positions in the epitome it may take along one axis.

    With the boundary ``clamp``, a patch must end inside the epitome. On an axis without starts, a patch may
    take only the position that it has now.

    Returns:
        Booleans, one row per patch and one column per position: True where the patch may take the position.
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
