"""Compute a layer with the epitome itself, without sampling the weight: the execution ``factored``.

The output is ``y = A_out op(A_in^T x, E)``. ``E`` is the epitome, ``A_out`` and ``A_in`` are the sampling matrices of the output and
input channels, and ``op`` is the layer's convolution or matrix product.

Tests: tests/execution/test_conformance.py
"""

from __future__ import annotations

from torch import Tensor

from nes_lab.epitome.sampling import expand
from nes_lab.execution.base import ExecutionCost, LayerForm, LayerOp, Prepared, Taps, refuse, scale_channels
from nes_lab.execution.wrapped import fold_cost, fold_input
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["Factored"]


class Factored:
    """Folds the input, applies the operation with the epitome itself, and expands the output. Exact for fractional starts too.

    It costs ``HW_o k E_in E_out`` multiply-adds, plus ``2 C_in HW_i`` if the input axis is fractional and ``2 C_out HW_o`` if the
    output axis is. ``HW_i`` and ``HW_o`` are the numbers of input and output positions, ``k`` is that of kernel positions.
    """

    name = "factored"

    def why_not(self, form: LayerForm) -> str:
        """Refuse layers with joint scope, groups or sampled kernel axes: return the reason; empty for other layers."""
        kernel = zip(form.geometry.axes[2:], form.states[2:], strict=True)
        sampled = [axis for axis, state in kernel if state != "identity"]
        reason = refuse(form, "joint", "groups")
        if reason or not sampled:
            return reason
        axis = sampled[0]
        return f"its kernel axis {axis.name!r} is sampled ({axis.cells} cells for a window of {axis.size})"

    def prepare(self, epitome: Tensor, taps: Taps, geometry: EpitomeGeometry, scale: Tensor | None = None) -> Prepared:
        """Return the epitome as the weight, multiplied by ``scale`` if each of its output cells is one output channel."""
        return Prepared(scale_channels(epitome, scale) if taps[0] is None else epitome, taps)

    def run(self, x: Tensor, prepared: Prepared, op: LayerOp, scale: Tensor | None, bias: Tensor | None) -> Tensor:
        """Fold the input, apply the operation with the epitome, expand the output, then scale it and add the bias."""
        epitome, taps = prepared
        x, op = fold_input(x, taps[1], op)
        if taps[0] is None:
            return op(x, epitome, bias)
        y = op(x, epitome)
        return expand(y, taps[0], y.ndim + op.channel_dim, scale, bias)

    def cost(self, form: LayerForm, positions: tuple[int, int]) -> ExecutionCost:
        """Count ``HW_o k E_in E_out`` multiply-adds for the operation, plus those of folding the input and expanding the output."""
        taps, adds = fold_cost(form, positions)
        entries = form.geometry.weight_shape[0] * positions[1]
        e_out, e_in = form.geometry.epitome_shape[:2]
        return ExecutionCost(
            conv_madds=positions[1] * form.geometry.kernel_cells * e_in * e_out,
            tap_madds=taps + (2 * entries if form.states[0] == "fractional" else 0),
            adds=adds + (entries if form.states[0] == "integer" else 0),
        )
