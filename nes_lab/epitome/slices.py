"""Expand or fold an axis of a tensor in a few contiguous slices, instead of with an index tensor.

To expand is to copy epitome cells to channels; to fold is to add channels onto epitome cells. While torch compiles or exports the
code, ``trace_expand`` and ``trace_fold`` do this. Where gradients are recorded, ``apply_slices`` does it. At all other times,
``expand_slices`` and ``fold_slices`` do it.

Tests: tests/epitome/test_sampling.py
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = [
    "MAX_SLICES",
    "CellSlice",
    "SlicePieces",
    "apply_slices",
    "axis_slices",
    "channels_inside",
    "expand_slices",
    "fold_slices",
    "like_format",
    "same_layout",
    "slice_pieces",
    "trace_expand",
    "trace_fold",
]


CellSlice = tuple[int, int, int]
"""A contiguous part of a channel axis and the epitome cells it reads: first channel, first cell, length."""

MAX_SLICES = 8
"""Largest number of slices per axis. With more, one operation with an index tensor is faster than one per slice."""
MAX_PIECES = 8
"""Largest number of pieces into which the slices of an axis are cut. With more, a single function of autograd is faster."""


def axis_slices(starts: np.ndarray, geometry: EpitomeGeometry, axis: int) -> tuple[CellSlice, ...] | None:
    """Return the contiguous slices in which a weight axis with integer starts reads the epitome. Adjacent slices are joined.

    In each slice, neighboring channels read neighboring cells, in order.

    Args:
        starts: Epitome cell at which each patch begins, integers of shape ``geometry.starts_shape(axis)``.
        geometry: Shapes of weight and epitome, scope and boundary.
        axis: Index of the weight axis.

    Returns:
        The slices ``(first channel, first cell, length)`` in the order of the channels. None if there are more than
        :data:`MAX_SLICES`. Also None for kernel axes, and with the scope ``joint``, where each patch has its own starts.

    Examples:
        >>> g = EpitomeGeometry((8, 4), (6, 4), patch_channels=(3, 4))
        >>> axis_slices(np.array([0, 3, 1]), g, 0)
        ((0, 0, 6), (6, 1, 2))
    """
    if axis >= 2 or geometry.scope != "separable":
        return None
    a = geometry.axes[axis]
    cell = np.asarray(starts, np.int64)[a.patch_of] + a.within
    cell = cell % a.cells if geometry.boundary == "circular" else cell
    begins = [0, *(np.flatnonzero(np.diff(cell) != 1) + 1).tolist()]
    if len(begins) > MAX_SLICES:
        return None
    return tuple((b, int(cell[b]), e - b) for b, e in zip(begins, [*begins[1:], a.size], strict=True))


def channels_inside(tensor: Tensor) -> bool:
    """Return True for a 4-D tensor in channels_last memory format."""
    return tensor.ndim == 4 and tensor.stride(1) < tensor.stride(3)


def same_layout(result: Tensor, tensor: Tensor) -> Tensor:
    """Convert ``result`` to channels_last memory format if ``tensor`` has that format; otherwise return it unchanged."""
    return result.contiguous(memory_format=torch.channels_last) if channels_inside(tensor) else result


def like_format(tensor: Tensor, dim: int, length: int) -> Tensor:
    """Make an uninitialized tensor that differs from a given tensor only in its length along one axis."""
    shape = list(tensor.shape)
    shape[dim] = length
    fmt = torch.channels_last if channels_inside(tensor) else torch.contiguous_format
    return torch.empty(shape, dtype=tensor.dtype, device=tensor.device, memory_format=fmt)


def expand_slices(
    tensor: Tensor, slices: Sequence[CellSlice], dim: int, scale: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """Expand an axis of a tensor from epitome cells to channels, slice by slice, then scale and add the bias.

    No gradient is recorded.

    Args:
        tensor: Tensor of any shape, with the epitome's cells along ``dim``.
        slices: Contiguous slices ``(first channel, first cell, length)`` that cover all channels.
        dim: Axis of ``tensor`` to expand, not negative.
        scale: One factor per channel, shaped to broadcast along ``dim``; None: no factor.
        bias: One number to add per channel, shaped like ``scale``; None: nothing is added.
    """
    cells = tensor.shape[dim]
    if scale is None and bias is None:
        return torch.cat([_part(tensor, dim, cell, length) for _, cell, length in slices], dim)
    if tensor.is_contiguous() and all(length == cells for _, _, length in slices):
        copies = [None if t is None else t.unflatten(dim, (len(slices), cells)) for t in (scale, bias)]
        return _affine(tensor.unsqueeze(dim), *copies).flatten(dim, dim + 1)  # one operation for all slices
    out = like_format(tensor, dim, sum(length for _, _, length in slices))
    for begin, cell, length in slices:
        affine = [None if t is None else t.narrow(dim, begin, length) for t in (scale, bias)]
        _affine(_part(tensor, dim, cell, length), *affine, out=out.narrow(dim, begin, length))
    return out


def _part(tensor: Tensor, dim: int, begin: int, length: int) -> Tensor:
    return tensor if length == tensor.shape[dim] else tensor.narrow(dim, begin, length)


def _affine(tensor: Tensor, scale: Tensor | None, bias: Tensor | None, out: Tensor | None = None) -> Tensor:
    if scale is None:
        return torch.add(tensor, bias, out=out)  # type: ignore[arg-type]
    return torch.mul(tensor, scale, out=out) if bias is None else torch.addcmul(bias, tensor, scale, out=out)


def fold_slices(tensor: Tensor, slices: Sequence[CellSlice], cells: int, dim: int) -> Tensor:
    """Fold an axis of a tensor from channels to epitome cells, slice by slice: add each slice onto the cells it reads.

    No gradient is recorded.

    Args:
        tensor: Tensor of any shape, with the channels along ``dim``.
        slices: Contiguous slices ``(first channel, first cell, length)`` that cover all channels.
        cells: Number of epitome cells.
        dim: Axis of ``tensor`` to fold, not negative.
    """
    full = [part for part in slices if part[2] == cells]
    parts = [part for part in slices if part[2] < cells]
    if len(full) > 1:
        first, second = (tensor.narrow(dim, begin, cells) for begin, _, _ in full[:2])
        out = first + second
    else:
        out = like_format(tensor, dim, cells)
        out.copy_(tensor.narrow(dim, full[0][0], cells)) if full else out.zero_()
    for begin, cell, length in (*full[2:], *parts):
        _part(out, dim, cell, length).add_(tensor.narrow(dim, begin, length))
    return out


class _Slices(torch.autograd.Function):
    """Expands an axis of a tensor from epitome cells to channels by slices, or folds it from channels to cells.

    The backward pass of expanding is folding, and the backward pass of folding is expanding.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, slices: tuple[CellSlice, ...], cells: int, dim: int, fold: bool) -> Tensor:  # type: ignore[override]
        ctx.slices, ctx.cells, ctx.dim, ctx.fold = slices, cells, dim, fold
        return fold_slices(tensor, slices, cells, dim) if fold else expand_slices(tensor, slices, dim)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:  # type: ignore[override]
        return _Slices.apply(grad, ctx.slices, ctx.cells, ctx.dim, not ctx.fold), None, None, None, None


