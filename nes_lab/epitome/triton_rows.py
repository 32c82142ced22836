"""Triton kernels for the row operations on CUDA: rows combined, rows multiplied with each other, a weight in one pass.

No autograd here. All are bound by memory, so each reads its inputs and writes its output once, neighbouring threads touch
neighbouring addresses, and programs that read the same rows follow each other, so that re-reads meet a cache. Sums run in
float32 (float64 for float64) in a fixed order: the same call gives the same bits.

Importing this module imports triton; :mod:`nes_lab.epitome.rows` does so only for a CUDA tensor.
"""
# ruff: noqa: ANN001, ANN202 -- a kernel's arguments are what the compiler makes of each launch

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nes_lab.epitome.runs import like_format
from nes_lab.errors import GeometryError

__all__ = ["combine_rows", "expand_weight", "row_dots"]

AxisRows = tuple[Tensor, Tensor | None, Tensor | None] | None

TILE = 2048  # elements of a program's tile: 16 a thread, enough loads in flight to hide a miss
ROW_LANES = 128  # tile's length along rows where these are innermost in memory
POSITION_LANES = 256  # tile's length along positions where those are: 16-byte accesses by a warp, in 2-byte floats
UNROLL = 4  # entries of a ragged row whose loads are issued together
UNROLL_UP_TO = 8  # rows of at most so many entries each, all alike, are unrolled whole
PROGRAMS = 2048  # enough to fill any GPU of today evenly; a constant, so that sums are split alike on every device
WIDE_FROM = 2**30  # positions from which 64 bits number them: the last tiles reach beyond the last position

# Which axis of a tile neighbouring threads walk along, and how. What a compiler picks for a tile of gathered addresses differs
# between versions of triton, so such a tile is flattened: then threads walk along its last axis, whatever the version. Its
# stores are declared not contiguous: else each thread takes 16 bytes of them, and its gathers lie 16 bytes apart in a warp.
WIDE_POSITIONS, POSITIONS, ROWS = 0, 1, 2  # positions by 16-byte accesses; positions one by one; rows one by one


@triton.jit
def _by_row(v, LAYOUT: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_P: tl.constexpr):
    """One value per row of a tile, for each of its elements."""
    if LAYOUT == 2:
        v = tl.broadcast_to(tl.expand_dims(v, 0), [BLOCK_P, BLOCK_R])
    else:
        v = tl.broadcast_to(tl.expand_dims(v, 1), [BLOCK_R, BLOCK_P])
    return v if LAYOUT == 0 else tl.reshape(v, [BLOCK_R * BLOCK_P])


@triton.jit
def _by_position(v, LAYOUT: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_P: tl.constexpr):
    """One value per position of a tile, for each of its elements."""
    if LAYOUT == 2:
        v = tl.broadcast_to(tl.expand_dims(v, 1), [BLOCK_P, BLOCK_R])
    else:
        v = tl.broadcast_to(tl.expand_dims(v, 0), [BLOCK_R, BLOCK_P])
    return v if LAYOUT == 0 else tl.reshape(v, [BLOCK_R * BLOCK_P])


