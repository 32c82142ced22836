"""Compute a layer from the products of its input with every epitome cell.

This way of computing is the execution ``product_map``. The epitome is longer than the convolution kernel. Each output
channel uses a stretch of the epitome, its window, as its kernel. Windows may overlap. Output channels then share
products, as in WSNet (Jin et al., ICML 2018) for audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from nes_lab.epitome.slices import same_layout
from nes_lab.epitome.taps import AxisTaps
from nes_lab.errors import GeometryError
from nes_lab.execution.base import CONVS, ExecutionCost, LayerForm, LayerOp, Prepared, Taps, refuse
from nes_lab.execution.wrapped import fold_cost, fold_input
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.records.options import ExecutionName

__all__ = ["ProductMap"]


class ProductMap:
    """Multiplies the input with every epitome cell once, and adds up the products that each output channel needs.

    A window is the stretch of the epitome that an output channel uses as its convolution kernel. The steps are:

    1. Add up the input channels that read the same epitome cell.
    2. Multiply the result with every epitome cell.
    3. Sum the products over each window, in float32 (in float64 for float64 inputs). Along a kernel axis with ``n`` cells and
       kernel length ``K`` there are ``n - K + 1`` windows.
    4. Give each output channel the sum of its window. With fractional starts, blend ``t = 2^f`` neighboring sums, where ``f``
       is the number of output and kernel axes with fractional starts.

    One forward pass costs these multiply-adds:

    - ``HW_i prod(E_k) E_in E_out`` for the products
    - ``2 C_in HW_i`` to add up input channels, if their starts are fractional
    - ``t C_out HW_o`` to blend sums, if ``t > 1``

    The letters are:

    - ``HW_i`` and ``HW_o``: numbers of input and output positions
    - ``C_in`` and ``C_out``: numbers of input and output channels
    - ``E_in``, ``E_out`` and ``E_k``: lengths of the epitome along the input, output and kernel axes
    """

    name: ExecutionName = "product_map"
    makes_weight = True

    def why_not(self, form: LayerForm) -> str:
        """Return the reason why this execution cannot compute a layer; empty if it can.

        The execution refuses four kinds of layers:

        - layers with joint scope, where each block of the weight has its own starts
        - layers with groups
        - layers whose kernel axes all have no starts
        - layers with the circular boundary, where patches wrap around the end of the epitome
        """
        reason = refuse(form, "joint", "groups")
        if reason:
            return reason
        if all(state == "identity" for state in form.states[2:]):
            return "it has no sampled kernel axis, so there are no windows that share products"
        if form.geometry.boundary == "circular":
            return "its boundary is 'circular': a window that wraps around the end is not a sum of neighboring cells"
        return ""

    def prepare(self, epitome: Tensor, taps: Taps, geometry: EpitomeGeometry, scale: Tensor | None = None) -> Prepared:
        """Reshape the epitome to the weight of a pointwise convolution, which has kernel size 1.

        This convolution multiplies the input with every epitome cell.

        The weight has shape ``(E_out * prod(E_k), E_in, 1, ...)``: one row per cell of the output and kernel axes. ``E_out``,
        ``E_in`` and ``E_k`` are the epitome's lengths along the output, input and kernel axes.
        """
        pointwise = epitome.movedim(1, -1).flatten(0, -2)
        return Prepared(pointwise[(..., *[None] * (epitome.ndim - 2))], taps)

    def run(self, x: Tensor, prepared: Prepared, op: LayerOp, scale: Tensor | None, bias: Tensor | None) -> Tensor:
        """Compute the layer's output from the products of its input with every epitome cell.

        Scale and bias are applied before the output is rounded to the input's dtype.
        """
        pointwise, taps = prepared
        x, op = op.skip_unread(x)
        x, op = fold_input(x, taps[1], op)
        cells = [k if t is None else t.cells for k, t in zip(op.kernel_size, taps[2:], strict=True)]
        filters = pointwise.shape[0] // prod(cells)
        products = CONVS[op.spatial](x, pointwise)
        accumulate = torch.float64 if products.dtype == torch.float64 else torch.float32
        sums = _window_sums(products.unflatten(op.channel_dim, (filters, *cells)), op, accumulate)
        y = _read(sums.flatten(-2 * op.spatial - 1, op.channel_dim), taps, cells, filters, op)
        column = (-1, *[1] * op.spatial)
        y = y if scale is None else y * scale.to(y.dtype).view(column)
        y = y if bias is None else y + bias.to(y.dtype).view(column)
        return same_layout(y.to(products.dtype), products)

    def cost(self, form: LayerForm, positions: tuple[int, int]) -> ExecutionCost:
        """Count the multiply-adds and the plain additions of one forward pass.

        A window is the stretch of the epitome that an output channel uses as its convolution kernel. A start is the
        position where a patch begins in the epitome; a fractional start lies between two cells.

        Three steps take multiply-adds:

        - adding up input channels, if their starts are fractional
        - multiplying the input with the epitome cells
        - blending the sums of neighboring windows, if starts on the output axis or on a kernel axis are fractional

        The field ``adds`` of the result counts three other things:

        - the additions of input channels that read the same epitome cell, if their starts are integers
        - the additions that sum the products over each window
        - one copy per output channel and output position, if no sums are blended
        """
        # Window sums of kernel length K take floor(log2 K) doublings, and one addition for each 1 but the first among the
        # binary digits of K; each for all cells and input positions.
        taps, adds = fold_cost(form, positions)
        geometry, states = form.geometry, form.states
        kernel = geometry.axes[2:]
        cells = [a.cells for a in kernel]
        e_out, e_in = geometry.epitome_shape[:2]
        rounds = sum(a.size.bit_length() + a.size.bit_count() - 2 for a in kernel)
        adds += rounds * e_out * prod(cells) * positions[0]
        blended, entries = 2 ** [states[0], *states[2:]].count("fractional"), geometry.weight_shape[0] * positions[1]
        return ExecutionCost(
            conv_madds=positions[0] * prod(cells) * e_in * e_out,
            tap_madds=taps + (blended * entries if blended > 1 else 0),
            adds=adds + (entries if blended == 1 else 0),
        )


def _extent(op: LayerOp, axis: int, size: int) -> tuple[int, int, int]:
    """Return how many zeros torch pads before and after one spatial axis, and the length of the output along that axis."""
    reach = op.dilation[axis] * (op.kernel_size[axis] - 1)
    left, right = op.zeros_along(axis, size)
    room = size + left + right - reach - 1
    if room < 0:
        raise GeometryError(
            f"input has {size} positions along spatial axis {axis}, {size + left + right} with padding; "
            f"the kernel needs {reach + 1}"
        )
    return left, right, room // op.stride[axis] + 1


def _window_sums(products: Tensor, op: LayerOp, accumulate: torch.dtype) -> Tensor:
    """Add up the products of the input with the epitome cells of each window.

    A window is a stretch of epitome cells that can serve as a convolution kernel.
    """
    n, products = op.spatial, products.to(accumulate)
    for axis, length in enumerate(op.kernel_size):
        left, right, out = _extent(op, axis, products.shape[axis - n])
        if left or right:
            products = F.pad(products, (*[0, 0] * (n - 1 - axis), left, right))
        products = _diagonal_sums(products, length, op.dilation[axis], axis - 2 * n, axis - n)
        if op.stride[axis] > 1:
            index = [slice(None)] * n
            index[axis] = slice(0, (out - 1) * op.stride[axis] + 1, op.stride[axis])
            products = products[(..., *index)]
    return products


def _diagonal_sums(tensor: Tensor, length: int, step: int, cells: int, places: int) -> Tensor:
    """Return the sums of a fixed number of neighboring entries on the diagonals of two axes of a tensor.

    From one entry of a diagonal to the next, the index along the first axis grows by 1, and the index along the second axis by
    a given step.
    """
    # Sums are built by doubling: two sums of m terms give one sum of 2 m terms. This takes at most 2 log2(length) additions
    # of slices. Nothing is subtracted: rounding errors stay as small as those of a plain sum, and an infinity affects only
    # the sums that contain it.
    total, reach = None, 0  # sums of ``reach`` terms
    power, m = tensor, 1  # sums of ``m`` terms, m = 1, 2, 4...
    while True:
        if length & m:
            total = power if total is None else _joined(total, reach, power, m, step, cells, places)
            reach += m
        if 2 * m > length:
            assert total is not None  # length is at least 1
            return total
        power, m = _joined(power, m, power, m, step, cells, places), 2 * m


def _joined(a: Tensor, m: int, b: Tensor, k: int, step: int, cells: int, places: int) -> Tensor:
    """Add to each sum of diagonal entries the sum of the entries that follow on the same diagonal.

    The tensor ``a`` holds sums of ``m`` entries, the tensor ``b`` sums of ``k`` entries. The result holds sums of ``m + k``
    entries.
    """
    length, width = a.shape[cells] - k, a.shape[places] - k * step
    first = a.narrow(cells, 0, length).narrow(places, 0, width)
    return first + b.narrow(cells, m, length).narrow(places, m * step, width)


def _starts(taps: AxisTaps | None, like: Tensor) -> list[tuple[Tensor, Tensor | None]]:
    """Return, for one kernel axis, the epitome cells at which the kernels of the output channels start.

    The result is a list of pairs ``(cells, factors)`` with one entry per output channel. Integer starts give one pair
    without factors. Fractional starts give two pairs, for the cells below and above each start. The factors say how
    much of each cell is taken.
    """
    # one factor per channel is enough: all weights of a window have the same factor
    if taps is None:
        return [(like.new_zeros(()), None)]
    return [(cells[:, 0], None if share is None else share[:, 0]) for cells, share in taps.levels()]


def _read(sums: Tensor, taps: Taps, cells: Sequence[int], filters: int, op: LayerOp) -> Tensor:
    """Give each output channel the sum of products that belongs to it.

    An output channel uses a stretch of the epitome, its window, as its kernel. The sum over the products in each window is
    already computed. If the start of a channel lies between two cells, the sums of two neighboring windows are blended.
    """
    all_filters = torch.arange(filters, device=sums.device)
    channels = [(all_filters, None)] if taps[0] is None else taps[0].levels()
    total: Tensor | None = None
    for combination in product(channels, *[_starts(t, all_filters) for t in taps[2:]]):
        index = combination[0][0]
        for (start, _), n, k in zip(combination[1:], cells, op.kernel_size, strict=True):
            index = index * (n - k + 1) + start
        part = sums.index_select(op.channel_dim, index)
        for _, share in combination:
            part = part if share is None else part * share.to(part.dtype).view(-1, *[1] * op.spatial)
        total = part if total is None else total + part
    assert total is not None  # every axis has at least one tap
    return total
