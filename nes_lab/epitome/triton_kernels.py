"""Define the Triton kernels that :mod:`nes_lab.epitome.triton_rows` launches, and the memory layouts of their tiles.

A program is one of the parallel calls of a kernel. A tile is the block of the output that one program computes. The speed of
all kernels is limited by memory bandwidth:

- each kernel reads its inputs and writes its output once
- neighboring threads access neighboring addresses
- programs that read the same rows run one after another, so repeated reads hit the cache

Sums are computed in float32 (float64 for float64 tensors) in a fixed order, so the same call gives the same bits.

Tests: tests/epitome/test_triton_rows.py
"""
# ruff: noqa: ANN001, ANN202 -- Triton decides the types of a kernel's arguments at each launch

import triton
import triton.language as tl

__all__ = ["POSITIONS", "ROWS", "WIDE_POSITIONS", "combine_kernel", "dots_kernel", "weight_kernel"]

# Layouts of a tile: the axis along which neighboring threads work, and the width of their accesses. If a tile reads scattered
# addresses, versions of triton choose that axis differently. So such a tile is flattened: then threads work along its last axis in
# every version. Its stores are declared not contiguous, because otherwise each thread would store 16 bytes, and the reads of
# neighboring threads would be 16 bytes apart.
WIDE_POSITIONS, POSITIONS, ROWS = 0, 1, 2  # positions by 16-byte accesses; positions one by one; rows one by one


@triton.jit
def _by_row(v, LAYOUT: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_P: tl.constexpr):
    """Broadcast one value per row over a tile: the block of rows and positions that one call of a kernel computes."""
    if LAYOUT == 2:
        v = tl.broadcast_to(tl.expand_dims(v, 0), [BLOCK_P, BLOCK_R])
    else:
        v = tl.broadcast_to(tl.expand_dims(v, 1), [BLOCK_R, BLOCK_P])
    return v if LAYOUT == 0 else tl.reshape(v, [BLOCK_R * BLOCK_P])


@triton.jit
def _by_position(v, LAYOUT: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_P: tl.constexpr):
    """Broadcast one value per position over a tile: the block of rows and positions that one call of a kernel computes."""
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
def combine_kernel(
    x, out, index, offsets, share, rows, positions, inner, x_outer, x_row, x_inner, out_outer,
    PER_ROW: tl.constexpr, UNROLL: tl.constexpr, SHARED: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr,
    LAYOUT: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_P: tl.constexpr,
):
    """Multiply a sparse matrix with the rows of ``x``. Each of the parallel calls of the kernel computes one tile of the output.

    Output row ``r`` is the sum of ``share * x[index]`` over the entries of matrix row ``r``. An entry has the column ``index``
    and the value ``share``. A tile is a block of rows and of positions, which are indices along the other axes.
    """
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
def dots_kernel(
    a, b, out, left, right, entries, positions, inner, chunk, a_outer, a_row, a_inner, b_outer, b_row, b_inner,
    WIDE: tl.constexpr, ACC: tl.constexpr, LAYOUT: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_P: tl.constexpr,
):
    """Compute dot products of pairs of rows. Each row is cut into several parts.

    ``out[split, k]`` is the dot product of pair ``k`` over one part of the rows. The caller adds up the parts.
    """
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
    """Order the two epitome cells that a weight is blended from.

    Return the cell with the larger factor in the blend, the other cell, and the factor of the other cell. This factor
    is at most 1/2. If it is 0, the blend is exactly the value of the first cell.
    """
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
def weight_kernel(
    epitome, weight, lower_out, upper_out, share_out, lower_in, upper_in, share_in, c_out, c_in, taps, e_out, e_in, e_tap,
    OUT: tl.constexpr, IN: tl.constexpr, IN_LAST: tl.constexpr, ACC: tl.constexpr,
    LAYOUT: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_P: tl.constexpr,
):
    """Sample one tile of a weight from the epitome: a block of output channels and of positions.

    A position is an input channel together with a place in the kernel.

    ``OUT`` says how output channels read the epitome, and ``IN`` says the same for input channels:

    - 0: the axis has no starts, and channel ``i`` reads cell ``i``
    - 1: each channel reads one cell, because patches begin at whole cells
    - 2: each channel blends two neighboring cells, because patches begin between two cells
    """
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
