"""Compute a layer after adding up the input channels that read the same epitome cell.

This way of computing is the execution ``wrapped``. It is also called channel wrapping. The convolution or matrix
product then has fewer input channels.

The output is ``y = op(A_in^T x, A_out E)`` for the input ``x``. ``E`` is the epitome, and ``op`` is the layer's
convolution or matrix product. ``A_out`` and ``A_in`` are the sampling matrices of the output and input channels. Each
row belongs to one channel, and holds the factors of the epitome cells that the channel reads.

Tests: tests/execution/test_conformance.py
"""

from __future__ import annotations

from torch import Tensor

from nes_lab.epitome.sampling import fold, sample_patches
from nes_lab.epitome.slices import same_layout
from nes_lab.epitome.taps import AxisTaps
from nes_lab.execution.base import (
    ExecutionCost,
    LayerForm,
    LayerOp,
    Prepared,
    Taps,
    refuse,
    sampling_madds,
    scale_channels,
)
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.records.options import ExecutionName

__all__ = ["Wrapped", "fold_cost", "fold_input"]


class Wrapped:
    """Adds up the input channels that read the same epitome cell, then applies one operation with fewer input channels.

    It costs ``HW_o k E_in C_out`` multiply-adds, plus ``2 C_in HW_i`` if the input starts are fractional. The letters are:

    - ``HW_i`` and ``HW_o``: numbers of input and output positions
    - ``k``: number of kernel positions
    - ``C_in`` and ``C_out``: numbers of input and output channels
    - ``E_in``: number of epitome cells along the input axis; in a grouped layer, the number for each group
    """

    name: ExecutionName = "wrapped"
    makes_weight = True

    def why_not(self, form: LayerForm) -> str:
        """Return the reason why this execution cannot compute a layer; empty if it can.

        It refuses two kinds of layers:

        - layers with joint scope, where each block of the weight has its own starts
        - depthwise layers
        """
        depthwise = form.geometry.weight_shape[1] == 1 and form.op.groups > 1
        return refuse(form, "joint") or (
            "it is depthwise: with one input channel per group there is nothing to fold" if depthwise else ""
        )

    def prepare(self, epitome: Tensor, taps: Taps, geometry: EpitomeGeometry, scale: Tensor | None = None) -> Prepared:
        """Sample the weight along all axes except the input axis, and multiply each output channel by its factor in ``scale``.

        Along the input axis, this weight has one entry per epitome cell, not one per input channel. So the input must have one
        channel per cell too. :meth:`run` makes such an input: it adds up the input channels that read the same cell.
        """
        weight = sample_patches(epitome, (taps[0], None, *taps[2:]), geometry)
        return Prepared(scale_channels(weight, scale), taps)

    def run(self, x: Tensor, prepared: Prepared, op: LayerOp, scale: Tensor | None, bias: Tensor | None) -> Tensor:
        """Add up the input channels that read the same epitome cell, then apply the operation with fewer input channels."""
        x, op = fold_input(x, prepared.taps[1], op)
        return op(x, prepared.weight, bias)

    def cost(self, form: LayerForm, positions: tuple[int, int]) -> ExecutionCost:
        """Count the multiply-adds and the plain additions of one forward pass.

        First, the input channels that read the same epitome cell are added up. This takes multiply-adds if the starts
        of these channels (positions in the epitome) are fractional. It takes plain additions if they are integers. Then
        the convolution or matrix product takes multiply-adds. The multiply-adds of sampling the weight are counted
        separately, in the field ``weight_madds`` of the result.
        """
        taps, adds = fold_cost(form, positions)
        geometry = form.geometry
        return ExecutionCost(
            conv_madds=positions[1] * geometry.kernel_cells * geometry.epitome_shape[1] * geometry.weight_shape[0],
            tap_madds=taps,
            adds=adds,
            weight_madds=sampling_madds(form, (0, *range(2, len(geometry.weight_shape)))),
        )


def fold_input(x: Tensor, taps: AxisTaps | None, op: LayerOp) -> tuple[Tensor, LayerOp]:
    """Fold a layer's input: add up the channels that read the same epitome cell, separately in each group of channels.

    Args:
        x: Input of the layer.
        taps: Epitome cells that each input channel reads, and their factors. None: each channel reads the cell of the same
            index, and the input stays as it is.
        op: The layer's convolution or matrix product.

    Returns:
        The folded input, without the positions that are never read, and the operation to apply to it.
    """
    if taps is None:
        return x, op
    x, op = op.skip_unread(x)
    if op.groups == 1:
        return fold(x, taps, x.ndim + op.channel_dim), op
    dim = x.ndim + op.channel_dim
    grouped = x.unflatten(dim, (op.groups, -1))
    return same_layout(fold(grouped, taps, dim + 1).flatten(dim, dim + 1), x), op


def fold_cost(form: LayerForm, positions: tuple[int, int]) -> tuple[int, int]:
    """Count the multiply-adds and the plain additions that it takes to add up input channels that read the same epitome cell.

    With fractional starts, each channel takes two multiply-adds at each input position. With integer starts it takes one
    addition. Without starts on the input axis nothing is added up.
    """
    entries = form.geometry.weight_shape[1] * form.op.groups * positions[0]
    return (2 * entries if form.states[1] == "fractional" else 0), (entries if form.states[1] == "integer" else 0)
