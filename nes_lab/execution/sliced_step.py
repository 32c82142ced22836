"""Compute a layer with the execution ``factored``, where a rule sets the starts and both channel axes are read in a few slices.

Then nothing but the epitome, the bias and the input has numbers that change. So the steps are prepared once for each input shape, and
read the layer's tensors at each call. They are torch operations that record their gradients themselves: a training step takes less
time than with a function of autograd that is written in Python.

Tests: tests/execution/test_sliced_step.py, tests/execution/test_conformance.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nes_lab.epitome.empty_copy import EmptyCopy
from nes_lab.epitome.slices import SlicePieces, slice_pieces
from nes_lab.execution.base import CONVS, LayerOp, Taps

__all__ = ["SlicedStep", "SlicedSteps", "sliced_step"]

SlicedStep = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Computes a layer's output from input, epitome and bias."""

_PLAIN = (Tensor, nn.Parameter)
_MAX_SHAPES = 64


def sliced_step(op: LayerOp, taps: Taps) -> SlicedStep | None:
    """Return the steps of a layer whose channel axes are read in slices; None if they are not, or if it is not a plain convolution.

    Args:
        op: The layer's operation.
        taps: The cells that each weight axis reads; None: index ``i`` reads cell ``i``.
    """
    if op.spatial == 0 or op.groups > 1 or isinstance(op.padding, str):
        return None
    axes = [None if t is None or t.slices is None else slice_pieces(t.slices, t.cells) for t in taps[:2]]
    if any(t is not None and pieces is None for t, pieces in zip(taps, axes, strict=False)):
        return None
    (output, input), read, reads_all = axes, op.read, op.reads_all
    conv, stride, padding, dilation = CONVS[op.spatial], read.stride, read.padding, read.dilation

    def step(x: Tensor, epitome: Tensor, bias: Tensor | None) -> Tensor:
        x = x if reads_all else op.skip_unread(x)[0]
        if input is not None:
            x = input.fold(x, 1)
        if output is None:
            return conv(x, epitome, bias, stride, padding, dilation)
        y = conv(x, epitome, None, stride, padding, dilation)
        return output.expand(y, 1) if bias is None else _expanded(y, output, bias)

    return step


def _expanded(y: Tensor, output: SlicePieces, bias: Tensor) -> Tensor:
    """Expand the output channels, and add the bias."""
    bias, ones = bias if bias.dtype == y.dtype else bias.to(y.dtype), [1] * (y.ndim - 2)
    if len(output.cells) > 1 or not y.is_contiguous():
        return output.expand(y, 1) + bias.view(-1, *ones)
    copies = bias.view(len(output.reads), output.cells[0], *ones)
    return (y.unsqueeze(1) + copies).flatten(1, 2)  # copies and adds in one pass


class _Kept(NamedTuple):
    routing: nn.Module
    op: LayerOp
    steps: dict[torch.Size, SlicedStep | None]


class SlicedSteps(EmptyCopy):
    """Keeps the steps of one layer, by the shape of the input. A copied or unpickled one is empty."""

    def __init__(self) -> None:
        self._kept: _Kept | None = None

    def find(self, x: Tensor, layer: nn.Module) -> SlicedStep | None:
        """Return the steps for an input, if they are kept and the layer still computes with its own epitome and bias.

        Args:
            x: Input of the layer.
            layer: The layer, with the submodule ``routing``, the buffer ``scale`` and the attribute ``op``.
        """
        kept = self._kept
        if kept is None or type(x) not in _PLAIN or torch._C._get_tracing_state() is not None:
            return None
        held = layer._parameters  # without epitome or bias in it if they are pruned or parametrized
        if "epitome" not in held or "bias" not in held or layer._buffers.get("scale") is not None:
            return None
        if layer._modules.get("routing") is not kept.routing or vars(layer)["op"] is not kept.op:
            return None
        return kept.steps.get(x.shape)

    def keep(self, x: Tensor, layer: Any, taps: Callable[[], Taps]) -> None:
        """Make and keep the steps for inputs like ``x``, if the layer is read in slices. Otherwise this is kept, and not tried again.

        Args:
            x: Input of the layer.
            layer: The layer.
            taps: Function that returns the cells that each weight axis reads, set by a rule.
        """
        kept, steps = self._kept, {}
        if kept is not None and kept.routing is layer.routing and kept.op is layer.op and len(kept.steps) < _MAX_SHAPES:
            steps = kept.steps
        if x.shape not in steps:
            self._kept = _Kept(layer.routing, layer.op, {**steps, x.shape: sliced_step(layer.op, taps())})

    def clear(self) -> None:
        """Drop all kept steps."""
        self._kept = None
