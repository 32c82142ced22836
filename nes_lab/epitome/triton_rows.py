"""Run row operations (products of a sparse matrix with one axis of a tensor) on CUDA, by Triton kernels.

Tensors may have any memory layout. No gradients are recorded. The kernels are in :mod:`nes_lab.epitome.triton_kernels`. This
module imports triton, so it is imported only when there is a CUDA tensor.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nes_lab.epitome.slices import channels_inside, like_format
from nes_lab.epitome.triton_kernels import (
    POSITIONS,
    ROWS,
    WIDE_POSITIONS,
    combine_kernel,
    dots_kernel,
    weight_kernel,
)
from nes_lab.errors import GeometryError

__all__ = ["combine_rows", "expand_weight", "row_dots"]

AxisRows = tuple[Tensor, Tensor | None, Tensor | None] | None

TILE = 2048  # elements of a program's tile: 16 per thread, enough loads in flight to hide a cache miss
ROW_LANES = 128  # tile length along rows where rows are innermost in memory
POSITION_LANES = 256  # tile length along positions where positions are innermost: 16-byte accesses for 2-byte floats
UNROLL = 4  # entries whose loads are issued together, in rows of different lengths
UNROLL_UP_TO = 8  # rows of equal length with at most this many entries are unrolled completely
PROGRAMS = 2048  # enough for any GPU of today; a constant, so that sums are split in the same way on every device
WIDE_FROM = (
    2**30
)  # from this many positions on, indices have 64 bits; half of 2**31, because the last tiles reach beyond the end


class _Rows(NamedTuple):
    """Holds a tensor viewed as three axes ``(outer, rows, inner)``, and the stride of each axis.

    ``outer`` is made of the axes before the rows, ``inner`` of the axes after the rows.
    """

    data: Tensor
    outer: int
    inner: int
    strides: tuple[int, int, int]

    @property
    def positions(self) -> int:
        return self.outer * self.inner

    @property
    def layout(self) -> int:
        """Memory layout for this tensor: a constant that says along which axis neighboring GPU threads work."""
        if self.inner == 1:
            return ROWS
        return WIDE_POSITIONS if self.strides[2] == 1 and self.inner % 16 == 0 else POSITIONS


def _order(x: Tensor) -> tuple[int, ...]:
    """Return the axes of ``x`` in the order of its memory format: the axis with the largest stride first."""
    return (0, 2, 3, 1) if channels_inside(x) else tuple(range(x.ndim))


def _merged(x: Tensor, axes: range) -> tuple[int, int] | None:
    """Return size and stride of several neighboring axes viewed as one axis; None if the strides do not allow this."""
    size, stride = 1, 0
    for axis in reversed(axes):
        n, step = x.shape[axis], x.stride(axis)
        if n == 1:
            continue
        if size > 1 and step != size * stride:
            return None
        size, stride = size * n, stride if size > 1 else step
    return size, stride


def _as_rows(x: Tensor, dim: int, order: Sequence[int]) -> _Rows:
    """Put the axes of a tensor in the given order, then view it as three axes: before ``dim``, ``dim`` itself, and after ``dim``.

    The tensor is copied if its strides do not allow this view.
    """
    view, at = x.permute(*order), order.index(dim)
    outer, inner = _merged(view, range(at)), _merged(view, range(at + 1, view.ndim))
    if outer is None or inner is None:
        return _as_rows(view.contiguous(), at, range(view.ndim))
    return _Rows(view, outer[0], inner[0], (outer[1], view.stride(at), inner[1]))


def _tile(rows: int, positions: int, layout: int) -> dict[str, int]:
    """Choose how many rows and positions a tile has, and return them with the memory layout.

    A tile is the block of the output that one call of a Triton kernel computes. Positions are indices along the axes
    other than the rows.
    """
    rows, positions = triton.next_power_of_2(rows), triton.next_power_of_2(positions)
    if layout == ROWS:
        rows = min(rows, ROW_LANES, TILE)
        positions = min(positions, TILE // rows)
    else:
        positions = min(positions, POSITION_LANES, TILE)
        rows = min(rows, TILE // positions)
    return {"LAYOUT": layout, "BLOCK_R": rows, "BLOCK_P": positions}


def _blocks(rows: int, positions: int, tile: dict[str, int]) -> tuple[int, int]:
    return triton.cdiv(rows, tile["BLOCK_R"]), triton.cdiv(positions, tile["BLOCK_P"])


def _launch(kernel: Any, programs: int, data: Tensor, *args: Any, **constants: Any) -> None:
    """Launch a Triton kernel on the device of its tensor, even if another device is the current one."""
    # fused multiply-adds are requested explicitly, because the default differs between releases of triton
    with torch.cuda.device_of(data):
        kernel[(programs,)](data, *args, **constants, enable_fp_fusion=True)


def _accumulator(x: Tensor) -> tl.dtype:
    return tl.float64 if x.dtype == torch.float64 else tl.float32


def combine_rows(
    x: Tensor,
    dim: int,
    index: Tensor,
    offsets: Tensor,
    share: Tensor | None = None,
    per_row: int | None = None,
) -> Tensor:
    """Multiply a sparse matrix, stored as compressed sparse rows (CSR), with a CUDA tensor along one axis.

    ``out[r]`` is the sum of ``share[k] * x[index[k]]`` over the entries ``k`` of matrix row ``r``.

    Args:
        x: Tensor of any floating-point dtype and strides.
        dim: Axis of ``x`` that the matrix is multiplied with.
        index: Column of each of the ``nnz`` entries, shape ``(nnz,)``, integers in ``[0, x.shape[dim])``. They are not checked.
        offsets: Index of each row's first entry, then the number of all entries; shape ``(rows + 1,)``.
        share: Value of each entry, shape ``(nnz,)``, any floating-point dtype; None: all values are 1.
        per_row: Number of entries per row; None: the rows have different numbers of entries, which is slower.

    Returns:
        A tensor with one entry along ``dim`` per matrix row, in the dtype and memory format of ``x``. A row without entries
        gives zero.

    Raises:
        GeometryError: If ``per_row`` does not agree with the lengths of ``index`` and ``offsets``.
    """
    dim, rows = dim % x.ndim, offsets.numel() - 1
    if per_row is not None and index.numel() != rows * per_row:
        raise GeometryError(
            f"per_row={per_row} for {rows} rows and {index.numel()} entries; give None if rows differ in length"
        )
    out = like_format(x, dim, rows)
    if out.numel() == 0:
        return out
    view = _as_rows(x, dim, _order(x))
    tile = _tile(rows, view.positions, view.layout)
    counts = {"PER_ROW": -1, "UNROLL": UNROLL}
    if per_row is not None and per_row <= UNROLL_UP_TO:
        counts = {"PER_ROW": per_row, "UNROLL": max(per_row, 1)}
    _launch(
        combine_kernel, prod(_blocks(rows, view.positions, tile)), view.data, out,
        index.contiguous(), offsets.contiguous(), index if share is None else share.contiguous(),
        rows, view.positions, view.inner, *view.strides, rows * view.inner,
        **counts, SHARED=share is not None, WIDE=view.positions >= WIDE_FROM, ACC=_accumulator(x), **tile,
    )  # fmt: skip
    return out


def row_dots(a: Tensor, b: Tensor, dim: int, left: Tensor, right: Tensor) -> Tensor:
    """Compute dot products of rows of two CUDA tensors: row ``left[k]`` of ``a`` with row ``right[k]`` of ``b``, for each ``k``.

    Rows are indexed along ``dim``, and each product sums over all other axes.

    Args:
        a: Tensor of any floating-point dtype and strides.
        b: Tensor with the shape of ``a`` except along ``dim``.
        dim: Axis that the rows are indexed along.
        left: Row of ``a`` in each of the ``nnz`` products, integers of shape ``(nnz,)``. They are not checked.
        right: Row of ``b`` in each product, integers of shape ``(nnz,)``; not checked either.

    Returns:
        The products, shape ``(nnz,)``: float64 if ``a`` is float64, otherwise float32. The same inputs always give the same bits.

    Raises:
        GeometryError: If the shapes of ``a`` and ``b`` differ along an axis other than ``dim``.
    """
    dim, entries = dim % a.ndim, left.numel()
    if a.ndim != b.ndim or any(a.shape[d] != b.shape[d] for d in range(a.ndim) if d != dim):
        raise GeometryError(
            f"a of shape {tuple(a.shape)} and b of shape {tuple(b.shape)}; they may differ along dim={dim} only"
        )
    dtype = torch.float64 if a.dtype == torch.float64 else torch.float32
    view_a, view_b = _as_rows(a, dim, _order(a)), _as_rows(b, dim, _order(a))
    positions = view_a.positions
    if entries == 0 or positions == 0:
        return a.new_zeros(entries, dtype=dtype)
    tile = _tile(entries, positions, view_a.layout)
    blocks, steps = _blocks(entries, positions, tile)
    chunk = triton.cdiv(steps, max(PROGRAMS // blocks, 1)) * tile["BLOCK_P"]
    parts = a.new_empty((triton.cdiv(positions, chunk), entries), dtype=dtype)
    _launch(
        dots_kernel, blocks * len(parts), view_a.data, view_b.data, parts, left.contiguous(), right.contiguous(),
        entries, positions, view_a.inner, chunk, *view_a.strides, *view_b.strides,
        WIDE=positions >= WIDE_FROM, ACC=_accumulator(a), **tile,
    )  # fmt: skip
    return parts.sum(0)


def expand_weight(epitome: Tensor, out_rows: AxisRows, in_rows: AxisRows) -> Tensor:
    """Sample a weight from an epitome along both channel axes, with one kernel on CUDA.

    Args:
        epitome: Epitome of shape ``(E_out, E_in, *K)`` (output channels, input channels, kernel), any floating-point dtype. A
            channels_last memory format is kept.
        out_rows: Tensors ``(lower, upper, frac)`` of shape ``(C_out,)``: the lower cell, the upper cell and the factor of the
            upper cell for each output channel. ``upper`` and ``frac`` are None if all starts are integers. The tuple itself is
            None if the axis has no starts; index ``i`` then reads cell ``i``. The cells are not checked.
        in_rows: The same for the input axis: tensors ``(lower, upper, frac)`` of shape ``(C_in,)``, or None.

    Returns:
        The weight, shape ``(C_out, C_in, *K)``, in the dtype of ``epitome``. With integer starts its values are exact copies. A
        blend of two equal cells gives exactly their value.
    """
    order, in_last = _order(epitome), channels_inside(epitome)
    kept = torch.channels_last if in_last else torch.contiguous_format
    if _merged(epitome, range(2, epitome.ndim)) is None:
        epitome = epitome.contiguous(memory_format=kept)
    taps, e_tap = _merged(epitome, range(2, epitome.ndim)) or (1, 0)
    c_out = epitome.shape[0] if out_rows is None else out_rows[0].numel()
    c_in = epitome.shape[1] if in_rows is None else in_rows[0].numel()
    shape = (c_out, c_in, *epitome.shape[2:])
    weight = torch.empty(shape, dtype=epitome.dtype, device=epitome.device, memory_format=kept)
    if weight.numel() == 0:
        return weight
    e_out, e_in, layout, width = epitome.stride(0), epitome.stride(1), POSITIONS, c_in * taps
    row = _merged(epitome.permute(order), range(1, epitome.ndim))
    if in_rows is None and row is not None:  # a row of the weight is a row of the epitome
        c_in, taps, e_in, layout = width, 1, row[1], WIDE_POSITIONS if row[1] == 1 else POSITIONS
    tile, blends = _tile(c_out, width, layout), 2 in (_reads(out_rows), _reads(in_rows))
    _launch(
        weight_kernel, prod(_blocks(c_out, width, tile)), epitome, weight, *_axis(out_rows, epitome), *_axis(in_rows, epitome),
        c_out, c_in, taps, e_out, e_in, e_tap, OUT=_reads(out_rows), IN=_reads(in_rows), IN_LAST=in_last and taps > 1,
        ACC=_accumulator(epitome) if blends else getattr(tl, str(epitome.dtype).removeprefix("torch.")), **tile,
    )  # fmt: skip
    return weight


def _reads(rows: AxisRows) -> int:
    """Return how many epitome cells each index of a weight axis reads: 1 or 2.

    The result 0 means that the axis has no starts. Index ``i`` then reads cell ``i``.
    """
    return 0 if rows is None else 1 if rows[2] is None else 2


def _axis(rows: AxisRows, unused: Tensor) -> list[Tensor]:
    """Return the three tensors that a Triton kernel takes for one weight axis.

    They are the lower epitome cells, the upper cells and the factors of the upper cells in the blend. The tensor ``unused`` stands
    in for a tensor that the axis does not have.
    """
    return [unused if part is None else part.contiguous() for part in rows or (None, None, None)]
