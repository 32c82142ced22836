"""Read and fold an axis in a few contiguous slices, without an index tensor.

Outside compilation each slice is written into place. A compiler sees concatenations and padded sums instead, which it can fuse.

Tests: tests/epitome/test_sampling.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = [
    "MAX_SLICES",
    "CellSlice",
    "apply_slices",
    "axis_slices",
    "channels_inside",
    "expand_slices",
    "fold_slices",
    "like_format",
    "same_layout",
    "trace_expand",
    "trace_fold",
]


CellSlice = tuple[int, int, int]
"""A contiguous read of a channel axis: first weight index, first cell, length."""

MAX_SLICES = 8
"""With more contiguous reads than this, one operation with an index is faster than one operation per slice."""


def axis_slices(starts: np.ndarray, geometry: EpitomeGeometry, axis: int) -> tuple[CellSlice, ...] | None:
    """Return the contiguous reads of a separable channel axis with integer starts; adjacent reads are joined.

    Args:
        starts: Integers of shape ``geometry.starts_shape(axis)``, in cells.
        geometry: Shapes, scope and boundary.
        axis: Weight axis.

    Returns:
        At most :data:`MAX_SLICES` slices in the order of the axis; None where there are more, for kernel axes and for joint scope.

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
    """Return True for a 4-D tensor whose channels are innermost in memory (channels_last)."""
    return tensor.ndim == 4 and tensor.stride(1) < tensor.stride(3)


def same_layout(result: Tensor, tensor: Tensor) -> Tensor:
    """Return the result in channels_last format if ``tensor`` has that format."""
    return result.contiguous(memory_format=torch.channels_last) if channels_inside(tensor) else result


def like_format(tensor: Tensor, dim: int, length: int) -> Tensor:
    """Make an empty tensor in the memory format of ``tensor``, with ``length`` entries along ``dim``."""
    shape = list(tensor.shape)
    shape[dim] = length
    fmt = torch.channels_last if channels_inside(tensor) else torch.contiguous_format
    return torch.empty(shape, dtype=tensor.dtype, device=tensor.device, memory_format=fmt)


def expand_slices(
    tensor: Tensor, slices: Sequence[CellSlice], dim: int, scale: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """Expand ``tensor`` along ``dim`` by the given slices, then scale and add the bias. Records no gradient.

    Args:
        tensor: Tensor of any shape, with the epitome's cells along ``dim``.
        slices: Contiguous reads that cover the axis of the result.
        dim: Axis, not negative.
        scale: One factor per entry of the result's axis, shaped to broadcast along ``dim``; None: no factor.
        bias: One number per entry, shaped like ``scale``; None: nothing is added.
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
    """Fold ``tensor`` along ``dim``: add each slice onto its cells. Records no gradient."""
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
    """Expands or folds along slices; each is the adjoint of the other."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, slices: tuple[CellSlice, ...], cells: int, dim: int, fold: bool) -> Tensor:  # type: ignore[override]
        ctx.slices, ctx.cells, ctx.dim, ctx.fold = slices, cells, dim, fold
        return fold_slices(tensor, slices, cells, dim) if fold else expand_slices(tensor, slices, dim)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:  # type: ignore[override]
        return _Slices.apply(grad, ctx.slices, ctx.cells, ctx.dim, not ctx.fold), None, None, None, None


def apply_slices(tensor: Tensor, slices: tuple[CellSlice, ...], cells: int, dim: int, fold: bool) -> Tensor:
    """Expand or fold ``tensor`` along ``dim``, differentiably."""
    return _Slices.apply(tensor, slices, cells, dim, fold)  # type: ignore[no-any-return]


def trace_expand(tensor: Tensor, slices: Sequence[CellSlice], dim: int) -> Tensor:
    """Expand by operations that every tracer supports."""
    return torch.cat([tensor.narrow(dim, cell, length) for _, cell, length in slices], dim)


def trace_fold(tensor: Tensor, slices: Sequence[CellSlice], cells: int, dim: int) -> Tensor:
    """Fold by operations that every tracer supports."""
    total = None
    for begin, cell, length in slices:
        part = tensor.narrow(dim, begin, length)
        if length < cells:
            part = F.pad(part, [0, 0] * (tensor.ndim - 1 - dim) + [cell, cells - cell - length])
        total = part if total is None else total + part
    assert total is not None  # an axis has at least one slice
    return total