def apply_slices(tensor: Tensor, slices: tuple[CellSlice, ...], cells: int, dim: int, fold: bool) -> Tensor:
    """Expand an axis of a tensor from epitome cells to channels by slices, and record gradients.

    If ``fold`` is True, fold the axis from channels to cells instead.
    """
    pieces = slice_pieces(slices, cells)
    if pieces is None:
        return _Slices.apply(tensor, slices, cells, dim, fold)  # type: ignore[no-any-return]
    return same_layout((pieces.fold if fold else pieces.expand)(tensor, dim), tensor)


class SlicePieces(NamedTuple):
    """Cuts slices where other slices begin or end, so that two pieces read the same cells or no common cell.

    Its methods are torch operations that record gradients themselves. A training step takes less time with them than with a function
    of autograd that is written in Python.

    Args:
        channels: Numbers of channels of the pieces of the channel axis.
        cells: Numbers of cells of the pieces of the epitome axis.
        reads: For each piece of the channel axis, the number of the piece of the epitome axis that it reads.
    """

    channels: list[int]
    cells: list[int]
    reads: list[int]

    def expand(self, tensor: Tensor, dim: int) -> Tensor:
        """Expand axis ``dim`` of a tensor from epitome cells to channels."""
        parts = tensor.split_with_sizes(self.cells, dim) if len(self.cells) > 1 else (tensor,)
        return torch.cat([parts[n] for n in self.reads], dim)

    def fold(self, tensor: Tensor, dim: int) -> Tensor:
        """Fold axis ``dim`` of a tensor from channels to epitome cells: add each channel onto the cell that it reads."""
        parts = tensor.split_with_sizes(self.channels, dim)
        if len(self.cells) == 1:
            return sum(parts[1:], parts[0])
        totals: list[Tensor | None] = [None] * len(self.cells)
        for n, part in zip(self.reads, parts, strict=True):
            total = totals[n]
            totals[n] = part if total is None else total + part
        shape = list(tensor.shape)
        for n, total in enumerate(totals):
            if total is None:  # no channel reads these cells
                shape[dim] = self.cells[n]
                totals[n] = tensor.new_zeros(shape)
        return torch.cat(totals, dim)  # type: ignore[arg-type]


@cache
def slice_pieces(slices: tuple[CellSlice, ...], cells: int) -> SlicePieces | None:
    """Return the pieces of an axis with ``cells`` epitome cells; None if there are more than :data:`MAX_PIECES`.

    Examples:
        >>> slice_pieces(((0, 0, 6), (6, 1, 2)), 6)
        SlicePieces(channels=[1, 2, 3, 2], cells=[1, 2, 3], reads=[0, 1, 2, 1])
    """
    ends = sorted({0, cells, *(cell for _, cell, _ in slices), *(cell + length for _, cell, length in slices)})
    spans = list(pairwise(ends))
    reads = [n for _, cell, length in slices for n, (b, e) in enumerate(spans) if cell <= b and e <= cell + length]
    sizes = [e - b for b, e in spans]
    return SlicePieces([sizes[n] for n in reads], sizes, reads) if len(reads) <= MAX_PIECES else None


def trace_expand(tensor: Tensor, slices: Sequence[CellSlice], dim: int) -> Tensor:
    """Expand an axis of a tensor from epitome cells to channels, slice by slice, while torch traces the code.

    The function uses only operations that torch can compile, export and transform (``vmap``).
    """
    return torch.cat([tensor.narrow(dim, cell, length) for _, cell, length in slices], dim)


def trace_fold(tensor: Tensor, slices: Sequence[CellSlice], cells: int, dim: int) -> Tensor:
    """Fold an axis of a tensor from channels to epitome cells, slice by slice, while torch traces the code.

    The function uses only operations that torch can compile, export and transform (``vmap``).
    """
    total = None
    for begin, cell, length in slices:
        part = tensor.narrow(dim, begin, length)
        if length < cells:
            part = F.pad(part, [0, 0] * (tensor.ndim - 1 - dim) + [cell, cells - cell - length])
        total = part if total is None else total + part
    assert total is not None  # an axis has at least one slice
    return total
