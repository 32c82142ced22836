"""Compute one training step of a layer with the execution ``factored`` as a single operation of autograd, on a CPU.

It does what :class:`~nes_lab.execution.factored.Factored` does, with far fewer calls. Small maps of a 1x1 convolution are computed
as one matrix product for all samples. Where it cannot be used, the layer is computed by ``Factored`` itself. Second derivatives
are computed by ``Factored`` too.

Tests: tests/execution/test_factored_step.py, tests/execution/test_conformance.py, tests/nn/test_kept_for_backward.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from nes_lab.epitome.axis_reading import AxisReading, from_columns, to_columns
from nes_lab.epitome.learned_cells import StepStarts
from nes_lab.epitome.slices import channels_inside
from nes_lab.epitome.taps import AxisTaps
from nes_lab.epitome.transforms import recording, transforming
from nes_lab.execution.base import LayerOp
from nes_lab.execution.factored_again import apply_epitome, differentiable_again, learns

__all__ = [
    "FactoredStep",
    "StepRun",
    "as_matrix",
    "factored_step",
    "run_step",
    "step_gradients",
    "step_possible",
]

_DTYPES = (torch.float32, torch.float64)
_PLAIN = (Tensor, nn.Parameter)
_SMALL_MAP, _MOST_COLUMNS = 64, 1024
"""Largest map, and largest number of positions in a batch, that are computed as one matrix product for all samples."""


class FactoredStep(NamedTuple):
    """Holds what one step needs besides tensors.

    Args:
        op: The layer's convolution.
        output, input: How the output and the input channels read the epitome; None: channel ``i`` reads cell ``i``.
        taps: Function that returns the taps of the output axis and of the input axis from the tensors that hold learned starts.
            The gradients of these tensors can be differentiated again.
        starts: The starts of all axes, and how gradients reach them; None if they are not learned.
        drop: Index that drops the input positions that a stride never reads; None: all are read, or they were dropped before.
    """

    op: LayerOp
    output: AxisReading | None
    input: AxisReading | None
    taps: Callable[[Sequence[Tensor]], tuple[AxisTaps | None, AxisTaps | None]]
    starts: StepStarts | None = None
    drop: tuple[Any, ...] | None = None


def step_possible(x: Tensor, epitome: Tensor, op: LayerOp) -> bool:
    """Return True if :func:`factored_step` can compute a layer for an input, here and now."""
    return (
        type(x) in _PLAIN
        and type(epitome) in _PLAIN
        and x.is_cpu
        and epitome.is_cpu
        and x.dtype == epitome.dtype
        and x.dtype in _DTYPES
        and x.ndim == op.spatial + 2
        and op.spatial > 0
        and not isinstance(op.padding, str)
        and epitome.is_contiguous()
        and not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and not transforming()
        and not recording()
        and forward_ad._current_level < 0
        and not torch.is_autocast_enabled("cpu")
        and (x.is_contiguous() or not channels_inside(x))
    )


def factored_step(
    x: Tensor, epitome: Tensor, bias: Tensor | None, step: FactoredStep, learned: Sequence[Tensor] = ()
) -> Tensor:
    """Compute the layer's output with the epitome as the weight, and record gradients.

    Args:
        x: Input of the layer, for which :func:`step_possible` returns True.
        epitome: The epitome.
        bias: One number per output channel; None: no bias.
        step: How the channels read the epitome.
        learned: Tensors that hold learned starts.
    """
    return _Step.apply(x.contiguous(), epitome, bias, step, *learned)[0]  # type: ignore[no-any-return, index]


def as_matrix(op: LayerOp, shape: Sequence[int]) -> bool:
    """Return True if a convolution of an input of the given shape is computed as one matrix product for all samples."""
    positions = prod(shape[2:])
    return op.pointwise and positions <= _SMALL_MAP and 0 < shape[0] * positions <= _MOST_COLUMNS


def _by_weight(step: FactoredStep) -> bool:
    """Return True if gradients of starts and epitome are computed from the gradient of the complete weight.

    For 1x1 convolutions of large maps the weight is much smaller than the maps. So the products of each start are computed from the
    weight, and only the input is kept for the backward pass, as for a dense layer.
    """
    return step.starts is not None and step.op.pointwise


class StepRun(NamedTuple):
    """Holds what one step computed, and what its gradients may need.

    Args:
        y: The layer's output.
        folded: The folded input; the input itself if its channels are not folded.
        products: The folded input times the epitome.
        matrix: True if the step was computed as one matrix product for all samples.
        by_weight: True if gradients of epitome and starts are computed from the gradient of the complete weight.
        shape: Shape of the part of the input that the step reads.
        sizes: Lengths of the spatial axes of the output.
    """

    y: Tensor
    folded: Tensor
    products: Tensor
    matrix: bool
    by_weight: bool
    shape: torch.Size
    sizes: torch.Size


def run_step(x: Tensor, epitome: Tensor, bias: Tensor | None, step: FactoredStep) -> StepRun:
    """Compute the layer's output with the epitome as the weight. No gradient is recorded."""
    x = _read(step, x)
    matrix = as_matrix(step.op, x.shape)
    dim, channels = (0, to_columns(x)) if matrix else (1, x)
    folded = channels if step.input is None else step.input.fold(channels, dim)
    products = apply_epitome(step.op, folded, epitome, bias if step.output is None else None, matrix).contiguous()
    sizes = x.shape[2:] if matrix else products.shape[2:]
    y = products if step.output is None else step.output.expand(products, dim)
    y = from_columns(y, x.shape[0], sizes) if matrix else y
    if bias is not None and step.output is not None:
        y.add_(bias.view(-1, *[1] * len(sizes)))
    if y._is_view():  # autograd lets no one write into such an output, as nn.ReLU(inplace=True) does
        y = torch.empty(0, dtype=y.dtype).set_(y)  # type: ignore[arg-type]  # a tensor is a source too
    return StepRun(y, folded, products, matrix, not matrix and _by_weight(step), x.shape, sizes)


