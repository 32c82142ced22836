"""Find the start of every patch along one axis at which the epitome approximates the patch best.

The start of a patch is the position in the epitome where the patch begins. One matrix product compares all starts of
all patches. This is one step of the search with the scope ``separable``, where each axis has its own starts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["best_fractional_starts", "best_integer_starts"]

STARTS_PER_CELL = 16
"""Fractional starts are multiples of 1/16 of a cell. Finer ones gain nothing and leave cells that are hardly read."""

MIN_GAIN = 1e-12
"""A patch moves only if its residual falls by this share; otherwise it could switch between equally good starts forever."""


def best_integer_starts(
    channels: Tensor, cells: Tensor, scaled: bool, old: Tensor, geometry: EpitomeGeometry, axis: int
) -> Tensor:
    """Return for every patch of a weight the integer start (position in the epitome) that approximates the patch best.

    Only starts along one axis are chosen. The best start has the smallest squared difference between the patch and the epitome
    cells that it reads. The epitome does not change.

    Args:
        channels: The channels of the weight along the axis, one per row, ``(channels, length)``.
        cells: The cells of the epitome along the axis, one per row, ``(cells, length)``. Along the other axis the epitome is
            already sampled, so the rows are as long as those of ``channels``.
        scaled: True if each channel has a factor. The factor can change the length of a row, so only the directions of rows
            are compared.
        old: The present integer start of each patch, ``(patches,)``. A patch keeps it unless another start is better.
        geometry: Geometry of the layer, with the scope ``separable``.
        axis: 0 (output channels) or 1 (input channels).

    Returns:
        The new start of each patch, ``(patches,)``, int64.
    """
    products, energy = channels @ cells.T, cells.square().sum(1)
    if scaled:
        residual = -products.square() / torch.where(energy > 0, energy, 1)
    else:
        residual = energy - 2 * products
    beyond = _beyond_limits(geometry, axis, 0, channels.device)
    by_patch = _sum_over_patches(residual, geometry, axis).masked_fill(beyond, float("inf"))
    present = by_patch.gather(1, (old.round().long() % geometry.axes[axis].cells).unsqueeze(1))
    least, start = by_patch.min(1, keepdim=True)
    return torch.where(_is_better(least, present), start, old.long().unsqueeze(1)).squeeze(1)


def best_fractional_starts(
    channels: Tensor, cells: Tensor, scale: Tensor | None, old: Tensor, geometry: EpitomeGeometry, axis: int
) -> Tensor:
    """Return for every patch of a weight the start (position in the epitome) that approximates the patch best.

    Only starts along one axis are chosen. A start may lie between two cells, which are then blended. The best start has the
    smallest squared difference between the patch and the values that it reads from the epitome. Between two neighboring cells,
    this squared error is a quadratic function of the start. So its minimum has a closed form.

    Args:
        channels: The channels of the weight along the axis, one per row, ``(channels, length)``.
        cells: The cells of the epitome along the axis, one per row, ``(cells, length)``. Along the other axis the epitome is
            already sampled, so the rows are as long as those of ``channels``.
        scale: The factor of each channel, ``(channels,)``; None: all factors are 1.
        old: The present start of each patch, ``(patches,)``, which may lie between cells. A patch keeps it unless another start is
            better.
        geometry: Geometry of the layer, with the scope ``separable``.
        axis: 0 (output channels) or 1 (input channels).

    Returns:
        The new start of each patch, ``(patches,)``, float64.
    """
    scale = torch.ones_like(channels[:, :1]) if scale is None else scale.unsqueeze(1)
    products, energy, step = channels @ cells.T, cells.square().sum(1), cells.roll(-1, 0) - cells
    # residual at the start cell + share, minus the patch's squared norm: constant - 2 share slope + share^2 curvature
    curvature = _sum_over_patches(scale.square() * step.square().sum(1), geometry, axis)
    slope = scale * (channels @ step.T) - scale.square() * (cells * step).sum(1)
    slope = _sum_over_patches(slope, geometry, axis)
    constant = _sum_over_patches(scale.square() * energy - 2 * scale * products, geometry, axis)
    share = torch.where(curvature > 0, slope / torch.where(curvature > 0, curvature, 1), 0).clamp(0, 1)
    share = (share * STARTS_PER_CELL).round() / STARTS_PER_CELL
    share = share.masked_fill(_beyond_limits(geometry, axis, 1, channels.device), 0)
    residual = constant - 2 * share * slope + share.square() * curvature
    residual = residual.masked_fill(_beyond_limits(geometry, axis, 0, channels.device), float("inf"))
    old = old.double().unsqueeze(1)
    old_share, old_cell = old - old.floor(), old.floor().long() % geometry.axes[axis].cells
    present = (constant - 2 * old_share * slope + old_share.square() * curvature).gather(1, old_cell)
    least, cell = residual.min(1, keepdim=True)
    return torch.where(_is_better(least, present), cell + share.gather(1, cell), old).squeeze(1)


def _is_better(least: Tensor, present: Tensor) -> Tensor:
    return least < present - MIN_GAIN * present.abs()


def _sum_over_patches(residual: Tensor, geometry: EpitomeGeometry, axis: int) -> Tensor:
    """Return the error of each patch at every integer start (position in the epitome).

    The error of a patch is the sum of the errors of its channels. The channel with index ``j`` in a patch reads the cell ``start
    + j``.

    Args:
        residual: Error of each channel at each cell, ``(channels, cells)``.
        geometry: Geometry of the layer.
        axis: 0 (output channels) or 1 (input channels).

    Returns:
        Error of each patch at each start, ``(patches, cells)``.
    """
    a = geometry.axes[axis]
    missing = a.patches * a.patch - a.size
    table = F.pad(residual, (0, 0, 0, missing)).view(a.patches, a.patch, a.cells)
    channel = torch.arange(a.patch, device=residual.device).unsqueeze(1)
    cell_read = (channel + torch.arange(a.cells, device=residual.device)) % a.cells
    return table.gather(2, cell_read.expand_as(table)).sum(1)


def _beyond_limits(geometry: EpitomeGeometry, axis: int, margin: int, device: torch.device) -> Tensor:
    """Say which integer starts are too large for each patch, because the patch would end after the epitome.

    With the boundary ``circular`` no start is too large.

    Args:
        geometry: Geometry of the layer.
        axis: 0 (output channels) or 1 (input channels).
        margin: Also count the last ``margin`` allowed starts as too large.
        device: Device of the returned tensor.

    Returns:
        Booleans, ``(patches, cells)``: True where the start is too large.
    """
    a = geometry.axes[axis]
    limits = torch.as_tensor(geometry.limits(axis), device=device).unsqueeze(1)
    if geometry.boundary == "circular":
        limits = torch.full_like(limits, a.cells + margin)
    return torch.arange(a.cells, device=device) > limits - margin
