"""The plan ``product_map``: all products of input and epitome taps once, then sums over the windows.

Output channels that read overlapping windows of one epitome filter share their products: what WSNet (Jin et al., ICML 2018)
does for audio. The windows' sums are taken for every start at once, and each output channel reads the row of its start.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from nes_lab.epitome.geometry import EpitomeGeometry
from nes_lab.epitome.taps import AxisTaps
from nes_lab.errors import GeometryError
from nes_lab.execution.base import AxisState, LayerOp, PlanCost, Taps
from nes_lab.execution.wrapped import fold_cost, fold_input

__all__ = ["ProductMap"]


class ProductMap:
    """Fold the input, multiply with every epitome tap, sum along the windows, read one row per output channel.

    With ``n`` cells and ``K`` weights along a kernel axis there are ``w = n - K + 1`` windows (``w = 1``: an identity axis).
    In one dimension their sums are differences of an integral map along the diagonal, whose step is the dilation; in two
    they are shifted and added axis by axis. Sums are accumulated in float32 (float64 for float64). A fractional start is
    a blend of two windows, a fractional output axis one of two filters: ``t = 2^(fractional output and kernel axes)`` rows.

    Costs ``HW_i prod(E_k) E_in E_out`` for the products, ``2 C_in HW_i`` where the input axis is fractional, and
    ``t C_out HW_o`` where ``t > 1``.

    In one dimension a product that is infinite or no number spreads along its diagonal, beyond the windows that hold it.
    """

    name = "product_map"

    def why_not(self, geometry: EpitomeGeometry, states: Sequence[AxisState], op: LayerOp) -> str | None:
        """Joint scope, groups, kernel axes read whole, and circular windows are refused."""
        if geometry.scope == "joint":
            return (
                "its scope is 'joint': each block has its own starts, so products cannot be summed over input channels"
            )
        if op.groups > 1:
            return f"it has groups={op.groups}: output patches may cross groups"
        if all(state == "identity" for state in states[2:]):
            return "it has no sampled kernel axis, so there are no windows that share products"
        if geometry.boundary == "circular":
            return "its boundary is 'circular': a window that wraps round the end is no sum of neighboring cells"
        return None

    def prepare(self, epitome: Tensor, taps: Taps, geometry: EpitomeGeometry, scale: Tensor | None = None) -> Tensor:
        """The epitome as the weight of a pointwise convolution, ``(E_out * prod(E_k), E_in, 1...)``."""
        pointwise = epitome.movedim(1, -1).flatten(0, -2)
        return pointwise[(..., *[None] * (epitome.ndim - 2))]

    def run(
        self,
        x: Tensor,
        prepared: Tensor,
        taps: Taps,
        bias: Tensor | None,
        op: LayerOp,
        scale: Tensor | None = None,
    ) -> Tensor:
        """Fold, multiply, sum along the windows, read the rows; then scale and bias, all before rounding to the dtype."""
        x, op = op.skip_unread(x)
        x, op = fold_input(x, taps[1], op)
        cells = [k if t is None else t.cells for k, t in zip(op.kernel_size, taps[2:], strict=True)]
        filters = prepared.shape[0] // prod(cells)
        products = (F.conv1d if op.spatial == 1 else F.conv2d)(x, prepared)
        accumulate = torch.float64 if products.dtype == torch.float64 else torch.float32
        windows = _integral_map if op.spatial == 1 else _shift_and_add
        sums = windows(products.unflatten(op.channel_dim, (filters, *cells)), op, accumulate)
        y = _read(sums.flatten(-2 * op.spatial - 1, op.channel_dim), taps, cells, filters, op)
        column = (-1, *[1] * op.spatial)
        y = y if scale is None else y * scale.to(y.dtype).view(column)
        y = y if bias is None else y + bias.to(y.dtype).view(column)
        y = y.to(products.dtype)
        inside = y.ndim == 4 and products.stride(1) < products.stride(3)
        return y.contiguous(memory_format=torch.channels_last) if inside else y

    def cost(
        self, geometry: EpitomeGeometry, states: Sequence[AxisState], op: LayerOp, positions: tuple[int, int]
    ) -> PlanCost:
        """``HW_i prod(E_k) E_in E_out``, the fold, and the blended rows.

        ``adds``: an integer fold; one addition a product and one difference a window (1-D: ``E_out (n HW_i + w HW_o)``), or
        ``K - 1`` additions a window and axis (2-D: ``E_out ((K_h - 1) w_h n_w HW_i + (K_w - 1) w_h w_w HW_o)``, as if the
        first axis kept the input's size); ``C_out HW_o`` where one row is copied.
        """
        taps, adds = fold_cost(geometry, states, op, positions)
        kernel = geometry.axes[2:]
        cells, starts = [a.cells for a in kernel], [a.cells - a.size + 1 for a in kernel]
        e_out, e_in = geometry.epitome_shape[:2]
        if op.spatial == 1:
            adds += e_out * (cells[0] * positions[0] + starts[0] * positions[1])
        else:
            adds += e_out * (kernel[0].size - 1) * starts[0] * cells[1] * positions[0]
            adds += e_out * (kernel[1].size - 1) * prod(starts) * positions[1]
        rows, entries = 2 ** [states[0], *states[2:]].count("fractional"), geometry.weight_shape[0] * positions[1]
        return PlanCost(
            conv_madds=positions[0] * prod(cells) * e_in * e_out,
            tap_madds=taps + (rows * entries if rows > 1 else 0),
            adds=adds + (entries if rows == 1 else 0),
        )


def _extent(op: LayerOp, axis: int, size: int) -> tuple[int, int, int]:
    """Zeros before and after a spatial axis, as torch pads it, and the output's size."""
    reach = op.dilation[axis] * (op.kernel_size[axis] - 1)
    if isinstance(op.padding, str):
        total = reach if op.padding == "same" else 0
        left, right = total // 2, total - total // 2  # torch puts the odd zero at the end
    else:
        left = right = op.padding[axis]
    room = size + left + right - reach - 1
    if room < 0:
        raise GeometryError(
            f"input has {size} positions along spatial axis {axis}, {size + left + right} with padding; "
            f"the kernel reaches over {reach + 1}"
        )
    return left, right, room // op.stride[axis] + 1


def _integral_map(products: Tensor, op: LayerOp, accumulate: torch.dtype) -> Tensor:
    """Sums of all windows in 1-D: ``(..., E_out, n, L)`` to ``(..., E_out, n - K + 1, L_out)``.

    A window that starts at cell ``s`` reads cell ``c`` at position ``b + c d``, with the same base ``b = tau stride - pad - s d``
    for all its cells. So cell ``c`` is moved by ``c d``: rows of length ``row``, read with step ``row + d``. In the
    cumulative sum down the cells the window is the difference of rows ``s + K`` and ``s`` at ``b``; the step
    ``bases - d`` moves row ``s`` back by ``s d``, so that outputs stand below each other.
    """
    (cells, size), (k,), (d,), (stride,) = products.shape[-2:], op.kernel_size, op.dilation, op.stride
    left, _, out = _extent(op, 0, size)
    starts, span = cells - k + 1, (out - 1) * stride + 1
    slack = (cells - k) * d
    bases, before = span + slack, left + slack + d
    row = max(bases + cells * d, before + size)
    # a row of zeros above makes the cumulative sum begin at 0; the one below is room for the last step
    padded = F.pad(products, (before, row - before - size, 1, 1)).flatten(-2)
    skewed = padded.narrow(-1, 0, (cells + 1) * (row + d)).unflatten(-1, (cells + 1, row + d))
    integral = skewed[..., :bases].cumsum(-2, dtype=accumulate).flatten(-2)
    step = bases - d
    lower, upper = [
        integral.narrow(-1, slack + first * bases, starts * step).unflatten(-1, (starts, step)) for first in (0, k)
    ]
    return upper[..., :span:stride] - lower[..., :span:stride]


def _shift_and_add(products: Tensor, op: LayerOp, accumulate: torch.dtype) -> Tensor:
    """Sums of all windows, one axis after the other: ``(..., E_out, *n, *size)`` to ``(..., E_out, *(n - K + 1), *out)``."""
    n = op.spatial
    for axis in range(n):
        left, right, out = _extent(op, axis, products.shape[axis - n])
        if left or right:
            products = F.pad(products, (*[0, 0] * (n - 1 - axis), left, right))
        starts, span = products.shape[axis - 2 * n] - op.kernel_size[axis] + 1, (out - 1) * op.stride[axis] + 1
        total: Tensor | None = None
        for j in range(op.kernel_size[axis]):
            index = [slice(None)] * 2 * n
            index[axis] = slice(j, j + starts)
            index[n + axis] = slice(j * op.dilation[axis], j * op.dilation[axis] + span, op.stride[axis])
            part = products[(..., *index)]
            total = part.to(accumulate) if total is None else total + part
        assert total is not None  # a kernel has at least one position
        products = total
    return products


def _starts(taps: AxisTaps | None, like: Tensor) -> list[tuple[Tensor, Tensor | None]]:
    """Start of each output channel's window: where its first weight stands; all its weights share one fraction."""
    if taps is None:
        return [(like.new_zeros(()), None)]
    return [(cells[:, 0], None if share is None else share[:, 0]) for cells, share in taps.levels()]


def _read(sums: Tensor, taps: Taps, cells: Sequence[int], filters: int, op: LayerOp) -> Tensor:
    """For each output channel the row of its filter and its starts; blended over the taps of fractional axes."""
    whole = torch.arange(filters, device=sums.device)
    channels = [(whole, None)] if taps[0] is None else taps[0].levels()
    total: Tensor | None = None
    for combination in product(channels, *[_starts(t, whole) for t in taps[2:]]):
        row = combination[0][0]
        for (start, _), n, k in zip(combination[1:], cells, op.kernel_size, strict=True):
            row = row * (n - k + 1) + start
        part = sums.index_select(op.channel_dim, row)
        for _, share in combination:
            part = part if share is None else part * share.to(part.dtype).view(-1, *[1] * op.spatial)
        total = part if total is None else total + part
    assert total is not None  # every axis has at least one tap
    return total