class _Step(torch.autograd.Function):
    """Folds the input, applies the epitome, and expands the result; with the gradients of all three, in one backward pass.

    The folded input is an output too, so that the gradient of the epitome can be differentiated with respect to the input. So are starts
    that are predicted from the input.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, epitome: Tensor, bias: Tensor | None, step: FactoredStep, *learned: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        found = run_step(x, epitome, bias, step)
        ctx.step, ctx.matrix, ctx.shape, ctx.sizes, ctx.whole = step, found.matrix, found.shape, found.sizes, x.shape
        ctx.by_weight = found.by_weight
        ctx.set_materialize_grads(False)
        starts = None if step.starts is None or step.starts.prediction is None else torch.from_numpy(step.starts.values)
        _save(ctx, x, found.folded, found.products, epitome, bias, starts, learned)
        return found.y, None if step.input is None or ctx.by_weight else found.folded, starts

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, grad: Tensor | None, of_folded: Tensor | None = None, of_starts: Tensor | None = None
    ) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            return differentiable_again(ctx, grad, of_folded, of_starts)
        return step_gradients(ctx, grad, of_folded, of_starts)


def step_gradients(
    ctx: Any, grad: Tensor | None, of_folded: Tensor | None = None, of_starts: Tensor | None = None
) -> tuple[Tensor | None, ...]:
    """Compute the gradients of one step from that of its output.

    Args:
        ctx: What was kept of the step, with the attributes that :class:`_Step` gives its context.
        grad: Gradient of the output.
        of_folded: Gradient of the folded input, from another place.
        of_starts: Gradient of the starts, from another place.

    Returns:
        The gradients of input, epitome and bias, None, then those of the tensors that hold learned starts.
    """
    x, folded, products, epitome, _, _, *learned = ctx.saved_tensors
    step, needed = ctx.step, ctx.needs_input_grad
    x = None if x is None else _read(step, x)
    gradients = _StartGradients(step, learned, of_starts)
    of_epitome = of_bias = None
    if grad is not None:
        channels, dim = grad.contiguous(), 1
        of_bias = channels.sum((0, *range(2, grad.ndim))) if needed[2] else None
        if ctx.by_weight and x is not None:  # it is always kept then
            return _gradients_by_weight(ctx, channels, x, epitome, of_bias, gradients)
        if ctx.matrix:
            channels, dim = to_columns(channels), 0
        of_products = channels if step.output is None else step.output.fold(channels, dim)
        if products is not None and step.output is not None:
            gradients.add(0, step.output, channels, products, dim)
        if step.input is None and x is not None:
            folded = to_columns(x) if ctx.matrix else x
        found, of_weight = _product_gradients(ctx, of_products, folded, epitome)
        of_epitome = of_weight if needed[1] else None
        of_folded = found if of_folded is None else of_folded + found
    of_input = None if of_folded is None else _input_gradient(ctx, of_folded, x, gradients)
    if of_input is None and of_starts is not None and needed[0]:
        of_input = torch.zeros(ctx.shape, dtype=of_starts.dtype)
    of_input = _of_whole(ctx, of_input)
    return of_input, of_epitome, of_bias, None, *gradients.finish(of_input)


def _read(step: FactoredStep, x: Tensor) -> Tensor:
    """Return the part of the layer's input that it reads."""
    return x if step.drop is None else x[step.drop].contiguous()


