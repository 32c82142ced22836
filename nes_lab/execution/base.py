"""What an execution plan is: the layer's operation, the cost record and the protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Literal, Protocol

import torch.nn.functional as F
from torch import Tensor

from nes_lab.epitome.taps import AxisTaps
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = [
    "CONVS",
    "NEEDS_WHOLE_WEIGHT",
    "SAME_TF",
    "AxisState",
    "ExecutionPlan",
    "LayerOp",
    "PlanCost",
    "Taps",
    "axis_states",
    "sampling_madds",
    "scale_rows",
]

AxisState = Literal["identity", "integer", "fractional"]
Taps = Sequence[AxisTaps | None]
CONVS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
NEEDS_WHOLE_WEIGHT = "its weight is standardized row by row before use, which takes the whole weight"
SAME_TF = "same_tf"
"""The padding of TensorFlow's ``SAME``; torch's ``"same"`` differs from it where the stride is not 1."""


@dataclass(frozen=True)
class LayerOp:
    """The linear operation a layer performs with a weight: a convolution in 1-D, 2-D or 3-D, or a matrix product.

    Args:
        kernel_size: ``K``; empty for a linear layer.
        stride, dilation: As torch, one number per spatial axis.
        padding: As torch: one number per spatial axis, or ``"same"`` or ``"valid"``; or :data:`SAME_TF`, TensorFlow's padding,
            which follows the input's size so that there are ``ceil(size / stride)`` outputs.
        groups: As torch.
        standardized: Whether each row of the weight is standardized before use (by the layer), so that the weight must be whole.
        reads_all: Whether every input position is read; follows from the others.
    """

    kernel_size: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] | str = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    standardized: bool = field(default=False, repr=False)
    reads_all: bool = field(init=False, repr=False, compare=False, default=True)

    @property
    def spatial(self) -> int:
        """Number of spatial axes: 0 for a linear layer."""
        return len(self.kernel_size)

    @property
    def channel_dim(self) -> int:
        """Axis of the channels, counted from the end."""
        return -1 - self.spatial

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Run the operation with a given weight."""
        if self.spatial == 0:
            return F.linear(x, weight, bias)
        padding = self.padding
        if padding == SAME_TF:
            x, padding = F.pad(x, self.zeros_around(x.shape[-self.spatial :])), 0
        return CONVS[self.spatial](x, weight, bias, self.stride, padding, self.dilation, self.groups)

    def zeros_around(self, sizes: Sequence[int]) -> list[int]:
        """Zeros before and after each spatial axis of an input, the last axis first, as ``F.pad`` takes them."""
        return [n for axis in reversed(range(self.spatial)) for n in self.zeros_along(axis, sizes[axis])]

    def zeros_along(self, axis: int, size: int) -> tuple[int, int]:
        """Zeros before and after one spatial axis; an odd one stands at the end, as in torch and TensorFlow."""
        if not isinstance(self.padding, str):
            return self.padding[axis], self.padding[axis]
        reach = self.dilation[axis] * (self.kernel_size[axis] - 1)
        if self.padding == SAME_TF:
            reach = max((self._output_size(size, axis) - 1) * self.stride[axis] + reach + 1 - size, 0)
        total = 0 if self.padding == "valid" else reach
        return total // 2, total - total // 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "reads_all", all(step == 1 for step in self._skips()))

    def _skips(self) -> tuple[int, ...]:
        """Per spatial axis, the step at which positions are read: above 1 only for an unpadded kernel of size 1."""
        padding = (0,) * self.spatial if isinstance(self.padding, str) else self.padding
        return tuple(
            s if k == 1 and p == 0 else 1 for k, s, p in zip(self.kernel_size, self.stride, padding, strict=True)
        )

    def skip_unread(self, x: Tensor) -> tuple[Tensor, LayerOp]:
        """Drop input positions that a strided kernel of size 1 never reads, so that a fold does not pay for them."""
        if self.reads_all:
            return x, self
        skips = self._skips()
        for axis, step in enumerate(skips):
            x = x[(..., slice(None, None, step), *[slice(None)] * (self.spatial - 1 - axis))]
        return x, replace(self, stride=tuple(1 if k > 1 else s for s, k in zip(self.stride, skips, strict=True)))

    def positions(self, input_shape: Sequence[int]) -> tuple[int, int]:
        """Input positions read and output positions, over the whole batch (``HW_i`` and ``HW_o`` times the batch)."""
        split = len(input_shape) - self.spatial
        lead = prod(input_shape[: split - 1])
        sizes = input_shape[split:]
        read = [
            -(-n // s) for n, s in zip(sizes, self._skips(), strict=True)
        ]  # lists: dynamo cannot trace generators here
        out = [self._output_size(n, i) for i, n in enumerate(sizes)]
        return lead * prod(read), lead * prod(out)

    def _output_size(self, size: int, axis: int) -> int:
        if self.padding == "same":
            return size
        if self.padding == SAME_TF:
            return -(-size // self.stride[axis])
        padding = 0 if isinstance(self.padding, str) else self.padding[axis]
        reach = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
        return max((size + 2 * padding - reach) // self.stride[axis] + 1, 0)


@dataclass(frozen=True)
class PlanCost:
    """What one forward of a layer costs under an execution plan.

    Args:
        conv_madds: Multiply-adds of the convolution or matrix product that runs.
        tap_madds: Multiply-adds of fractional folds and expansions on activations.
        adds: Copies and additions of integer folds and expansions; not multiply-adds.
        weight_madds: Multiply-adds to build the weight; cached at inference and not part of ``madds``.
    """

    conv_madds: int
    tap_madds: int = 0
    adds: int = 0
    weight_madds: int = 0

    @property
    def madds(self) -> int:
        """Multiply-adds of a forward: convolution plus fractional taps."""
        return self.conv_madds + self.tap_madds


class ExecutionPlan(Protocol):
    """A way to compute an epitome layer.

    Law: ``run(x, prepare(...), ...)`` returns what ``op(x, scale * T(E), bias)`` returns, with the same gradients; ``scale`` is one
    factor per output channel or None. A plan applies it in ``prepare`` or after its gather of output channels.
    """

    name: str

    def why_not(self, geometry: EpitomeGeometry, states: Sequence[AxisState], op: LayerOp) -> str | None:
        """Why the plan cannot run this layer, or None when it can."""
        ...

    def prepare(self, epitome: Tensor, taps: Taps, geometry: EpitomeGeometry, scale: Tensor | None = None) -> Tensor:
        """The tensor the operation runs with; does not depend on the input, so it is cached at inference."""
        ...

    def run(
        self,
        x: Tensor,
        prepared: Tensor,
        taps: Taps,
        bias: Tensor | None,
        op: LayerOp,
        scale: Tensor | None = None,
    ) -> Tensor:
        """Compute the layer."""
        ...

    def cost(
        self, geometry: EpitomeGeometry, states: Sequence[AxisState], op: LayerOp, positions: tuple[int, int]
    ) -> PlanCost:
        """Count the layer; ``positions`` as :meth:`LayerOp.positions` gives them."""
        ...


def scale_rows(weight: Tensor, scale: Tensor | None) -> Tensor:
    """``scale * weight`` along the output axis, in the weight's dtype."""
    return weight if scale is None else weight * scale.to(weight.dtype).view(-1, *[1] * (weight.ndim - 1))


def axis_states(taps: Taps) -> tuple[AxisState, ...]:
    """State of each weight axis as the taps show it."""
    return tuple("identity" if t is None else "fractional" if t.fractional else "integer" for t in taps)


def sampling_madds(geometry: EpitomeGeometry, states: Sequence[AxisState], axes: Sequence[int]) -> int:
    """Multiply-adds to sample the given axes of the weight, in the order the sampler takes them: two per fractional read."""
    if geometry.scope == "joint":
        fractional = sum(states[a] == "fractional" for a in axes)
        return 2**fractional * prod(geometry.weight_shape) if fractional else 0
    shape = list(geometry.epitome_shape)
    total = 0
    for axis in axes:
        shape[axis] = geometry.weight_shape[axis]
        if states[axis] == "fractional":
            total += 2 * prod(shape)
    return total
