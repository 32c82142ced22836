"""Compute the gradients of a factored training step by differentiable operations, so that they can be differentiated again.

Tests: tests/execution/test_factored_step.py
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from nes_lab.epitome.sampling import expand, fold
from nes_lab.execution.base import CONVS, LayerOp

__all__ = ["apply_epitome", "differentiable_again", "learns"]


def apply_epitome(op: LayerOp, folded: Tensor, epitome: Tensor, bias: Tensor | None, matrix: bool) -> Tensor:
    """Apply the epitome to the folded input: as one matrix product for all samples, or as the layer's convolution."""
    if matrix:
        weight = epitome.view(epitome.shape[0], -1)
        return torch.mm(weight, folded) if bias is None else torch.addmm(bias.view(-1, 1), weight, folded)
    return CONVS[op.spatial](folded, epitome, bias, op.stride, op.padding, op.dilation)


def learns(ctx: Any) -> bool:
    """Return True if a gradient must reach the starts, or the input through starts that are predicted from it."""
    starts, needed = ctx.step.starts, ctx.needs_input_grad
    return starts is not None and (any(needed[4:]) or (needed[0] and starts.prediction is not None))


def differentiable_again(
    ctx: Any, grad: Tensor | None, of_folded: Tensor | None, of_starts: Tensor | None
) -> tuple[Tensor | None, ...]:
    """Compute the gradients by differentiable operations, so that they can be differentiated again."""
    x, _, _, _, _, starts, *learned = ctx.saved_tensors
    needed, learned = ctx.needs_input_grad, [tensor.view_as(tensor) for tensor in learned]
    if starts is None or not learns(ctx):
        return _differentiable(ctx, grad, of_folded, learned, needed)
    predicted, x = [starts.view_as(starts)], x.view_as(x)
    of_input, *others, found = _differentiable(ctx, grad, of_folded, predicted, (*needed[:4], True))
    if found is not None:
        of_starts = found if of_starts is None else of_starts + found
    sums, inputs = _Sums(), {4 + i: table for i, table in enumerate(learned)} | {0: x}
    if of_input is not None:
        sums.totals[0] = of_input
    if of_starts is not None:
        again = ctx.step.starts.prediction.differentiable(x, learned)
        sums.add(again, {i: t for i, t in inputs.items() if needed[i]}, of_starts)
    return sums.totals.get(0), *others, *(sums.totals.get(4 + i) for i in range(len(learned)))


def _differentiable(
    ctx: Any, grad: Tensor | None, of_folded: Tensor | None, learned: Sequence[Tensor], needed: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Compute the gradients for starts that come from the tensors ``learned``; ``needed`` says which inputs of the operation need one."""
    of_input, *others = _of_read(ctx, grad, of_folded, learned, needed)
    if of_input is not None and ctx.step.drop is not None:
        whole = of_input.new_zeros(ctx.whole).requires_grad_()
        (of_input,) = torch.autograd.grad(whole[ctx.step.drop], whole, of_input, create_graph=True)
    return of_input, *others


def _of_read(
    ctx: Any, grad: Tensor | None, of_folded: Tensor | None, learned: Sequence[Tensor], needed: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Compute them with the gradient of the part of the input that the layer reads."""
    whole, folded, _, epitome, bias, *_ = ctx.saved_tensors
    step, found = ctx.step, _Sums()
    # views, so that a gradient does not also reach a tensor through the layers before this one, which may share it
    epitome = epitome.view_as(epitome)
    folded, bias = (None if tensor is None else tensor.view_as(tensor) for tensor in (folded, bias))
    x = None if whole is None else whole.view_as(whole) if step.drop is None else whole[step.drop]
    output, input = step.taps(learned)
    wanted = {1: epitome, 2: bias} | {4 + i: table for i, table in enumerate(learned)}
    wanted = {i: t for i, t in wanted.items() if needed[i]}
    if ctx.by_weight and grad is not None and x is not None:
        wanted |= {-1: x} if x.requires_grad else {}
        y = x if input is None else fold(x, input, 1)
        y = apply_epitome(step.op, y, epitome, bias if output is None else None, False)
        found.add(y if output is None else expand(y, output, 1, None, bias), wanted, grad)
        return found.totals.get(-1), *(found.totals.get(i) for i in range(1, len(needed)))
    if grad is not None:
        source = x if step.input is None else folded
        if source is None:  # the gradients do not depend on its values
            shape = (epitome.shape[1], ctx.shape[0] * prod(ctx.sizes)) if ctx.matrix else None
            source = grad.new_zeros(shape or (ctx.shape[0], epitome.shape[1], *ctx.shape[2:])).requires_grad_()
        columns = _to_matrix(source) if ctx.matrix and step.input is None else source
        y = apply_epitome(step.op, columns, epitome, bias if output is None else None, ctx.matrix)
        if output is not None:
            y = expand(y, output, 0 if ctx.matrix else 1, None, bias)
        y = _from_matrix(y, ctx) if ctx.matrix else y
        found.add(y, wanted | ({-1: source} if source.requires_grad else {}), grad)
    of_source = found.totals.pop(-1, None)
    if step.input is None:
        return of_source, *(found.totals.get(i) for i in range(1, len(needed)))
    of_folded = of_source if of_folded is None else of_folded if of_source is None else of_folded + of_source
    of_input = None
    if of_folded is not None and x is None:
        channels = expand(of_folded, input, 0 if ctx.matrix else 1)
        of_input = _from_matrix(channels, ctx, ctx.shape[2:]) if ctx.matrix else channels
    elif of_folded is not None and x is not None:
        channels = fold(_to_matrix(x) if ctx.matrix else x, input, 0 if ctx.matrix else 1)
        found.add(channels, wanted | ({-1: x} if x.requires_grad else {}), of_folded)
        of_input = found.totals.pop(-1, None)
    return of_input if needed[0] else None, *(found.totals.get(i) for i in range(1, len(needed)))


class _Sums:
    """Adds up gradients that can be differentiated, by number."""

    def __init__(self) -> None:
        self.totals: dict[int, Tensor] = {}

    def add(self, result: Tensor, inputs: dict[int, Tensor], grad: Tensor) -> None:
        """Add the gradients of ``result`` with respect to some tensors that it is computed from."""
        if not inputs or not result.requires_grad:
            return
        gradients = torch.autograd.grad(result, list(inputs.values()), grad, create_graph=True, allow_unused=True)
        for i, gradient in zip(inputs, gradients, strict=True):
            if gradient is not None:
                self.totals[i] = self.totals[i] + gradient if i in self.totals else gradient


def _to_matrix(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(0, 1).flatten(1)


def _from_matrix(columns: Tensor, ctx: Any, sizes: Sequence[int] | None = None) -> Tensor:
    return columns.unflatten(1, (ctx.shape[0], *(sizes or ctx.sizes))).transpose(0, 1)
