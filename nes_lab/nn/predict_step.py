"""Predict the starts of one training step with few calls, on a CPU: what the index learner computes, as one operation of autograd.

Tests: tests/execution/test_factored_step.py, tests/nn/test_predict_step.py
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from nes_lab.epitome.taps import clamp_starts

__all__ = ["Move", "pooled_means", "predicted_starts", "simple_learner"]

_pooled: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
"""Means of activations that several layers of one forward pass read, as long as the activations exist."""


class Move(NamedTuple):
    """Says how predictions become starts, of all axes of a layer in one array.

    Args:
        previous: Starts of the step before.
        anchor: Starts of ``tiled`` routing.
        limits: Largest starts.
        clamped: True if starts are clamped so that patches stay inside the epitome.
        reach: Largest distance from the anchor; None for ``squash="sigmoid"``.
        range: Largest starts for ``squash="sigmoid"``.
        momentum: Factor of the previous starts.
        last: Weight and bias of the index learner's last layer.
        starts: The starts of this step are written here.
    """

    previous: np.ndarray
    anchor: np.ndarray
    limits: np.ndarray
    clamped: bool
    reach: float | None
    range: np.ndarray
    momentum: float
    last: tuple[np.ndarray, np.ndarray]
    starts: np.ndarray


def simple_learner(learner: nn.Module, dtype: torch.dtype) -> tuple[Tensor, ...] | None:
    """Return weights and biases of an index learner that is two linear layers and nothing else; otherwise None.

    Args:
        learner: The index learner.
        dtype: Data type that its tensors must have.
    """
    body = getattr(learner, "body", None)
    if type(body) is not nn.Sequential or len(body) != 3:
        return None
    first, middle, last = body
    if (type(first), type(middle), type(last)) != (nn.Linear, nn.ReLU, nn.Linear):
        return None
    for module in (learner, body, first, middle, last):
        if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or "forward" in vars(module):
            return None
    tensors = (first.weight, first.bias, last.weight, last.bias)
    plain = tuple(
        t for t in tensors if isinstance(t, Tensor) and type(t) in (Tensor, nn.Parameter) and t.dtype == dtype
    )
    return plain if len(plain) == len(tensors) and all(t.is_contiguous() for t in plain) else None


def pooled_means(x: Tensor) -> Tensor:
    """Return the means over all positions of an input of shape ``(N, C, ...)``. Layers that read the same input share them.

    Only activations of the present forward pass are remembered: they come from an operation, and torch counts their changes.
    """
    shared = x.grad_fn is not None and torch.is_grad_enabled()
    kept = _pooled.get(x) if shared else None
    if kept is not None and kept[0] == x._version:
        return kept[1]
    means = x.mean(tuple(range(2, x.ndim)))
    if shared:
        _pooled[x] = (x._version, means)
    return means


def predicted_starts(pooled: Tensor, learner: tuple[Tensor, ...], move: Move) -> Tensor:
    """Return the starts of one step, of all axes in one tensor. Gradients reach the means and the index learner.

    Args:
        pooled: Means of the layer's input, of shape ``(samples, channels)``.
        learner: Weights and biases from :func:`simple_learner`.
        move: How predictions become starts.
    """
    return _Predict.apply(pooled, *learner, move)  # type: ignore[no-any-return]


class _Predict(torch.autograd.Function):
    """Computes two linear layers, averages over the samples, and moves the starts."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, pooled: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, move: Move
    ) -> Tensor:
        hidden = torch.addmm(b1, pooled, w1.as_strided((w1.shape[1], w1.shape[0]), (1, w1.shape[1]))).relu_()
        activations, (weight, bias) = hidden.numpy(), move.last
        mean = activations.mean(0)
        raw = weight @ mean + bias
        ctx.active = activations > 0
        ctx.move, ctx.mean, ctx.finite = move, mean, bool(np.isfinite(raw).all())
        if move.reach is not None:
            ctx.squashed = np.tanh(raw)
            ctx.unclamped = new = move.anchor + move.reach * ctx.squashed
            new = np.minimum(np.maximum(new, 0), move.limits) if move.clamped else new
        else:
            ctx.squashed = 1 / (1 + np.exp(-raw))
            new = move.range * ctx.squashed
        # one batch with NaN or infinity must not ruin the stored starts
        move.starts[:] = move.momentum * move.previous + (1 - move.momentum) * new if ctx.finite else move.previous
        ctx.save_for_backward(pooled, w1, b1, w2, b2)
        return torch.from_numpy(move.starts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        if torch.is_grad_enabled():
            return _differentiable(ctx, grad)
        pooled, w1, *_ = ctx.saved_tensors
        of_raw = _through_move(ctx, grad.numpy())
        of_w2, of_b2 = torch.from_numpy(np.outer(of_raw, ctx.mean)), torch.from_numpy(of_raw)
        of_mean = (of_raw @ ctx.move.last[0]) / np.asarray(len(ctx.active), of_raw.dtype)
        array = ctx.active * of_mean
        of_hidden = torch.from_numpy(array)
        turned = of_hidden.as_strided((array.shape[1], array.shape[0]), (1, array.shape[1]))
        of_pooled = torch.mm(of_hidden, w1) if ctx.needs_input_grad[0] else None
        return of_pooled, torch.mm(turned, pooled), torch.from_numpy(array.sum(0)), of_w2, of_b2, None


def _through_move(ctx: Any, grad: np.ndarray) -> np.ndarray:
    """Return the gradient of the predictions from that of the starts."""
    move: Move = ctx.move
    of_new = grad * np.asarray(1 - move.momentum if ctx.finite else 0, grad.dtype)
    if move.reach is None:
        return of_new * move.range * ctx.squashed * (1 - ctx.squashed)
    if move.clamped:
        low, high = ctx.unclamped <= 0, ctx.unclamped >= move.limits
        of_new[(low & (of_new >= 0)) | (high & (of_new <= 0))] = 0
    return of_new * np.asarray(move.reach, grad.dtype) * (1 - ctx.squashed**2)


def _differentiable(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Compute the gradients by differentiable operations, so that they can be differentiated again."""
    pooled, *learner = ctx.saved_tensors
    inputs = [tensor.view_as(tensor) for tensor in (pooled, *learner)]
    if not ctx.finite:
        return *(torch.zeros_like(tensor) for tensor in inputs), None
    needed = [i for i, wanted in enumerate(ctx.needs_input_grad[:5]) if wanted]
    found = torch.autograd.grad(_moved(inputs, ctx.move), [inputs[i] for i in needed], grad, create_graph=True)
    grads: list[Tensor | None] = [None] * 6
    for i, gradient in zip(needed, found, strict=True):
        grads[i] = gradient
    return tuple(grads)


def _moved(inputs: list[Tensor], move: Move) -> Tensor:
    pooled, w1, b1, w2, b2 = inputs
    raw = F.linear(F.relu(F.linear(pooled, w1, b1)), w2, b2).mean(0)
    previous, anchor, limits, largest = (
        torch.from_numpy(a).to(raw.dtype) for a in (move.previous, move.anchor, move.limits, move.range)
    )
    if move.reach is None:
        new = largest * torch.sigmoid(raw)
    else:
        new = anchor + move.reach * torch.tanh(raw)
        new = clamp_starts(new, limits) if move.clamped else new
    return move.momentum * previous + (1 - move.momentum) * new
