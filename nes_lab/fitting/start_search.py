"""The best start of every patch along one axis: all starts of all patches are compared by one matrix product."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["best_fractional_starts", "best_integer_starts"]

STARTS_PER_CELL = 16
"""Fractional starts are multiples of 1/16 of a cell. Finer ones gain nothing and leave cells that are hardly read."""

MIN_GAIN = 1e-12
"""Share by which a start must be better for its patch to move: equally good starts would be exchanged forever."""


def best_integer_starts(
    channels: Tensor, cells: Tensor, scaled: bool, old: Tensor, geometry: EpitomeGeometry, axis: int
) -> Tensor:
    """Return the integer start of smallest residual for every patch along one axis, for the given epitome.

    Args:
        channels: ``(C, d)``, the weight's channels along the axis, one per row.
        cells: ``(n, d)``, the epitome's cells along the axis, as the starts of the other axis sample them.
        scaled: Each channel has a factor of its own: then only directions are compared.
        old: ``(R,)`` present integer starts; a patch keeps its start unless another one is better.
        geometry: Geometry of a separable layer.
        axis: 0 (output channels) or 1 (input channels).

    Returns:
        Starts, int64, in the shape of ``old``.
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
    """Return the start of smallest residual for every patch along one axis, also between two cells.

    Between two neighboring cells the residual is a parabola in the start, whose minimum has a closed form.

    Args:
        channels: ``(C, d)``, as :func:`best_integer_starts` takes them.
        cells: ``(n, d)``, as :func:`best_integer_starts` takes them.
        scale: ``(C,)`` factor of each channel; None: all are 1.
        old: ``(R,)`` present starts, which may lie between cells; a patch keeps its start unless another one is better.
        geometry: Geometry of a separable layer.
        axis: 0 (output channels) or 1 (input channels).

    Returns:
        Starts, float64, in the shape of ``old``.
    """
    scale = torch.ones_like(channels[:, :1]) if scale is None else scale.unsqueeze(1)
    products, energy, step = channels @ cells.T, cells.square().sum(1), cells.roll(-1, 0) - cells
    # residual at cell + share, minus the patch's energy: constant - 2 share slope + share^2 curvature
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
    """Sum ``(C, n)`` residuals of channels at cells over each patch, ``(R, n)``: channel j reads the j-th cell from the start."""
    a = geometry.axes[axis]
    missing = a.patches * a.patch - a.size
    table = F.pad(residual, (0, 0, 0, missing)).view(a.patches, a.patch, a.cells)
    channel = torch.arange(a.patch, device=residual.device).unsqueeze(1)
    cell_read = (channel + torch.arange(a.cells, device=residual.device)) % a.cells
    return table.gather(2, cell_read.expand_as(table)).sum(1)


def _beyond_limits(geometry: EpitomeGeometry, axis: int, margin: int, device: torch.device) -> Tensor:
    """Return which starts lie beyond each patch's limit minus ``margin``, ``(R, n)``; none with the circular boundary."""
    a = geometry.axes[axis]
    limits = torch.as_tensor(geometry.limits(axis), device=device).unsqueeze(1)
    if geometry.boundary == "circular":
        limits = torch.full_like(limits, a.cells + margin)
    return torch.arange(a.cells, device=device) > limits - margin