def _of_whole(ctx: Any, of_input: Tensor | None) -> Tensor | None:
    """Return the gradient of the layer's input from that of the part that it reads."""
    if of_input is None or ctx.step.drop is None:
        return of_input
    whole = of_input.new_zeros(ctx.whole)
    whole[ctx.step.drop] = of_input
    return whole


def _save(
    ctx: Any,
    x: Tensor,
    folded: Tensor,
    products: Tensor,
    epitome: Tensor,
    bias: Tensor | None,
    starts: Tensor | None,
    learned: Sequence[Tensor],
) -> None:
    """Keep what the backward pass needs: the input only for learned input starts, the products only for learned output starts."""
    step, learned_here = ctx.step, learns(ctx)
    if ctx.by_weight:
        ctx.save_for_backward(x, None, None, epitome, bias, starts, *learned)
        return
    of_input, of_output = learned_here and step.input is not None, learned_here and step.output is not None
    kept = folded if ctx.needs_input_grad[1] or of_output else None
    if step.input is None and kept is not None:  # x itself, as columns if it is a matrix
        of_input, kept = True, None
    ctx.save_for_backward(
        x if of_input else None, kept, products if of_output else None, epitome, bias, starts, *learned
    )


class _StartGradients:
    """Collects the gradients of the factors of both channel axes, and turns them into those of the tensors that hold starts."""

    def __init__(self, step: FactoredStep, learned: Sequence[Tensor], of_starts: Tensor | None) -> None:
        self.starts, self.learned, self.of_starts = step.starts, learned, of_starts
        self.found: dict[int, np.ndarray] = {}

    def add(self, axis: int, reading: AxisReading, channels: Tensor, cells: Tensor, dim: int) -> None:
        """Add the gradient of the factors of one axis, from a tensor of channels and a tensor of cells."""
        self.found[axis] = reading.dots(channels, cells, dim)

    def finish(self, of_input: Tensor | None) -> list[Tensor | None]:
        """Return the gradients of the tensors. Add what reaches the layer's input through predicted starts to its gradient."""
        starts, learned = self.starts, self.learned
        if starts is None:
            return []
        layout = starts.cells.layout
        found = starts.gradient([self.found.get(axis) for axis in layout.axes])
        if self.of_starts is not None:
            found = self.of_starts.numpy() if found is None else found + self.of_starts.numpy()
        if found is None:
            return [None] * len(learned)
        if starts.prediction is not None:
            gradients, of_hidden = starts.prediction.gradients(found, learned)
            if of_input is not None:
                starts.prediction.add_to_input_(of_input, of_hidden, learned)
            return gradients  # type: ignore[return-value]
        parts = zip(layout.axes, layout.patches, learned, strict=True)
        return [_like(torch.from_numpy(found[part]), t) if axis in self.found else None for axis, part, t in parts]


