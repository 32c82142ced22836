"""Fold and expand a channel axis in a training step on a CPU, without autograd and with few calls.

A layer with few multiply-adds spends most of its time in calls, not in arithmetic. So the factors here are numpy arrays: a numpy call
takes less time than a torch call.

Tests: tests/execution/test_factored_step.py
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nes_lab.epitome.constants import arange_column, constant
from nes_lab.epitome.slices import CellSlice
from nes_lab.epitome.taps import AxisTaps

__all__ = ["AxisReading", "AxisRows", "from_columns", "to_columns"]

_COLUMNS_UP_TO = 64
"""With at most this many positions, dot products are faster after the samples of a batch were put side by side."""


class AxisRows(NamedTuple):
    """Holds a sampling matrix and its transpose as compressed sparse rows, as :class:`~nes_lab.epitome.taps.RowTable` does.

    Args:
        cell: Cell (column) of each entry, with the entries ordered by channel.
        channel: Channel (row) of each entry, with the entries ordered by cell.
        cell_begins: Where the entries of each cell begin, with the entries ordered by cell.
        begins: Where the entries of each channel begin, with the entries ordered by channel.
        channel_of: Channel of each entry, with the entries ordered by channel. Only learned starts need it.
        channels, cells: Numbers of channels and of epitome cells.
        per_row: Number of entries per channel.
    """

    cell: Tensor
    channel: Tensor
    cell_begins: Tensor
    begins: Tensor
    channel_of: Tensor | None
    channels: int
    cells: int
    per_row: int

    @classmethod
    def of(cls, taps: AxisTaps) -> AxisRows:
        """Return the rows of taps: of the cells that each channel reads."""
        rows = taps.rows()
        channels = taps.lower.shape[0]
        return cls(rows.cell, rows.channel, rows.cell_begins, rows.begins, None, channels, taps.cells, rows.per_row)


class AxisReading(NamedTuple):
    """Says which epitome cells the channels of one axis read in one step, and multiplies tensors with the sampling matrix.

    Tensors are contiguous. Their axis ``dim``, 0 or 1, has the channels or the cells.

    Args:
        rows: The cells that each channel reads; None if the axis is read in slices.
        by_channel: Factors of the cells, ordered by channel; None: each channel reads one cell, with the factor 1.
        by_cell: The same factors, ordered by cell.
        slices: Slices in which the axis is read; None if there are none.
        cells: Number of epitome cells; only used with slices.
    """

    rows: AxisRows | None
    by_channel: np.ndarray | None = None
    by_cell: np.ndarray | None = None
    slices: tuple[CellSlice, ...] | None = None
    cells: int = 0

    @classmethod
    def fixed(cls, taps: AxisTaps, dtype: torch.dtype) -> AxisReading:
        """Return how taps are read: the cells that each channel reads, and factors that no gradient reaches.

        Args:
            taps: The taps.
            dtype: Data type of the tensors that are folded and expanded.
        """
        if taps.slices is not None:
            return cls(None, slices=taps.slices, cells=taps.cells)
        by_channel, by_cell = (None if s is None else s.to(dtype).numpy() for s in (taps.shares(), taps.shares_by_cell))
        return cls(AxisRows.of(taps), by_channel, by_cell)

    def expand(self, cells: Tensor, dim: int) -> Tensor:
        """Give each channel the cells that it reads. The result has the channels along ``dim``."""
        rows = self.rows
        if rows is None:
            parts = [_part(cells, dim, begin, length) for _, begin, length in self.slices or ()]
            return parts[0].clone() if len(parts) == 1 else torch.cat(parts, dim)
        if dim == 0 or cells.shape[0] == 1:
            return _bags_of_one(cells, dim, rows.cell, rows.begins, self.by_channel)
        offsets = constant(cells, _even_offsets, rows.channels * cells.shape[0], rows.per_row)
        return _bags(cells, dim, rows.cell, offsets, rows.channels, self.by_channel)

    def fold(self, channels: Tensor, dim: int) -> Tensor:
        """Add each channel onto the cells that it reads. The result has the cells along ``dim``."""
        rows = self.rows
        if rows is None:
            return _fold_slices(channels, dim, self.slices or (), self.cells)
        if dim == 0 or channels.shape[0] == 1:
            return _bags_of_one(channels, dim, rows.channel, rows.cell_begins, self.by_cell)
        offsets = _repeated(rows.cell_begins, rows.channel.shape[0], channels.shape[0])
        return _bags(channels, dim, rows.channel, offsets, rows.cells, self.by_cell)

    def dots(self, channels: Tensor, cells: Tensor, dim: int) -> np.ndarray:
        """Return the gradient of the factors, ordered by channel, as one row of numbers.

        They are the dot products of each channel's row with the rows of the cells that it reads.
        """
        rows = self.rows
        assert rows is not None  # learned starts lie between cells
        assert rows.channel_of is not None
        if channels.numel() == 0:
            return np.zeros(rows.channels * rows.per_row)
        if dim and channels.shape[0] > 1 and prod(channels.shape[2:]) <= _COLUMNS_UP_TO:
            channels, cells, dim = to_columns(channels), to_columns(cells), 0
        outer, bag, index = channels.shape[0] if dim else 1, rows.channel_of, rows.cell
        if outer > 1:
            bag = constant(channels, _channel_of, outer * rows.channels, rows.per_row)
            index = _repeated(rows.cell, rows.cells, outer)
        a, b = _as_rows(channels, dim), _as_rows(cells, dim)
        dots = torch.ops.aten._embedding_bag_per_sample_weights_backward(a, b, index, bag, bag, 0).numpy()
        return dots if outer == 1 else dots.reshape(outer, -1).sum(0)


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
