"""The plan ``materialize``: build the weight, then one dense operation. Always available."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from nes_lab.epitome.sampling import sample_patches
from nes_lab.execution.base import AxisState, LayerOp, PlanCost, Taps, sampling_madds, scale_rows
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["Materialize"]


class Materialize:
    """``op(x, T(E))``: costs what the dense layer costs, ``HW_o k (C_in/groups) C_out``."""

    name = "materialize"

    def why_not(self, geometry: EpitomeGeometry, states: Sequence[AxisState], op: LayerOp) -> str | None:
        """Never refused."""
        return None

    def prepare(self, epitome: Tensor, taps: Taps, geometry: EpitomeGeometry, scale: Tensor | None = None) -> Tensor:
        """The whole weight."""
        return scale_rows(sample_patches(epitome, taps, geometry), scale)

    def run(
        self,
        x: Tensor,
        prepared: Tensor,
        taps: Taps,
        bias: Tensor | None,
        op: LayerOp,
        scale: Tensor | None = None,
    ) -> Tensor:
        """One dense operation."""
        return op(x, prepared, bias)

    def cost(
        self, geometry: EpitomeGeometry, states: Sequence[AxisState], op: LayerOp, positions: tuple[int, int]
    ) -> PlanCost:
        """``HW_o k (C_in/groups) C_out``."""
        c_out, c_in = geometry.weight_shape[:2]
        order = (1, 0, *range(2, len(geometry.weight_shape)))
        return PlanCost(
            conv_madds=positions[1] * geometry.kernel_cells * c_in * c_out,
            weight_madds=sampling_madds(geometry, states, order),
        )
