"""The plan ``factored``: the whole layer in epitome space, ``y = A_out op(A_in^T x, E)``."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from nes_lab.epitome.sampling import expand
from nes_lab.execution.base import NEEDS_WHOLE_WEIGHT, AxisState, LayerOp, PlanCost, Taps, scale_rows
from nes_lab.execution.wrapped import fold_cost, fold_input
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["Factored"]


class Factored:
    """Fold the input, run with the epitome itself, expand the output. Exact for fractional starts too.

    Costs ``HW_o k E_in E_out``, plus ``2 C_in HW_i`` and ``2 C_out HW_o`` where the input and output axes are fractional.
    """

    name = "factored"

    def why_not(self, geometry: EpitomeGeometry, states: Sequence[AxisState], op: LayerOp) -> str | None:
        """Joint scope, groups and sampled kernel axes are refused."""
        if op.standardized:
            return NEEDS_WHOLE_WEIGHT
        if geometry.scope == "joint":
            return "its scope is 'joint': each block has its own starts, so the weight is no product of two samplings"
        if op.groups > 1:
            return f"it has groups={op.groups}: output patches may cross groups"
        for a, state in zip(geometry.axes[2:], states[2:], strict=True):
            if state != "identity":
                return f"its kernel axis {a.name!r} is sampled ({a.cells} cells for a window of {a.size})"
        return None

    def prepare(self, epitome: Tensor, taps: Taps, geometry: EpitomeGeometry, scale: Tensor | None = None) -> Tensor:
        """The epitome; where its rows are the output channels, with their scale."""
        return scale_rows(epitome, scale) if taps[0] is None else epitome

    def run(
        self,
        x: Tensor,
        prepared: Tensor,
        taps: Taps,
        bias: Tensor | None,
        op: LayerOp,
        scale: Tensor | None = None,
    ) -> Tensor:
        """Fold, operate, expand, add the bias."""
        x, op = fold_input(x, taps[1], op)
        if taps[0] is None:
            return op(x, prepared, bias)
        y = op(x, prepared)
        return expand(y, taps[0], y.ndim + op.channel_dim, scale, bias)

    def cost(
        self, geometry: EpitomeGeometry, states: Sequence[AxisState], op: LayerOp, positions: tuple[int, int]
    ) -> PlanCost:
        """``HW_o k E_in E_out``, the fold and the expansion."""
        taps, adds = fold_cost(geometry, states, op, positions)
        entries = geometry.weight_shape[0] * positions[1]
        e_out, e_in = geometry.epitome_shape[:2]
        return PlanCost(
            conv_madds=positions[1] * geometry.kernel_cells * e_in * e_out,
            tap_madds=taps + (2 * entries if states[0] == "fractional" else 0),
            adds=adds + (entries if states[0] == "integer" else 0),
        )
