"""Compute a layer by sampling its complete weight from the epitome: the execution ``materialize``, which is always available.

Tests: tests/execution/test_conformance.py
"""

from __future__ import annotations

from torch import Tensor

from nes_lab.epitome.sampling import sample_patches
from nes_lab.execution.base import ExecutionCost, LayerForm, LayerOp, Prepared, Taps, sampling_madds, scale_channels
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.records.options import ExecutionName

__all__ = ["Materialize"]


class Materialize:
    """Samples the complete weight from the epitome, then applies one dense operation with it.

    It costs as many multiply-adds as the dense layer.
    """

    name: ExecutionName = "materialize"
    makes_weight = True

    def why_not(self, form: LayerForm) -> str:
        """Return the reason why this execution cannot compute a layer: always empty, because it can compute every layer."""
        return ""

    def prepare(self, epitome: Tensor, taps: Taps, geometry: EpitomeGeometry, scale: Tensor | None = None) -> Prepared:
        """Sample the complete weight from the epitome, and multiply each output channel by its factor in ``scale``."""
        return Prepared(scale_channels(sample_patches(epitome, taps, geometry), scale), taps)

    def run(self, x: Tensor, prepared: Prepared, op: LayerOp, scale: Tensor | None, bias: Tensor | None) -> Tensor:
        """Apply the layer's convolution or matrix product with the sampled weight, which is already scaled, and add the bias."""
        return op(x, prepared.weight, bias)

    def cost(self, form: LayerForm, positions: tuple[int, int]) -> ExecutionCost:
        """Count the multiply-adds of one forward pass: as many as those of the dense layer.

        The multiply-adds of sampling the weight are counted separately, in the field ``weight_madds`` of the result.
        """
        c_out, c_in = form.geometry.weight_shape[:2]
        order = (1, 0, *range(2, len(form.geometry.weight_shape)))
        return ExecutionCost(
            conv_madds=positions[1] * form.geometry.kernel_cells * c_in * c_out,
            weight_madds=sampling_madds(form, order),
        )
