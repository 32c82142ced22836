"""The plan ``wrapped``: channel wrapping, ``y = op(A_in^T x, A_out E)``."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from nes_lab.epitome.sampling import fold, sample_patches
from nes_lab.epitome.slices import same_layout
from nes_lab.epitome.taps import AxisTaps
from nes_lab.execution.base import NEEDS_WHOLE_WEIGHT, AxisState, LayerOp, PlanCost, Taps, sampling_madds, scale_rows
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["Wrapped", "fold_cost", "fold_input"]


class Wrapped:
    """Scatter-add the input channels into epitome-channel space, then one operation with ``E_in`` input channels.

    Costs ``HW_o k E_in C_out``, plus ``2 C_in HW_i`` where the input axis is fractional. Works for groups, with ``E_in``
    cells per group.
    """

    name = "wrapped"

    def why_not(self, geometry: EpitomeGeometry, states: Sequence[AxisState], op: LayerOp) -> str | None:
        """Joint scope and depthwise layers are refused."""
        if op.standardized:
            return NEEDS_WHOLE_WEIGHT
        if geometry.scope == "joint":
            return (
                "its scope is 'joint': each block has its own starts, so input channels cannot be folded once for all"
            )
        if geometry.weight_shape[1] == 1 and op.groups > 1:
            return "it is depthwise: one input channel a group leaves nothing to fold"
        return None

    def prepare(self, epitome: Tensor, taps: Taps, geometry: EpitomeGeometry, scale: Tensor | None = None) -> Tensor:
        """The epitome, sampled along the output and kernel axes."""
        return scale_rows(sample_patches(epitome, (taps[0], None, *taps[2:]), geometry), scale)

    def run(
        self,
        x: Tensor,
        prepared: Tensor,
        taps: Taps,
        bias: Tensor | None,
        op: LayerOp,
        scale: Tensor | None = None,
    ) -> Tensor:
        """Fold the input, then the operation."""
        x, op = fold_input(x, taps[1], op)
        return op(x, prepared, bias)

    def cost(
        self, geometry: EpitomeGeometry, states: Sequence[AxisState], op: LayerOp, positions: tuple[int, int]
    ) -> PlanCost:
        """``HW_o k E_in C_out`` and the fold."""
        taps, adds = fold_cost(geometry, states, op, positions)
        return PlanCost(
            conv_madds=positions[1] * geometry.kernel_cells * geometry.epitome_shape[1] * geometry.weight_shape[0],
            tap_madds=taps,
            adds=adds,
            weight_madds=sampling_madds(geometry, states, (0, *range(2, len(geometry.weight_shape)))),
        )


def fold_input(x: Tensor, taps: AxisTaps | None, op: LayerOp) -> tuple[Tensor, LayerOp]:
    """``A_in^T x`` on the channel axis, group by group; positions that are never read are dropped first."""
    if taps is None:
        return x, op
    x, op = op.skip_unread(x)
    if op.groups == 1:
        return fold(x, taps, x.ndim + op.channel_dim), op
    dim = x.ndim + op.channel_dim
    grouped = x.unflatten(dim, (op.groups, -1))
    return same_layout(fold(grouped, taps, dim + 1).flatten(dim, dim + 1), x), op


def fold_cost(
    geometry: EpitomeGeometry, states: Sequence[AxisState], op: LayerOp, positions: tuple[int, int]
) -> tuple[int, int]:
    """Multiply-adds and plain additions of folding the input: ``2 C_in HW_i`` or ``C_in HW_i``."""
    entries = geometry.weight_shape[1] * op.groups * positions[0]
    return (2 * entries if states[1] == "fractional" else 0), (entries if states[1] == "integer" else 0)