def _like(gradient: Tensor, tensor: Tensor) -> Tensor:
    return gradient if gradient.dtype == tensor.dtype else gradient.to(tensor.dtype)


def _product_gradients(ctx: Any, grad: Tensor, folded: Tensor | None, epitome: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of the folded input and of the epitome, from the gradient of their product."""
    op = ctx.step.op
    if ctx.matrix:
        weight, columns = epitome.view(epitome.shape[0], -1), grad
        of_weight = None if folded is None else torch.mm(columns, _transposed(folded)).view(epitome.shape)
        return torch.mm(_transposed(weight), columns), of_weight
    shape = (ctx.shape[0], epitome.shape[1], *ctx.shape[2:])
    found, of_weight, _ = torch.ops.aten.convolution_backward(
        grad,
        grad.new_empty(()).expand(shape) if folded is None else folded,
        epitome,
        None,
        op.stride,
        op.padding,
        op.dilation,
        False,
        [0] * op.spatial,
        1,
        (True, folded is not None, False),
    )
    return found, of_weight


def _input_gradient(ctx: Any, of_folded: Tensor, x: Tensor | None, gradients: _StartGradients) -> Tensor | None:
    """Return the gradient of the layer's input, and add that of its starts, from the gradient of the folded input."""
    axis, dim, cells = ctx.step.input, 0 if ctx.matrix else 1, of_folded.contiguous()
    if axis is not None and ctx.step.starts is not None and x is not None:
        gradients.add(1, axis, to_columns(x) if ctx.matrix else x, cells, dim)
    if not ctx.needs_input_grad[0]:
        return None
    channels = cells if axis is None else axis.expand(cells, dim)
    return from_columns(channels, ctx.shape[0], ctx.shape[2:]) if ctx.matrix else channels


def _gradients_by_weight(
    ctx: Any, grad: Tensor, x: Tensor, epitome: Tensor, of_bias: Tensor | None, gradients: _StartGradients
) -> tuple[Tensor | None, ...]:
    """Return all gradients. Those of epitome and starts are computed from the gradient of the complete weight."""
    (output, input), needed, op = ctx.step[1:3], ctx.needs_input_grad, ctx.step.op
    settings = (None, op.stride, op.padding, op.dilation, False, [0] * op.spatial, 1)
    backward = torch.ops.aten.convolution_backward
    of_input = of_epitome = None
    if needed[0]:
        of_products = grad if output is None else output.fold(grad, 1)
        folded = grad.new_empty(()).expand((x.shape[0], epitome.shape[1], *x.shape[2:]))
        of_input = backward(of_products, folded, epitome, *settings, (True, False, False))[0].contiguous()
        of_input = of_input if input is None else input.expand(of_input, 1)
    if needed[1] or learns(ctx):
        weight = grad.new_empty((grad.shape[1], x.shape[1], *op.kernel_size))
        weight = backward(grad, x, weight, *settings, (False, True, False))[1].view(grad.shape[1], x.shape[1])
        cells = epitome.view(epitome.shape[0], -1)
        by_cell = weight if input is None else _turned(input.fold(_turned(weight), 0))
        of_epitome = by_cell if output is None else output.fold(by_cell, 0)
        if output is not None:
            gradients.add(0, output, by_cell, cells, 0)
        if input is not None:
            rows = weight if output is None else output.fold(weight, 0)
            gradients.add(1, input, _turned(rows), _turned(cells), 0)
    of_epitome = of_epitome.view(epitome.shape) if of_epitome is not None and needed[1] else None
    of_input = _of_whole(ctx, of_input)
    return of_input, of_epitome, of_bias, None, *gradients.finish(of_input)


def _turned(matrix: Tensor) -> Tensor:
    return torch.empty((matrix.shape[1], matrix.shape[0]), dtype=matrix.dtype).copy_(_transposed(matrix))


def _transposed(matrix: Tensor) -> Tensor:
    rows, columns = matrix.shape
    return matrix.as_strided((columns, rows), (1, columns), matrix.storage_offset())
