"""Define what every execution (a way to compute an epitome layer) offers, and describe a layer's properties and its cost.

To add an execution, write ``execution/NAME.py`` with a class that follows the protocol :class:`Execution`, and enter an
instance of the class in :data:`nes_lab.execution.registry.EXECUTIONS`. The smallest example is
:mod:`nes_lab.execution.materialize`.

Tests: tests/execution/test_conformance.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from nes_lab.epitome.taps import AxisTaps
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.geometry.flat_geometry import FlatGeometry
from nes_lab.records.options import ExecutionName

__all__ = [
    "CONVS",
    "SAME_TF",
    "AxisState",
    "Execution",
    "ExecutionCost",
    "LayerForm",
    "LayerOp",
    "Prepared",
    "Taps",
    "axis_states",
    "refuse",
    "sampling_madds",
    "scale_channels",
]

AxisState = Literal["identity", "integer", "fractional"]
Taps = Sequence[AxisTaps | None]
CONVS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
SAME_TF = "same_tf"
"""Value of ``padding`` that means TensorFlow's ``SAME``. It differs from torch's ``"same"`` if the stride is not 1."""


@dataclass(frozen=True)
class LayerOp:
    """Applies a weight to an input, as a 1-D, 2-D or 3-D convolution or as a matrix product.

    Args:
        kernel_size: Kernel length along each spatial axis; empty for a linear layer.
        stride, dilation: Stride and dilation of the convolution, one number per spatial axis.
        padding: Number of zeros at each end of each spatial axis, or a word: torch's ``"same"`` or ``"valid"``, or
            :data:`SAME_TF`, TensorFlow's padding. With ``SAME_TF`` an axis of length ``size`` has ``ceil(size / stride)``
            outputs.
        groups: Number of groups of a grouped convolution.
        standardized: True if each output channel's weights are shifted and scaled to mean 0 and variance 1 before use. This
            needs the complete weight.
        reads_all: True if the operation reads every input position; computed from the other fields.
        pointwise: True if each output position depends on the input at the same position only; computed from the other fields.
    """

    kernel_size: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] | str = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    standardized: bool = field(default=False, repr=False)
    reads_all: bool = field(init=False, repr=False, compare=False, default=True)
    pointwise: bool = field(init=False, repr=False, compare=False, default=False)
    _read: tuple[tuple[Any, ...], LayerOp] | None = field(init=False, repr=False, compare=False, default=None)

    @property
    def spatial(self) -> int:
        """Number of spatial axes of the layer's input; 0 for a linear layer."""
        return len(self.kernel_size)

    @property
    def channel_dim(self) -> int:
        """Index of the channel axis of inputs and outputs, counted from the end: -1 for a linear layer, -3 for a 2-D convolution."""
        return -1 - self.spatial

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Apply the convolution or matrix product with a given weight to an input, and add the bias."""
        if self.spatial == 0:
            return F.linear(x, weight, bias)
        padding = self.padding
        if padding == SAME_TF:
            x, padding = F.pad(x, self.zeros_around(x.shape[-self.spatial :])), 0
        return CONVS[self.spatial](x, weight, bias, self.stride, padding, self.dilation, self.groups)

    def zeros_around(self, sizes: Sequence[int]) -> list[int]:
        """Return how many zeros to pad before and after each spatial axis.

        The last axis comes first, as ``F.pad`` expects.
        """
        return [n for axis in reversed(range(self.spatial)) for n in self.zeros_along(axis, sizes[axis])]

    def zeros_along(self, axis: int, size: int) -> tuple[int, int]:
        """Return how many zeros to pad before and after one spatial axis of the given size.

        If the total number of zeros is odd, the end gets one more than the beginning, as in torch and TensorFlow.
        """
        if not isinstance(self.padding, str):
            return self.padding[axis], self.padding[axis]
        reach = self.dilation[axis] * (self.kernel_size[axis] - 1)
        if self.padding == SAME_TF:
            reach = max((self._output_size(size, axis) - 1) * self.stride[axis] + reach + 1 - size, 0)
        total = 0 if self.padding == "valid" else reach
        return total // 2, total - total // 2

    def __post_init__(self) -> None:
        skips = self._skips()
        object.__setattr__(self, "reads_all", all(step == 1 for step in skips))
        padded = self.padding not in ("valid", "same") if isinstance(self.padding, str) else any(self.padding)
        plain = prod(self.kernel_size) == 1 and all(step == 1 for step in self.stride) and not padded
        object.__setattr__(self, "pointwise", plain)
        if not self.reads_all:
            stride = tuple(1 if k > 1 else s for s, k in zip(self.stride, skips, strict=True))
            index = (..., *(slice(None, None, step) for step in skips))
            object.__setattr__(self, "_read", (index, replace(self, stride=stride)))

    def _skips(self) -> tuple[int, ...]:
        """Return a step for each spatial axis. Only every ``step``-th input position along the axis is needed.

        The step is the stride if the kernel size is 1 and nothing is padded. Otherwise it is 1.
        """
        padding = (0,) * self.spatial if isinstance(self.padding, str) else self.padding
        return tuple(
            s if k == 1 and p == 0 else 1 for k, s, p in zip(self.kernel_size, self.stride, padding, strict=True)
        )

    @property
    def read(self) -> LayerOp:
        """The operation to apply to an input from which :meth:`skip_unread` dropped positions."""
        return self if self._read is None else self._read[1]

    @property
    def dropped(self) -> tuple[Any, ...] | None:
        """Index of the input positions that are read; None if all are."""
        return None if self._read is None else self._read[0]

    def skip_unread(self, x: Tensor) -> tuple[Tensor, LayerOp]:
        """Drop the input positions that a convolution with kernel size 1 and a stride above 1 never reads.

        Returns:
            The remaining input, and the operation to apply to it. The operation has stride 1 where positions were dropped.
        """
        if self._read is None:
            return x, self
        index, rest = self._read
        if torch.compiler.is_exporting():  # the same numbers; ONNX Runtime takes much longer for slices with a step
            return POOLS[self.spatial](x, 1, self._skips()), rest
        return x[index], rest

    def positions(self, input_shape: Sequence[int]) -> tuple[int, int]:
        """Return two counts for an input of the given shape: input positions that are read, and output positions.

        A position is one place along the spatial axes, such as a pixel. Both counts are summed over the batch.
        """
        split = len(input_shape) - self.spatial
        lead = prod(input_shape[: split - 1])
        sizes = input_shape[split:]
        read = [
            -(-n // s) for n, s in zip(sizes, self._skips(), strict=True)
        ]  # a list, because dynamo cannot trace a generator here
        return lead * prod(read), lead * prod(self.output_sizes(sizes))

    def output_sizes(self, sizes: Sequence[int]) -> list[int]:
        """Return the length of each spatial axis of the output, for an input whose spatial axes have the given lengths."""
        return [self._output_size(size, axis) for axis, size in enumerate(sizes)]

    def _output_size(self, size: int, axis: int) -> int:
        if self.padding == "same":
            return size
        if self.padding == SAME_TF:
            return -(-size // self.stride[axis])
        padding = 0 if isinstance(self.padding, str) else self.padding[axis]
        reach = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
        return max((size + 2 * padding - reach) // self.stride[axis] + 1, 0)


class LayerForm(NamedTuple):
    """Holds the properties of a layer that decide how it can be computed, and how many operations that takes.

    Args:
        geometry: Shapes of the weight, the epitome and the patches, and the layer's ``scope`` and ``boundary``.
        states: How each weight axis is read from the epitome: ``identity`` (each index reads the cell of the same
            index), ``integer`` (patches begin at whole cells) or ``fractional`` (patches begin between two cells).
        op: The convolution or matrix product that uses the weight.
    """

    geometry: EpitomeGeometry
    states: tuple[AxisState, ...]
    op: LayerOp


def refuse(form: LayerForm, *causes: Literal["joint", "groups"]) -> str:
    """Return the reason why an execution (way to compute a layer) cannot handle a layer; empty if there is no reason.

    A layer that standardizes its weight is always refused, because it needs the complete weight.

    Args:
        form: Properties of the layer.
        causes: What else to refuse. ``joint``: layers with joint or flat scope, where each block of the weight has its own starts.
            ``groups``: grouped layers.

    Returns:
        The reason, as a sentence; empty if the layer is not refused.

    Examples:
        >>> geometry = EpitomeGeometry((8, 4, 1, 1), (4, 4, 1, 1))
        >>> refuse(LayerForm(geometry, ("integer",) * 4, LayerOp((1, 1), (1, 1), (0, 0), (1, 1), groups=2)), "groups")
        'it has groups=2: output patches may cross groups'
    """
    if form.op.standardized:
        return "each output channel's weights are standardized before use, for which the complete weight is needed"
    if "joint" in causes and form.geometry.scope == "flat":
        return "its epitome is flat: each patch is a sum of windows, which share no products"
    if "joint" in causes and form.geometry.scope == "joint":
        return "its scope is 'joint': each block has its own starts, so input channels cannot be folded once for all blocks"
    if "groups" in causes and form.op.groups > 1:
        return f"it has groups={form.op.groups}: output patches may cross groups"
    return ""


@dataclass(frozen=True)
class ExecutionCost:
    """Counts the operations of one forward pass of a layer with one execution.

    Args:
        conv_madds: Multiply-adds of the convolution or matrix product.
        tap_madds: Multiply-adds of the steps before and after it. Before it, input channels that read the same epitome cell
            are added up. After it, results are blended to output channels. These steps take multiply-adds only where patches
            begin between two cells.
        adds: Copies and plain additions in these steps, which are not multiply-adds.
        weight_madds: Multiply-adds of sampling the weight. They are not part of ``madds``, because the copy that
            :func:`nes_lab.for_inference` makes samples the weight once.
    """

    conv_madds: int
    tap_madds: int = 0
    adds: int = 0
    weight_madds: int = 0

    @property
    def madds(self) -> int:
        """Multiply-adds of one forward pass: the sum of ``conv_madds`` and ``tap_madds``."""
        return self.conv_madds + self.tap_madds


class Prepared(NamedTuple):
    """Holds what an execution (a way to compute a layer) prepares without the input. Inference keeps it until a parameter changes.

    Args:
        weight: Tensor that the layer's convolution or matrix product uses as its weight.
        taps: For each weight axis, the epitome cells that each index reads and the factor of each cell. None for an axis where
            each index reads the cell of the same index.
    """

    weight: Tensor
    taps: Taps


class Execution(Protocol):
    """Defines the methods of an execution, which is one way to compute an epitome layer.

    ``run(x, prepare(...), ...)`` returns the same as ``op(x, scale * T(E), bias)``, with the same gradients. ``op`` is
    the layer's convolution or matrix product. ``T(E)`` is the weight that is sampled from the epitome ``E``. ``scale``
    is one factor per output channel, or None for no factor. Each execution multiplies by ``scale`` once, either in
    ``prepare`` or in ``run``.
    """

    name: ExecutionName
    makes_weight: bool
    """True if :meth:`prepare` computes a new tensor, which inference keeps; False if it mostly returns the epitome itself."""

    def why_not(self, form: LayerForm) -> str:
        """Return the reason why this execution cannot compute a layer, as a sentence; empty if it can."""
        ...

    def prepare(self, epitome: Tensor, taps: Taps, geometry: EpitomeGeometry, scale: Tensor | None = None) -> Prepared:
        """Compute the tensor that the convolution or matrix product uses as its weight.

        It is computed from the epitome and from ``taps``: the epitome cells that each weight index reads.
        """
        ...

    def run(self, x: Tensor, prepared: Prepared, op: LayerOp, scale: Tensor | None, bias: Tensor | None) -> Tensor:
        """Compute the layer's output from its input and from the object that :meth:`prepare` returned."""
        ...

    def cost(self, form: LayerForm, positions: tuple[int, int]) -> ExecutionCost:
        """Count the multiply-adds and the plain additions of one forward pass.

        ``positions`` holds the numbers of input and output positions, from :meth:`LayerOp.positions`.
        """
        ...


