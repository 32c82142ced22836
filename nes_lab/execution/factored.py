"""Compute a layer with the epitome itself, without sampling the weight.

This way of computing is the execution ``factored``. The output is ``y = A_out op(A_in^T x, E)`` for the input ``x``.
``E`` is the epitome, and ``op`` is the layer's convolution or matrix product. ``A_out`` and ``A_in`` are the sampling
matrices of the output and input channels. Each row belongs to one channel, and holds the factors of the epitome cells
that the channel reads.

Tests: tests/execution/test_conformance.py
"""

from __future__ import annotations

from torch import Tensor

from nes_lab.epitome.sampling import expand
from nes_lab.execution.base import ExecutionCost, LayerForm, LayerOp, Prepared, Taps, refuse, scale_channels
from nes_lab.execution.wrapped import fold_cost, fold_input
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.records.options import ExecutionName

__all__ = ["Factored"]


class Factored:
    """Computes a layer with the epitome itself as the weight. The output is exact, also for fractional starts.

    1. Add up the input channels that read the same epitome cell. With fractional starts this costs ``2 C_in HW_i``
       multiply-adds.
    2. Apply the convolution or matrix product with the epitome. This costs ``HW_o k E_in E_out`` multiply-adds.
    3. Copy or blend the results to all output channels. With fractional starts this costs ``2 C_out HW_o`` multiply-adds.

    The letters are:

    - ``HW_i`` and ``HW_o``: numbers of input and output positions
    - ``k``: number of kernel positions
    - ``C_in`` and ``C_out``: numbers of input and output channels
    - ``E_in`` and ``E_out``: numbers of epitome cells along the input and output axes
    """

    name: ExecutionName = "factored"
    makes_weight = False

    def why_not(self, form: LayerForm) -> str:
        """Return the reason why this execution cannot compute a layer; empty if it can.

        It refuses three kinds of layers:

        - layers with joint scope, where each block of the weight has its own starts
        - layers with groups
        - layers with starts on a kernel axis
        """
        reason = refuse(form, "joint", "groups")
        kernel = zip(form.geometry.axes[2:], form.states[2:], strict=True)
        sampled = [axis for axis, state in kernel if state != "identity"]
        if reason or not sampled:
            return reason
        axis = sampled[0]
        return f"its kernel axis {axis.name!r} is sampled ({axis.cells} cells for a window of {axis.size})"

    def prepare(self, epitome: Tensor, taps: Taps, geometry: EpitomeGeometry, scale: Tensor | None = None) -> Prepared:
        """Return the tensor that the convolution or matrix product uses as its weight. Here it is the epitome.

        ``scale`` holds one factor per output channel. If each output channel reads a cell of its own, the epitome is
        multiplied by ``scale``. Otherwise :meth:`run` multiplies the output by ``scale``.
        """
        return Prepared(scale_channels(epitome, scale) if taps[0] is None else epitome, taps)

    def run(self, x: Tensor, prepared: Prepared, op: LayerOp, scale: Tensor | None, bias: Tensor | None) -> Tensor:
        """Compute the layer's output with the epitome as the weight.

        Add up the input channels that read the same cell, apply the operation, then copy or blend its results to all output
        channels. Scale and bias come last.
        """
        epitome, taps = prepared
        x, op = fold_input(x, taps[1], op)
        if taps[0] is None:
            return op(x, epitome, bias)
        y = op(x, epitome)
        return expand(y, taps[0], y.ndim + op.channel_dim, scale, bias)

    def cost(self, form: LayerForm, positions: tuple[int, int]) -> ExecutionCost:
        """Count the multiply-adds and the plain additions of one forward pass.

        Three steps take multiply-adds:

        - adding up the input channels that read the same epitome cell, if their starts are fractional
        - the convolution or matrix product with the epitome
        - blending its results to output channels, if their starts are fractional

        Starts are the positions in the epitome at which the patches of the weight begin. With integer starts, the first
        and the last step take plain additions and copies instead. The field ``adds`` of
        the result counts these.
        """
        taps, adds = fold_cost(form, positions)
        entries = form.geometry.weight_shape[0] * positions[1]
        e_out, e_in = form.geometry.epitome_shape[:2]
        return ExecutionCost(
            conv_madds=positions[1] * form.geometry.kernel_cells * e_in * e_out,
            tap_madds=taps + (2 * entries if form.states[0] == "fractional" else 0),
            adds=adds + (entries if form.states[0] == "integer" else 0),
        )
