"""The best start of every patch along one axis: the residual of all of them at all places, by one product of matrices."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["best_between", "best_whole"]

_GRID = 16
"""Fractional starts lie on this many places a cell: finer ones gain nothing and make cells that hardly anything reads."""


def best_whole(rows: Tensor, cells: Tensor, scaled: bool, old: Tensor, geometry: EpitomeGeometry, axis: int) -> Tensor:
    """Integer starts of least residual; rows that are scaled are compared by direction.

    Args:
        rows: What is read along the axis, a row a channel, ``(C, d)``.
        cells: What may be read, a row a cell, ``(cells, d)``.
        scaled: Whether each row has a factor of its own.
        old: Integer starts now; kept where none is clearly better.
        geometry: Of a separable layer.
        axis: 0 or 1.

    Returns:
        Starts, int64, the shape of ``old``.
    """
    products, energy = rows @ cells.T, cells.square().sum(1)
    if scaled:
        cost = -products.square() / torch.where(energy > 0, energy, 1)
    else:
        cost = energy - 2 * products
    total = _over_patches(cost, geometry, axis).masked_fill(_outside(geometry, axis, 0, rows.device), float("inf"))
    return _better(total, old.round().long() % geometry.axes[axis].cells, old)


def best_between(
    rows: Tensor, cells: Tensor, scale: Tensor | None, old: Tensor, geometry: EpitomeGeometry, axis: int
) -> Tensor:
    """Starts anywhere, of least residual: between two cells it is a parabola in the share, whose least is known.

    Args:
        rows: As :func:`best_whole`.
        cells: Likewise.
        scale: Factor of each row, ``(C,)``, or None.
        old: Starts now, which may lie between cells.
        geometry: Of a separable layer.
        axis: 0 or 1.

    Returns:
        Starts, float64, the shape of ``old``.
    """
    scale = torch.ones_like(rows[:, :1]) if scale is None else scale.unsqueeze(1)
    above = cells.roll(-1, 0)
    products, energy, step = rows @ cells.T, cells.square().sum(1), above - cells
    bent = _over_patches(scale.square() * step.square().sum(1), geometry, axis)
    slope = scale * (rows @ step.T) - scale.square() * (cells * step).sum(1)
    slope = _over_patches(slope, geometry, axis)
    flat = _over_patches(scale.square() * energy - 2 * scale * products, geometry, axis)
    share = torch.where(bent > 0, slope / torch.where(bent > 0, bent, 1), 0).clamp(0, 1)
    share = ((share * _GRID).round() / _GRID).masked_fill(_outside(geometry, axis, 1, rows.device), 0)
    outside = _outside(geometry, axis, 0, rows.device)
    total = (flat - 2 * share * slope + share.square() * bent).masked_fill(outside, float("inf"))
    low = old.double().floor()
    here = (old.double() - low).unsqueeze(1)
    at = (low.long() % geometry.axes[axis].cells).unsqueeze(1)
    now = (flat - 2 * here * slope + here.square() * bent).gather(1, at)
    least, place = total.min(1, keepdim=True)
    fresh = place + share.gather(1, place)
    return torch.where(least < now - 1e-12 * now.abs(), fresh, old.double().unsqueeze(1)).squeeze(1)


def _better(total: Tensor, at: Tensor, old: Tensor) -> Tensor:
    """The start of least cost, and the old one where none is clearly better: ties would be passed on for ever."""
    now = total.gather(1, at.unsqueeze(1)).squeeze(1)
    least, place = total.min(1)
    return torch.where(least < now - 1e-12 * now.abs(), place, old.long())


def _over_patches(cost: Tensor, geometry: EpitomeGeometry, axis: int) -> Tensor:
    """Sum, for every patch and start, over the rows of the patch: row j reads the j-th cell from the start, ``(R, cells)``."""
    a = geometry.axes[axis]
    short = a.patches * a.patch - a.size
    table = F.pad(cost, (0, 0, 0, short)).view(a.patches, a.patch, a.cells)
    within = torch.arange(a.patch, device=cost.device).unsqueeze(1)
    reads = (within + torch.arange(a.cells, device=cost.device)) % a.cells
    return table.gather(2, reads.expand_as(table)).sum(1)


def _outside(geometry: EpitomeGeometry, axis: int, less: int, device: torch.device) -> Tensor:
    """Starts beyond each patch's limit, ``(R, cells)``; none under the circular boundary."""
    a = geometry.axes[axis]
    limits = torch.as_tensor(geometry.limits(axis), device=device).unsqueeze(1)
    if geometry.boundary == "circular":
        limits = torch.full_like(limits, a.cells + less)
    return torch.arange(a.cells, device=device) > limits - less