def scale_channels(weight: Tensor, scale: Tensor | None) -> Tensor:
    """Multiply each output channel of a weight by its factor in ``scale``; if ``scale`` is None, return the weight unchanged.

    The product has the weight's dtype.
    """
    return weight if scale is None else weight * scale.to(weight.dtype).view(-1, *[1] * (weight.ndim - 1))


def axis_states(taps: Taps) -> tuple[AxisState, ...]:
    """Return how each weight axis is read from the epitome: ``identity``, ``integer`` or ``fractional``.

    - ``identity``: each index reads the cell of the same index
    - ``integer``: each index reads one cell, because patches begin at whole cells
    - ``fractional``: each index reads two neighboring cells and blends them

    ``taps`` holds for each axis the cells that are read; None means ``identity``.
    """
    return tuple("identity" if t is None else "fractional" if t.fractional else "integer" for t in taps)


def sampling_madds(form: LayerForm, axes: Sequence[int]) -> int:
    """Count the multiply-adds of sampling a weight from its epitome.

    Integer starts take none. Fractional starts take multiply-adds, because cells are blended:

    - separable scope: the axes are sampled one after the other, and each blended value takes two multiply-adds
    - joint scope: all axes are sampled at once, and each weight takes ``2**f`` multiply-adds, where ``f`` is the number of
      axes with fractional starts
    - flat epitome: each weight takes one multiply-add per window for its factor, and two more for fractional starts

    Args:
        form: Properties of the layer.
        axes: Weight axes to sample, in this order.
    """
    geometry, states = form.geometry, form.states
    if isinstance(geometry, FlatGeometry):
        blends = 2 if states[0] == "fractional" else 0
        return (blends + 1) * geometry.windows * prod(geometry.weight_shape)
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