@triton.jit
def _position_offsets(p, inner, outer_stride, inner_stride):
    return (p // inner).to(tl.int64) * outer_stride + (p % inner).to(tl.int64) * inner_stride


# fmt: off
@triton.jit
def _combine(
    x, out, index, offsets, share, rows, positions, inner, x_outer, x_row, x_inner, out_outer,
    PER_ROW: tl.constexpr, UNROLL: tl.constexpr, SHARED: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr,
    LAYOUT: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_P: tl.constexpr,
):
    """``out[r] = sum over a row's entries of share * x[index]``, a tile of rows x positions a program."""
    # fmt: on
    row_blocks = (rows + BLOCK_R - 1) // BLOCK_R
    block = tl.program_id(0) // row_blocks
    if WIDE:
        block = block.to(tl.int64)
    r = tl.program_id(0) % row_blocks * BLOCK_R + tl.arange(0, BLOCK_R)
    p = block * BLOCK_P + tl.arange(0, BLOCK_P)
    inside = _by_position(p < positions, LAYOUT, BLOCK_R, BLOCK_P)
    source = x + _by_position(_position_offsets(p, inner, x_outer, x_inner), LAYOUT, BLOCK_R, BLOCK_P)
    if PER_ROW < 0:
        begin = tl.load(offsets + r, mask=r < rows, other=0).to(tl.int64)
        end = tl.load(offsets + r + 1, mask=r < rows, other=0).to(tl.int64)
        entries = tl.max(end - begin, axis=0).to(tl.int32)
    else:
        begin = r.to(tl.int64) * PER_ROW
        end = tl.where(r < rows, begin + PER_ROW, begin)
        entries = PER_ROW
    acc = _by_row(tl.full([BLOCK_R], 0, ACC), LAYOUT, BLOCK_R, BLOCK_P)
    for first in range(0, entries, UNROLL):
        for step in tl.static_range(UNROLL):  # type: ignore[misc]
            k = begin + first + step
            used = k < end
            cell = tl.load(index + k, mask=used, other=0).to(tl.int64)
            mask = inside & _by_row(used, LAYOUT, BLOCK_R, BLOCK_P)
            value = tl.load(source + _by_row(cell * x_row, LAYOUT, BLOCK_R, BLOCK_P), mask=mask, other=0).to(ACC)
            if SHARED:
                part = tl.load(share + k, mask=used, other=0).to(ACC)
                value = value * _by_row(part, LAYOUT, BLOCK_R, BLOCK_P)
            acc += value
    target = out + _by_position(_position_offsets(p, inner, out_outer, 1), LAYOUT, BLOCK_R, BLOCK_P)
    if LAYOUT == 2:
        r = tl.max_contiguous(r, 1)
    target += _by_row(r.to(tl.int64) * inner, LAYOUT, BLOCK_R, BLOCK_P)
    tl.store(target, acc.to(out.dtype.element_ty), mask=inside & _by_row(r < rows, LAYOUT, BLOCK_R, BLOCK_P))


# fmt: off
@triton.jit
def _dots(
    a, b, out, left, right, entries, positions, inner, chunk, a_outer, a_row, a_inner, b_outer, b_row, b_inner,
    WIDE: tl.constexpr, ACC: tl.constexpr, LAYOUT: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_P: tl.constexpr,
):
    """``out[split, k]``: the product of two rows over one of the splits of all positions."""
    # fmt: on
    blocks = (entries + BLOCK_R - 1) // BLOCK_R
    split = tl.program_id(0) // blocks
    k = tl.program_id(0) % blocks * BLOCK_R + tl.arange(0, BLOCK_R)
    row_a = tl.load(left + k, mask=k < entries, other=0).to(tl.int64) * a_row
    row_b = tl.load(right + k, mask=k < entries, other=0).to(tl.int64) * b_row
    rows_a = a + _by_row(row_a, LAYOUT, BLOCK_R, BLOCK_P)
    rows_b = b + _by_row(row_b, LAYOUT, BLOCK_R, BLOCK_P)
    used = _by_row(k < entries, LAYOUT, BLOCK_R, BLOCK_P)
    start = split * chunk
    if WIDE:
        start = split.to(tl.int64) * chunk
    acc = _by_row(tl.full([BLOCK_R], 0, ACC), LAYOUT, BLOCK_R, BLOCK_P)
    for first in range(0, chunk, BLOCK_P):
        p = start + first + tl.arange(0, BLOCK_P)
        mask = used & _by_position(p < positions, LAYOUT, BLOCK_R, BLOCK_P)
        at_a = _by_position(_position_offsets(p, inner, a_outer, a_inner), LAYOUT, BLOCK_R, BLOCK_P)
        at_b = _by_position(_position_offsets(p, inner, b_outer, b_inner), LAYOUT, BLOCK_R, BLOCK_P)
        value = tl.load(rows_a + at_a, mask=mask, other=0).to(ACC)
        acc += value * tl.load(rows_b + at_b, mask=mask, other=0).to(ACC)
    if LAYOUT == 2:
        dots = tl.sum(tl.reshape(acc, [BLOCK_P, BLOCK_R]), axis=0)
    else:
        dots = tl.sum(tl.reshape(acc, [BLOCK_R, BLOCK_P]), axis=1)
    tl.store(out + split.to(tl.int64) * entries + k, dots, mask=k < entries)


@triton.jit
def _near_far(lower, upper, share):
    """The nearer cell, the farther one and its share, at most a half: from there a blend is exact at both ends."""
    below = share < 0.5
    return tl.where(below, lower, upper), tl.where(below, upper, lower), tl.where(below, share, 1 - share)


@triton.jit
def _read(source, near, far, share, mask, FRACTIONAL: tl.constexpr, ACC: tl.constexpr):
    value = tl.load(source + near, mask=mask, other=0).to(ACC)
    if FRACTIONAL:
        value += share * (tl.load(source + far, mask=mask, other=0).to(ACC) - value)
    return value


# fmt: off
@triton.jit
def _weight(
    epitome, weight, lower_out, upper_out, share_out, lower_in, upper_in, share_in, c_out, c_in, taps, e_out, e_in, e_tap,
    OUT: tl.constexpr, IN: tl.constexpr, IN_LAST: tl.constexpr, ACC: tl.constexpr,
    LAYOUT: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_P: tl.constexpr,
):
    """A tile of output channels x (input channels and kernel); ``OUT``, ``IN``: cells read per weight, 0 for the identity."""
    # fmt: on
    width = c_in * taps
    column_blocks = (width + BLOCK_P - 1) // BLOCK_P
    o = tl.program_id(0) // column_blocks * BLOCK_R + tl.arange(0, BLOCK_R)
    q = tl.program_id(0) % column_blocks * BLOCK_P + tl.arange(0, BLOCK_P)
    mask = _by_row(o < c_out, LAYOUT, BLOCK_R, BLOCK_P) & _by_position(q < width, LAYOUT, BLOCK_R, BLOCK_P)
    if IN_LAST:
        i, tap = q % c_in, (q // c_in).to(tl.int64) * e_tap
    else:
        i, tap = q // taps, (q % taps).to(tl.int64) * e_tap
    if LAYOUT != 0:
        q = tl.max_contiguous(q, 1)
    near_in, near_out = i.to(tl.int64), o.to(tl.int64)
    if IN > 0:
        near_in = tl.load(lower_in + i, mask=q < width, other=0).to(tl.int64)
    if OUT > 0:
        near_out = tl.load(lower_out + o, mask=o < c_out, other=0).to(tl.int64)
    far_in, part_in, far_out, part_out = near_in, near_in, near_out, near_out
    if IN > 1:
        far_in = tl.load(upper_in + i, mask=q < width, other=0).to(tl.int64)
        part_in = tl.load(share_in + i, mask=q < width, other=0).to(ACC)
        near_in, far_in, part_in = _near_far(near_in, far_in, part_in)
    if OUT > 1:
        far_out = tl.load(upper_out + o, mask=o < c_out, other=0).to(tl.int64)
        part_out = tl.load(share_out + o, mask=o < c_out, other=0).to(ACC)
        near_out, far_out, part_out = _near_far(near_out, far_out, part_out)
    near_in = _by_position(near_in * e_in + tap, LAYOUT, BLOCK_R, BLOCK_P)
    far_in = _by_position(far_in * e_in + tap, LAYOUT, BLOCK_R, BLOCK_P)
    part_in = _by_position(part_in, LAYOUT, BLOCK_R, BLOCK_P)
    near_row = epitome + _by_row(near_out * e_out, LAYOUT, BLOCK_R, BLOCK_P)
    value = _read(near_row, near_in, far_in, part_in, mask, IN > 1, ACC)
    if OUT > 1:
        far_row = epitome + _by_row(far_out * e_out, LAYOUT, BLOCK_R, BLOCK_P)
        far = _read(far_row, near_in, far_in, part_in, mask, IN > 1, ACC)
        value += _by_row(part_out, LAYOUT, BLOCK_R, BLOCK_P) * (far - value)
    target = weight + _by_row(o.to(tl.int64) * width, LAYOUT, BLOCK_R, BLOCK_P)
    target += _by_position(q, LAYOUT, BLOCK_R, BLOCK_P)
    tl.store(target, value.to(weight.dtype.element_ty), mask=mask)


class _Rows(NamedTuple):
    """A tensor as ``(outer, rows, inner)``, with a stride for each."""

    data: Tensor
    outer: int
    inner: int
    strides: tuple[int, int, int]

    @property
    def positions(self) -> int:
        return self.outer * self.inner

    @property
    def layout(self) -> int:
        """How threads walk through a tile of these rows."""
        if self.inner == 1:
            return ROWS
        return WIDE_POSITIONS if self.strides[2] == 1 and self.inner % 16 == 0 else POSITIONS


def _order(x: Tensor) -> tuple[int, ...]:
    """Axes from the slowest to the fastest of what :func:`like_format` makes like ``x``."""
    plain = tuple(range(x.ndim))
    return (0, 2, 3, 1) if x.ndim == 4 and x.stride(1) < x.stride(3) else plain


def _merged(x: Tensor, axes: range) -> tuple[int, int] | None:
    """Axes as one: size and stride, or None where no single stride walks them."""
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
    """See ``x`` as rows with the axes in the given order; copied where its strides do not allow that."""
    view, at = x.permute(*order), order.index(dim)
    outer, inner = _merged(view, range(at)), _merged(view, range(at + 1, view.ndim))
    if outer is None or inner is None:
        return _as_rows(view.contiguous(), at, range(view.ndim))
    return _Rows(view, outer[0], inner[0], (outer[1], view.stride(at), inner[1]))


def _tile(rows: int, positions: int, layout: int) -> dict[str, int]:
    """Tile lengths along rows and positions: long on the axis that threads walk along, no longer than needed."""
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
    """Run a kernel on the device that holds the data, be it the current one or not."""
    with torch.cuda.device_of(data):  # fused multiply-adds by name: releases of triton differ in what they take for granted
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
    """Multiply a sparse matrix in CSR form with ``x`` along an axis: ``out[r] = sum of share[k] * x[index[k]]`` over row r.

    Args:
        x: Any floating dtype and strides; read in place if contiguous, channels_last or otherwise regular around ``dim``.
        dim: Axis of ``x`` that the entries of ``index`` count along.
        index: ``(nnz,)``, whole numbers in ``[0, x.shape[dim])``; not checked, since that would wait for the device.
        offsets: ``(rows + 1,)``; row r has the entries ``offsets[r]`` up to, not including, ``offsets[r + 1]``.
        share: ``(nnz,)``, any floating dtype; None for ones.
        per_row: Number of entries where all rows have the same; saves reading ``offsets``, and loops.

    Returns:
        ``offsets.numel() - 1`` rows along ``dim``; dtype and memory format of ``x``. A row without entries is zero.

    Raises:
        GeometryError: If ``per_row`` is not what ``index`` and ``offsets`` hold.
    """
    dim, rows = dim % x.ndim, offsets.numel() - 1
    if per_row is not None and index.numel() != rows * per_row:
        raise GeometryError(f"per_row={per_row} for {rows} rows and {index.numel()} entries; give None for ragged rows")
    out = like_format(x, dim, rows)
    if out.numel() == 0:
        return out
    view = _as_rows(x, dim, _order(x))
    tile = _tile(rows, view.positions, view.layout)
    counts = {"PER_ROW": -1, "UNROLL": UNROLL}
    if per_row is not None and per_row <= UNROLL_UP_TO:
        counts = {"PER_ROW": per_row, "UNROLL": max(per_row, 1)}
    _launch(
        _combine, prod(_blocks(rows, view.positions, tile)), view.data, out,
        index.contiguous(), offsets.contiguous(), index if share is None else share.contiguous(),
        rows, view.positions, view.inner, *view.strides, rows * view.inner,
        **counts, SHARED=share is not None, WIDE=view.positions >= WIDE_FROM, ACC=_accumulator(x), **tile,
    )  # fmt: skip
    return out


def row_dots(a: Tensor, b: Tensor, dim: int, left: Tensor, right: Tensor) -> Tensor:
    """Multiply rows of two tensors with each other: ``d[k] = sum over all other axes of a[left[k]] * b[right[k]]``.

    Args:
        a: Any floating dtype and strides.
        b: Of the same shape but along ``dim``; read in place if its memory format is that of ``a``.
        dim: Axis that holds the rows.
        left: ``(nnz,)``, rows of ``a``; not checked, since that would wait for the device.
        right: ``(nnz,)``, rows of ``b``.

    Returns:
        ``(nnz,)``, float32, or float64 where ``a`` is; every call on the same numbers gives the same bits.

    Raises:
        GeometryError: If the shapes differ elsewhere than along ``dim``.
    """
    dim, entries = dim % a.ndim, left.numel()
    if a.ndim != b.ndim or any(a.shape[d] != b.shape[d] for d in range(a.ndim) if d != dim):
        raise GeometryError(
            f"a of shape {tuple(a.shape)} and b of shape {tuple(b.shape)}; they may differ along dim={dim} alone"
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
        _dots, blocks * len(parts), view_a.data, view_b.data, parts, left.contiguous(), right.contiguous(),
        entries, positions, view_a.inner, chunk, *view_a.strides, *view_b.strides,
        WIDE=positions >= WIDE_FROM, ACC=_accumulator(a), **tile,
    )  # fmt: skip
    return parts.sum(0)


def expand_weight(epitome: Tensor, out_rows: AxisRows, in_rows: AxisRows) -> Tensor:
    """Sample both channel axes of an epitome in one pass that writes the weight once.

    Args:
        epitome: ``(E_out, E_in, *K)``, any floating dtype; a channels_last memory format is kept.
        out_rows: ``(lower, upper, frac)``, each ``(C_out,)``, the latter two None where all starts are integers; None for
            an axis read cell by cell. Cells are not checked, since that would wait for the device.
        in_rows: The same for the input axis.

    Returns:
        ``(C_out, C_in, *K)``, dtype of ``epitome``; integer starts copy bits, and equal cells give that very value.
    """
    order = _order(epitome)
    in_last = epitome.ndim == 4 and order[-1] == 1
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
    if in_rows is None and row is not None:  # a row of the weight lies in the epitome as it is
        c_in, taps, e_in, layout = width, 1, row[1], WIDE_POSITIONS if row[1] == 1 else POSITIONS
    tile, blends = _tile(c_out, width, layout), 2 in (_reads(out_rows), _reads(in_rows))
    _launch(
        _weight, prod(_blocks(c_out, width, tile)), epitome, weight, *_axis(out_rows, epitome), *_axis(in_rows, epitome),
        c_out, c_in, taps, e_out, e_in, e_tap, OUT=_reads(out_rows), IN=_reads(in_rows), IN_LAST=in_last and taps > 1,
        ACC=_accumulator(epitome) if blends else getattr(tl, str(epitome.dtype).removeprefix("torch.")), **tile,
    )  # fmt: skip
    return weight


def _reads(rows: AxisRows) -> int:
    """Cells read for a weight along an axis, 0 for the identity."""
    return 0 if rows is None else 1 if rows[2] is None else 2


def _axis(rows: AxisRows, unused: Tensor) -> list[Tensor]:
    """The three tensors a kernel takes for an axis; ``unused`` where it reads none."""
    return [unused if part is None else part.contiguous() for part in rows or (None, None, None)]
