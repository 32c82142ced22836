"""Multiply a sparse sampling matrix with one axis of a tensor. These products are called row operations.

A sampling matrix has one row per channel of a weight and one column per epitome cell. It is stored as compressed sparse rows
(CSR). The values of its entries are called shares: a share is the factor by which a channel multiplies a cell. There are three
products:

- expand: the matrix times a tensor of cells gives a tensor of channels
- fold: the transposed matrix times a tensor of channels gives a tensor of cells
- dots: for each entry of the matrix, the dot product of a channel's row in one tensor and a cell's row in another; these products
  are the gradient of the shares

The gradient of each product is computed by the same three products.

On CPU, torch's embedding bags compute the products. On CUDA, Triton kernels compute them (:mod:`.triton_rows`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from math import prod
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from nes_lab.epitome.constants import arange_column, constant
from nes_lab.epitome.slices import like_format, same_layout
from nes_lab.epitome.taps import AxisTaps
from nes_lab.epitome.transforms import transforming

__all__ = ["combine", "combine_rows", "kernels_for", "row_dots", "rows_supported", "tracing", "weight_in_one_pass"]

_BothTaps = Sequence[AxisTaps | None]
_ByAxis = Callable[[Tensor, _BothTaps], Tensor]

_MIN_ROW_LENGTH = 8
"""With at least this many elements per row, a row operation on CPU is faster than plain indexing."""


@cache
def _triton() -> ModuleType | None:
    if find_spec("triton") is None:
        return None
    from nes_lab.epitome import triton_rows

    return triton_rows


def kernels_for(tensor: Tensor) -> ModuleType | None:
    """Return the module that launches Triton kernels for a CUDA tensor.

    Return None if the tensor is not on CUDA, or if triton is not installed.
    """
    return _triton() if tensor.device.type == "cuda" else None


def tracing() -> bool:
    """Return True while torch traces, exports or transforms the code, for example by ``torch.func.vmap``.

    Only plain torch operations may be used then.
    """
    return (
        transforming()
        or torch.jit.is_tracing()
        or torch.autograd.forward_ad._current_level >= 0
        or torch.compiler.is_exporting()
    )


def rows_supported(tensor: Tensor, dim: int) -> bool:
    """Return True if :func:`combine` is the right way to multiply a sampling matrix with axis ``dim`` of a tensor.

    A sampling matrix turns the cells of an epitome axis into the channels of a weight. If the result is False, use
    plain indexing: :func:`combine` does not support the tensor, or is slower for it.
    """
    if tracing() or not tensor.is_floating_point():
        return False
    if kernels_for(tensor) is not None:
        return True
    inner = prod(tensor.shape[dim + 1 :])
    return tensor.device.type == "cpu" and inner >= _MIN_ROW_LENGTH


def combine_rows(
    tensor: Tensor, dim: int, index: Tensor, offsets: Tensor, share: Tensor | None, uniform: bool = False
) -> Tensor:
    """Multiply a sparse matrix, stored as compressed sparse rows (CSR), with a tensor along one axis.

    No gradient is recorded.

    Args:
        tensor: Floating-point tensor of any shape.
        dim: Axis of ``tensor``, not negative.
        index: Column of each entry of the matrix, int64, shape ``(entries,)``.
        offsets: Index of each matrix row's first entry, then the number of all entries; int64, shape ``(rows + 1,)``.
        share: Value of each entry of the matrix; None: all values are 1.
        uniform: True if all matrix rows have the same number of entries.

    Returns:
        A tensor with ``rows`` entries along ``dim``, in the dtype and channels-last layout of ``tensor``.
    """
    if torch.compiler.is_compiling():
        return torch.ops.nes_lab.combine_rows(tensor, dim, index, offsets, share, uniform, None)
    return _combine_rows(tensor, dim, index, offsets, share, uniform)


def row_dots(a: Tensor, b: Tensor, dim: int, left: Tensor, right: Tensor) -> Tensor:
    """Compute dot products of rows of two tensors: row ``left[k]`` of ``a`` with row ``right[k]`` of ``b``, for each ``k``.

    Rows are indexed along ``dim``, and each product sums over all other axes. The products are float64 if ``a`` is float64,
    otherwise float32. No gradient is recorded.
    """
    if torch.compiler.is_compiling():
        return torch.ops.nes_lab.row_dots(a, b, dim, left, right, 1)
    return _row_dots(a, b, dim, left, right)


def _combine_rows(
    tensor: Tensor, dim: int, index: Tensor, offsets: Tensor, share: Tensor | None, uniform: bool
) -> Tensor:
    kernels = kernels_for(tensor)
    if kernels is not None:
        rows = offsets.shape[0] - 1
        per_row = index.shape[0] // rows if uniform else None
        return kernels.combine_rows(tensor, dim, index, offsets, share, per_row)
    outer, columns, rows = prod(tensor.shape[:dim]), tensor.shape[dim], offsets.shape[0] - 1
    shape = (*tensor.shape[:dim], rows, *tensor.shape[dim + 1 :])
    if tensor.numel() == 0:
        return tensor.new_zeros(shape)
    entries, offsets = index.shape[0], offsets[:-1]
    if outer > 1:
        index = (index + constant(index, arange_column, outer, columns)).view(-1)
        offsets = (offsets + constant(index, arange_column, outer, entries)).view(-1)
        share = None if share is None else share.repeat(outer)
    table = tensor.contiguous().view(outer * columns, -1)
    share = None if share is None else share.to(table.dtype)
    bags = torch._embedding_bag_forward_only(table, index, offsets, False, 0, False, share)[0]
    return same_layout(bags.view(shape), tensor)


def _row_dots(a: Tensor, b: Tensor, dim: int, left: Tensor, right: Tensor) -> Tensor:
    kernels = kernels_for(a)
    if kernels is not None:
        return kernels.row_dots(a, b, dim, left, right)
    wide = torch.float64 if a.dtype == torch.float64 else torch.float32
    if a.numel() == 0 or b.numel() == 0:
        return a.new_zeros(left.shape, dtype=wide)
    outer = prod(a.shape[:dim])
    rows = [t.to(wide).contiguous().view(outer * t.shape[dim], -1) for t in (a, b)]
    bag, index = left, right
    if outer > 1:
        bag = (left + constant(left, arange_column, outer, a.shape[dim])).view(-1)
        index = (right + constant(left, arange_column, outer, b.shape[dim])).view(-1)
    dots = torch.ops.aten._embedding_bag_per_sample_weights_backward(rows[0], rows[1], index, bag, bag, 0)
    return dots if outer == 1 else dots.view(outer, -1).sum(0)


@torch.library.custom_op("nes_lab::combine_rows", mutates_args=())
def _combine_op(
    tensor: Tensor,
    dim: int,
    index: Tensor,
    offsets: Tensor,
    share: Tensor | None,
    uniform: bool,
    order: Tensor | None,
) -> Tensor:
    share = share if share is None or order is None else share[order]
    return _combine_rows(tensor, dim, index, offsets, share, uniform)


@_combine_op.register_fake
def _(
    tensor: Tensor,
    dim: int,
    index: Tensor,
    offsets: Tensor,
    share: Tensor | None,
    uniform: bool,
    order: Tensor | None,
) -> Tensor:
    return like_format(tensor, dim, offsets.shape[0] - 1)


@torch.library.custom_op("nes_lab::row_dots", mutates_args=())
def _dots_op(a: Tensor, b: Tensor, dim: int, left: Tensor | None, right: Tensor, per_row: int) -> Tensor:
    if left is None:
        # not kept: if a CUDA graph records this operator, the memory of its tensors belongs to the graph
        left = _channels(right.shape[0], per_row, right.device)
    return _row_dots(a, b, dim, left, right)


@_dots_op.register_fake
def _(a: Tensor, b: Tensor, dim: int, left: Tensor | None, right: Tensor, per_row: int) -> Tensor:
    return a.new_empty(right.shape, dtype=torch.float64 if a.dtype == torch.float64 else torch.float32)


class _Combine(torch.autograd.Function):
    """Multiplies a tensor with a sampling matrix or with the transposed matrix. Both get gradients.

    The sampling matrix turns epitome cells into channels.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, tensor: Tensor, share: Tensor | None, dim: int, fold: bool, per_row: int, *table: Tensor
    ) -> Tensor:
        cell, offsets, order, channel, cell_offsets = table
        ctx.dim, ctx.fold, ctx.per_row = dim, fold, per_row
        kept = tensor if share is not None and ctx.needs_input_grad[1] else None
        ctx.save_for_backward(kept, share, *table)
        if fold:
            if torch.compiler.is_compiling():  # one operation less to compile
                return torch.ops.nes_lab.combine_rows(tensor, dim, channel, cell_offsets, share, False, order)
            return combine_rows(tensor, dim, channel, cell_offsets, None if share is None else share[order])
        return combine_rows(tensor, dim, cell, offsets, share, uniform=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        tensor, share, *table = ctx.saved_tensors
        of_tensor = of_share = None
        if ctx.needs_input_grad[0]:
            of_tensor = _Combine.apply(grad, share, ctx.dim, not ctx.fold, ctx.per_row, *table)
        if tensor is not None:
            a, b = (tensor, grad) if ctx.fold else (grad, tensor)
            of_share = _Dots.apply(a, b, ctx.dim, ctx.per_row, *table).to(share.dtype)
        return of_tensor, of_share, None, None, None, *[None] * len(table)


def _channels(entries: int, per_row: int, device: torch.device) -> Tensor:
    return torch.arange(entries, device=device) // per_row


class _Dots(torch.autograd.Function):
    """Computes the gradient of a matrix product with respect to the entries of the sampling matrix.

    A sampling matrix turns epitome cells into channels. The gradient of each entry is a dot product of two tensor rows.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, dim: int, per_row: int, *table: Tensor) -> Tensor:  # type: ignore[override]
        ctx.dim, ctx.per_row = dim, per_row
        ctx.save_for_backward(a, b, *table)
        if torch.compiler.is_compiling():  # the operator makes the channels itself
            return torch.ops.nes_lab.row_dots(a, b, dim, None, table[0], per_row)
        channel = constant(table[0], _channels, table[0].shape[0], per_row)
        return row_dots(a, b, dim, channel, table[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        a, b, *table = ctx.saved_tensors
        of_a = _Combine.apply(b, grad, ctx.dim, False, ctx.per_row, *table)
        of_b = _Combine.apply(a, grad, ctx.dim, True, ctx.per_row, *table)
        return of_a, of_b, None, None, *[None] * len(table)


def combine(tensor: Tensor, taps: AxisTaps, dim: int, fold: bool) -> Tensor:
    """Multiply an axis of a tensor with a sampling matrix (expand) or with the transposed matrix (fold).

    The result can be differentiated twice.

    Args:
        tensor: Tensor for which :func:`rows_supported` returns True.
        taps: Taps of a channel axis: the epitome cells that each channel reads, and their factors. The layer's scope
            must be separable (one start per axis). The factors are the entries of the matrix.
        dim: Axis of ``tensor`` to expand or fold, not negative.
        fold: False: multiply with the matrix (epitome cells to channels). True: with the transpose (channels to epitome cells).
    """
    rows, share = taps.rows(), taps.shares()
    if not torch.is_grad_enabled() and not torch.compiler.is_compiling():
        if fold:
            return combine_rows(tensor, dim, rows.channel, rows.cell_offsets, taps.shares_by_cell)
        return combine_rows(tensor, dim, rows.cell, rows.offsets, share, uniform=True)
    table = (rows.cell, rows.offsets, rows.order, rows.channel, rows.cell_offsets)
    return _Combine.apply(tensor, share, dim, fold, rows.per_row, *table)  # type: ignore[no-any-return]


class _Weight(torch.autograd.Function):
    """Samples a weight from its epitome along both channel axes at once, and computes the gradients."""

    @staticmethod
    def forward(ctx: Any, epitome: Tensor, taps: _BothTaps, by_axis: _ByAxis, *frac: Tensor) -> Tensor:  # type: ignore[override]
        ctx.taps, ctx.by_axis = taps, by_axis
        ctx.save_for_backward(epitome, *frac)
        kernels = kernels_for(epitome)
        assert kernels is not None  # the caller has checked
        return kernels.expand_weight(epitome, *[None if t is None else (t.lower, t.upper, t.frac) for t in taps])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        inputs, twice = ctx.saved_tensors, torch.is_grad_enabled()
        needed_inputs = [i for i, needed in enumerate((ctx.needs_input_grad[0], *ctx.needs_input_grad[3:])) if needed]
        with torch.enable_grad():
            frac = iter(inputs[1:])
            taps = [t if t is None or t.frac is None else replace(t, frac=next(frac)) for t in ctx.taps]
            weight = ctx.by_axis(inputs[0], taps)
            gradients = torch.autograd.grad(weight, [inputs[i] for i in needed_inputs], grad, create_graph=twice)
        grads: list[Tensor | None] = [None] * len(inputs)
        for i, gradient in zip(needed_inputs, gradients, strict=True):
            grads[i] = gradient
        return grads[0], None, None, *grads[1:]


def weight_in_one_pass(epitome: Tensor, taps: _BothTaps, by_axis: _ByAxis) -> Tensor:
    """Sample a weight from its epitome along both channel axes, with one Triton kernel.

    The backward pass computes the gradients with the function ``by_axis``.

    Args:
        epitome: Epitome of shape ``(E_out, E_in, *E_k)``, on CUDA.
        taps: Taps (the epitome cells to read) of the output axis and of the input axis. None for an axis without starts; index
            ``i`` of such an axis reads cell ``i``.
        by_axis: Function that samples the same axes by differentiable torch operations.
    """
    frac = [t.frac for t in taps if t is not None and t.frac is not None]
    return _Weight.apply(epitome, taps, by_axis, *frac)  # type: ignore[no-any-return]
