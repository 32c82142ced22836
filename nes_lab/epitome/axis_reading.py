"""Fold and expand a channel axis in a training step on a CPU, without autograd and with few calls.

A layer with few multiply-adds spends most of its time in calls, not in arithmetic. So the small tables here are numpy arrays:
a numpy call takes less time than a torch call.

Tests: tests/execution/test_factored_step.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nes_lab.epitome.constants import arange_column, constant
from nes_lab.epitome.slices import CellSlice
from nes_lab.epitome.taps import AxisTaps, axis_taps, start_cells
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["AxisReading", "LearnedCells", "StepStarts", "from_columns", "to_columns"]

_COLUMNS_UP_TO = 64
"""With at most this many positions, dot products are faster after the samples of a batch were put side by side."""


class AxisReading(NamedTuple):
    """Says which epitome cells the channels of one axis read in one step, and multiplies tensors with the sampling matrix.

    Tensors are contiguous. Their axis ``dim``, 0 or 1, has the channels or the cells.

    Args:
        taps: The cells that each channel reads; its slices, if it has some, are used.
        shares: Factors of the cells, of shape ``(channels, 2)``; None: each channel reads one cell, with the factor 1.
    """

    taps: AxisTaps
    shares: np.ndarray | None = None

    def expand(self, cells: Tensor, dim: int) -> Tensor:
        """Give each channel the cells that it reads. The result has the channels along ``dim``."""
        if self.taps.slices is not None:
            parts = [_part(cells, dim, begin, length) for _, begin, length in self.taps.slices]
            return parts[0].clone() if len(parts) == 1 else torch.cat(parts, dim)
        shares = None if self.shares is None else self.shares.reshape(-1)
        rows = self.taps.rows()
        if dim == 0 or cells.shape[0] == 1:
            return _bags_of_one(cells, dim, rows.cell, rows.begins, shares)
        channels = self.taps.lower.shape[0]
        offsets = constant(cells, _even_offsets, channels * cells.shape[0], rows.per_row)
        return _bags(cells, dim, rows.cell, offsets, channels, shares)

    def fold(self, channels: Tensor, dim: int) -> Tensor:
        """Add each channel onto the cells that it reads. The result has the cells along ``dim``."""
        if self.taps.slices is not None:
            return _fold_slices(channels, dim, self.taps.slices, self.taps.cells)
        rows = self.taps.rows()
        shares = None if self.shares is None else self.shares.reshape(-1)[rows.order_array]
        if dim == 0 or channels.shape[0] == 1:
            return _bags_of_one(channels, dim, rows.channel, rows.cell_begins, shares)
        offsets = _repeated(rows.cell_begins, rows.order.shape[0], channels.shape[0])
        return _bags(channels, dim, rows.channel, offsets, self.taps.cells, shares)

    def dots(self, channels: Tensor, cells: Tensor, dim: int) -> np.ndarray:
        """Return the gradient of ``shares``: for each channel, the dot products of its row with the rows of the cells that it reads."""
        if dim and channels.shape[0] > 1 and prod(channels.shape[2:]) <= _COLUMNS_UP_TO:
            channels, cells, dim = to_columns(channels), to_columns(cells), 0
        rows, outer, count = self.taps.rows(), channels.shape[0] if dim else 1, self.taps.lower.shape[0]
        if channels.numel() == 0:
            return np.zeros((count, rows.per_row))
        if outer == 1:
            bag, index = rows.channel_of, rows.cell
        else:
            bag = constant(channels, _channel_of, outer * count, rows.per_row)
            index = _repeated(rows.cell, self.taps.cells, outer)
        a, b = (_as_rows(t, dim) for t in (channels, cells))
        dots = torch.ops.aten._embedding_bag_per_sample_weights_backward(a, b, index, bag, bag, 0).numpy()
        return dots.reshape(count, -1) if outer == 1 else dots.reshape(outer, count, -1).sum(0)


def _part(tensor: Tensor, dim: int, begin: int, length: int) -> Tensor:
    """Return some neighboring entries along an axis of a tensor, as a view. It takes less time than ``narrow``."""
    shape = list(tensor.shape)
    if length == shape[dim]:
        return tensor
    shape[dim], strides = length, tensor.stride()
    return tensor.as_strided(shape, strides, tensor.storage_offset() + begin * strides[dim])


def _fold_slices(channels: Tensor, dim: int, slices: tuple[CellSlice, ...], cells: int) -> Tensor:
    shape = list(channels.shape)
    shape[dim] = cells
    first, rest = slices[0], slices[1:]
    if first[2] < cells:
        out, rest = channels.new_zeros(shape), slices
    elif len(slices) == 1:
        return _part(channels, dim, first[0], cells).clone()
    else:
        out = torch.empty(shape, dtype=channels.dtype)
        out.copy_(_part(channels, dim, first[0], cells))
    for begin, cell, length in rest:
        _part(out, dim, cell, length).add_(_part(channels, dim, begin, length))
    return out


def _as_rows(tensor: Tensor, dim: int) -> Tensor:
    if dim == 0:
        return tensor if tensor.ndim == 2 else tensor.view(tensor.shape[0], -1)
    return tensor.view(tensor.shape[0] * tensor.shape[1], -1)


def _bags_of_one(tensor: Tensor, dim: int, index: Tensor, offsets: Tensor, shares: np.ndarray | None) -> Tensor:
    """Add up rows of a tensor of one sample, weighted by ``shares``, in bags that begin at ``offsets``."""
    rows = tensor if tensor.ndim == 2 and dim == 0 else tensor.view(tensor.shape[dim], -1)
    if rows.shape[1] == 0:
        return tensor.new_zeros((*tensor.shape[:dim], offsets.shape[0], *tensor.shape[dim + 1 :]))
    weights = None if shares is None else torch.from_numpy(shares)
    bags = torch._embedding_bag_forward_only(rows, index, offsets, False, 0, False, weights)[0]
    return bags if rows is tensor else bags.view(*tensor.shape[:dim], offsets.shape[0], *tensor.shape[dim + 1 :])


def _bags(tensor: Tensor, dim: int, index: Tensor, offsets: Tensor, count: int, shares: np.ndarray | None) -> Tensor:
    """Add up rows of a tensor, weighted by ``shares``, in bags that begin at ``offsets``; separately for each sample.

    Args:
        tensor: Contiguous tensor with the rows along ``dim``.
        dim: 1; the first axis of the tensor has the samples.
        index: Rows of all bags, of one sample.
        offsets: Where in ``index`` each bag begins, for all samples.
        count: Number of bags of one sample.
        shares: Factor of each row; None: 1.
    """
    shape = list(tensor.shape)
    shape[dim], outer = count, tensor.shape[0]
    if tensor.numel() == 0:
        return tensor.new_zeros(shape)
    weights = None
    if shares is not None:
        weights = torch.from_numpy(np.concatenate([shares] * outer))
    index = _repeated(index, tensor.shape[dim], outer)
    bags = torch._embedding_bag_forward_only(_as_rows(tensor, dim), index, offsets, False, 0, False, weights)[0]
    return bags.view(shape)


def _repeated(index: Tensor, step: int, times: int) -> Tensor:
    """Repeat indices, and add ``step`` more in each repetition."""
    if times == 1:
        return index
    return (index + constant(index, arange_column, times, step)).view(-1)


def _even_offsets(count: int, step: int, device: torch.device) -> Tensor:
    return torch.arange(0, count * step, step, device=device)


def _channel_of(count: int, step: int, device: torch.device) -> Tensor:
    return torch.arange(count * step, device=device) // step


def to_columns(tensor: Tensor) -> Tensor:
    """Put the positions of all samples side by side: ``(samples, channels, ...)`` to ``(channels, samples * positions)``."""
    samples, channels = tensor.shape[:2]
    if samples == 1:
        return tensor.view(channels, -1)
    positions = prod(tensor.shape[2:])
    out = torch.empty((channels, samples, positions), dtype=tensor.dtype)
    out.copy_(tensor.as_strided(out.shape, (positions, channels * positions, 1), tensor.storage_offset()))
    return out.view(channels, -1)


def from_columns(columns: Tensor, samples: int, sizes: Sequence[int]) -> Tensor:
    """Undo :func:`to_columns`: ``(channels, samples * positions)`` to ``(samples, channels, *sizes)``."""
    channels, positions = columns.shape[0], prod(sizes)
    if samples == 1:
        return columns.view(1, channels, *sizes)
    out = torch.empty((samples, channels, *sizes), dtype=columns.dtype)
    strides = (positions, columns.shape[1], *out.stride()[2:])
    return out.copy_(columns.as_strided(out.shape, strides, columns.storage_offset()))


# ---- learned starts ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LearnedCells:
    """Keeps which cells the channels of an axis read, as long as no start leaves its cell. Then only the fractions are new.

    Args:
        geometry: Shapes of weight and epitome; the scope is separable.
        axis: Index of the channel axis: 0 or 1.
        base: Lower cell of each patch, before it wraps around with the circular boundary.
        taps: The cells that each channel reads.
    """

    geometry: EpitomeGeometry
    axis: int
    base: np.ndarray
    taps: AxisTaps

    @classmethod
    def of(cls, starts: np.ndarray, geometry: EpitomeGeometry, axis: int) -> LearnedCells:
        """Find the cells of given starts, which lie inside the epitome if the boundary is ``clamp``."""
        with torch.inference_mode(False), torch.no_grad():  # training may use it later
            given = torch.from_numpy(starts)
            base = start_cells(given, geometry, axis).numpy()
            return cls(geometry, axis, base, axis_taps(given, geometry, axis, fractional=True))

    @cached_property
    def highest(self) -> np.ndarray:
        """Largest fraction of each patch inside its cell: below 1, or 1 at the upper end of the epitome."""
        below = np.nextafter(np.ones_like(self.base), 0)
        if self.geometry.boundary == "circular":
            return below
        return np.where(self.base >= self.geometry.limits(self.axis) - 1, 1, below).astype(self.base.dtype)

    @cached_property
    def begins(self) -> np.ndarray:
        """First channel of each patch."""
        axis = self.geometry.axes[self.axis]
        return np.arange(0, axis.size, axis.patch)

    def fractions(self, starts: np.ndarray) -> np.ndarray | None:
        """Return how far each start is above its lower cell; None if a start has left its cell."""
        if starts.dtype != self.base.dtype:
            return None
        fractions = starts - self.base
        inside = fractions >= 0  # False for NaN
        inside &= fractions <= self.highest
        return fractions if inside.all() else None

    def reading(self, fractions: np.ndarray, dtype: np.dtype) -> AxisReading:
        """Return how the axis is read if each start lies ``fractions`` above its lower cell.

        Args:
            fractions: One number per patch.
            dtype: Data type of the tensors that are folded and expanded.
        """
        patch_of = self.geometry.axes[self.axis].patch_of
        shares = np.empty((len(patch_of), 2), dtype)
        shares[:, 1] = upper = fractions[patch_of]
        np.subtract(1, upper, out=shares[:, 0], casting="same_kind")
        return AxisReading(self.taps, shares)

    def gradient(self, of_shares: np.ndarray) -> np.ndarray:
        """Turn the gradient of the shares into the gradient of the starts."""
        return np.add.reduceat(of_shares[:, 1] - of_shares[:, 0], self.begins)


class StepStarts(NamedTuple):
    """Holds the starts of one channel axis in one step, and how their gradient reaches the tensor that they come from.

    Args:
        cells: The cells, which are kept from step to step.
        fractions: How far each start is above its lower cell.
        unclamped: Starts before they were clamped to the epitome; None if nothing clamps them. At a bound, a gradient passes
            only if gradient descent would move the start inside.
        limits: Largest start of each patch.
        source: Number of the tensor, among those that are learned, from which the starts come.
        part: Where in this tensor the starts of the axis are; None: it holds no others.
    """

    cells: LearnedCells
    fractions: np.ndarray
    unclamped: np.ndarray | None
    limits: np.ndarray | None
    source: int
    part: slice | None

    def gradient(self, of_shares: np.ndarray) -> np.ndarray:
        """Turn the gradient of the shares into the gradient of the source."""
        found = self.cells.gradient(of_shares)
        if self.unclamped is None:
            return found
        blocked = ((self.unclamped <= 0) & (found >= 0)) | ((self.unclamped >= self.limits) & (found <= 0))
        found[blocked] = 0
        return found
