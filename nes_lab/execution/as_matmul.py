"""Compute a 1x1 convolution as a matrix product. It is a variant of other executions, with equal multiply-adds.

The input of shape ``(C, H, W)`` is viewed as a matrix of shape ``(C, H*W)``. On a CPU, a convolution rearranges its input and output in
memory, which a matrix product does not. Which is faster depends on shape and batch size; :func:`nes_lab.tune` measures both.

Tests: tests/execution/test_conformance.py
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from nes_lab.epitome.sampling import expand
from nes_lab.execution.base import Execution, ExecutionCost, LayerForm, LayerOp, Prepared, Taps
from nes_lab.execution.wrapped import fold_input
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.records.options import ExecutionName

__all__ = ["AsMatmul"]


class AsMatmul:
    """Computes what another execution computes, with a matrix product in place of the 1x1 convolution.

    Args:
        inner: The execution: ``materialize``, ``wrapped`` or ``factored``.
    """

    name: ExecutionName
    makes_weight: bool

    def __init__(self, inner: Execution) -> None:
        self.inner = inner
        self.name = cast(ExecutionName, f"{inner.name}_matmul")
        self.makes_weight = inner.makes_weight

    def why_not(self, form: LayerForm) -> str:
        """Return the reason why this execution cannot compute a layer; empty if it can.

        It refuses what the other execution refuses, and all layers except 1x1 convolutions without groups and padding.
        """
        op = form.op
        padded = not isinstance(op.padding, str) and any(op.padding)
        if op.spatial == 0 or any(size > 1 for size in op.kernel_size) or padded or op.groups > 1:
            return "it is not a 1x1 convolution without groups and padding, which would be a matrix product"
        return self.inner.why_not(form)

    def prepare(self, epitome: Tensor, taps: Taps, geometry: EpitomeGeometry, scale: Tensor | None = None) -> Prepared:
        """Return what the other execution prepares."""
        return self.inner.prepare(epitome, taps, geometry, scale)

    def run(self, x: Tensor, prepared: Prepared, op: LayerOp, scale: Tensor | None, bias: Tensor | None) -> Tensor:
        """Compute the layer's output, as the other execution does, with a matrix product."""
        weight, taps = prepared
        if self.inner.name != "materialize":
            x, op = fold_input(x, taps[1], op)
        x, op = op.skip_unread(x)
        if self.inner.name != "factored" or taps[0] is None:
            return _product(x, weight, bias, op.spatial)
        y = _product(x, weight, None, op.spatial)
        return expand(y, taps[0], y.ndim + op.channel_dim, scale, bias)

    def cost(self, form: LayerForm, positions: tuple[int, int]) -> ExecutionCost:
        """Count the multiply-adds of one forward pass: as many as those of the other execution."""
        return self.inner.cost(form, positions)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, spatial: int) -> Tensor:
    """Multiply the channels of an input with the weight of a 1x1 convolution, at every position, and add the bias."""
    if x.ndim == spatial + 1:  # one example without a batch axis
        return _product(x.unsqueeze(0), weight, bias, spatial).squeeze(0)
    matrix = weight.flatten(1)
    if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        return F.linear(x.permute(0, 2, 3, 1), matrix, bias).permute(0, 3, 1, 2)
    flat = x.flatten(2)
    many = matrix.expand(x.shape[0], *matrix.shape)
    y = torch.bmm(many, flat) if bias is None else torch.baddbmm(bias.view(1, -1, 1), many, flat)
    return y.view(x.shape[0], matrix.shape[0], *x.shape[2:])
