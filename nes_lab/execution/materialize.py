"""The execution ``materialize``: sample the complete weight, then one dense operation. Always available.

Tests: tests/execution/test_conformance.py
"""

from __future__ import annotations

from torch import Tensor

from nes_lab.epitome.sampling import sample_patches
from nes_lab.execution.base import ExecutionCost, LayerForm, LayerOp, Prepared, Taps, sampling_madds, scale_channels
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["Materialize"]


class Materialize:
    """Compute ``op(x, T(E))``. It costs what the dense layer costs, ``HW_o k (C_in/groups) C_out``."""

    name = "materialize"

    def why_not(self, form: LayerForm) -> str:
        """Return an empty string: every layer can be computed so."""
        return ""

    def prepare(self, epitome: Tensor, taps: Taps, geometry: EpitomeGeometry, scale: Tensor | None = None) -> Prepared:
        """Sample the complete weight."""
        return Prepared(scale_channels(sample_patches(epitome, taps, geometry), scale), taps)

    def run(self, x: Tensor, prepared: Prepared, op: LayerOp, scale: Tensor | None, bias: Tensor | None) -> Tensor:
        """Apply the operation."""
        return op(x, prepared.weight, bias)

    def cost(self, form: LayerForm, positions: tuple[int, int]) -> ExecutionCost:
        """Count ``HW_o k (C_in/groups) C_out``."""
        c_out, c_in = form.geometry.weight_shape[:2]
        order = (1, 0, *range(2, len(form.geometry.weight_shape)))
        return ExecutionCost(
            conv_madds=positions[1] * form.geometry.kernel_cells * c_in * c_out,
            weight_madds=sampling_madds(form, order),
        )
