"""Predict the starts of one training step with few calls, on a CPU: what the index learner computes, without autograd.

The gradients of the index learner and of its input are computed with those of the layer (:mod:`nes_lab.execution.factored_step`).

Tests: tests/execution/test_factored_step.py, tests/nn/test_predict_step.py
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from nes_lab.epitome.taps import clamp_starts

__all__ = ["Move", "Prediction", "hidden_numbers", "pooled_means", "simple_learner"]

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
    body = learner._modules.get("body")  # it takes less time than an attribute
    if type(body) is not nn.Sequential or len(body._modules) != 3:
        return None
    first, middle, last = body._modules.values()
    if (type(first), type(middle), type(last)) != (nn.Linear, nn.ReLU, nn.Linear):
        return None
    for module in (learner, body, first, middle, last):
        if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or "forward" in vars(module):  # type: ignore[union-attr]
            return None
    tensors = [part._parameters.get(name) for part in (first, last) for name in ("weight", "bias")]  # type: ignore[union-attr]
    for tensor in tensors:
        if type(tensor) not in (Tensor, nn.Parameter) or tensor.dtype != dtype or not tensor.is_contiguous():  # type: ignore[union-attr]
            return None
    return tuple(tensors)  # type: ignore[arg-type]


def pooled_means(x: Tensor) -> Tensor:
    """Return the means over all positions of an input of shape ``(N, C, ...)``. Layers that read the same input share them.

    No gradient is recorded. Only activations of the present forward pass are remembered: they come from an operation, and torch
    counts their changes.
    """
    shared = x.grad_fn is not None and torch.is_grad_enabled()
    kept = _pooled.get(x) if shared else None
    if kept is not None and kept[0] == x._version:
        return kept[1]
    with torch.no_grad():
        means = x.mean(tuple(range(2, x.ndim)))
    if shared:
        _pooled[x] = (x._version, means)
    return means


def hidden_numbers(pooled: Tensor, learner: Sequence[Tensor]) -> np.ndarray:
    """Return the numbers of the index learner's hidden layer, of shape ``(samples, hidden)``.

    Args:
        pooled: Means of the layer's input, of shape ``(samples, channels)``.
        learner: Weights and biases from :func:`simple_learner`.
    """
    w1, b1 = learner[:2]
    with torch.no_grad():
        turned = w1.as_strided((w1.shape[1], w1.shape[0]), (1, w1.shape[1]), w1.storage_offset())
        return torch.addmm(b1, pooled, turned).relu_().numpy()


class Prediction(NamedTuple):
    """Holds what the backward pass of a step needs from the prediction of its starts.

    Args:
        move: How predictions became starts.
        pooled: Means of the layer's input, of shape ``(samples, channels)``.
        active: True for each hidden number of each sample that is above 0.
        mean: Hidden numbers, averaged over the samples.
        squashed: Predictions after ``tanh`` or ``sigmoid``.
        unclamped: Anchor plus move, before it was clamped; None for ``squash="sigmoid"``.
        finite: False if a prediction is NaN or infinity. The starts then stay as they were.
    """

    move: Move
    pooled: Tensor
    active: np.ndarray
    mean: np.ndarray
    squashed: np.ndarray
    unclamped: np.ndarray | None
    finite: bool

    @classmethod
    def of(cls, x: Tensor, learner: tuple[Tensor, ...], move: Move) -> Prediction:
        """Predict the starts of one step, and write them into ``move.starts``.

        Args:
            x: Input of the layer.
            learner: Weights and biases from :func:`simple_learner`.
            move: How predictions become starts.
        """
        pooled = pooled_means(x)
        found = cls.of_hidden(pooled, hidden_numbers(pooled, learner), move)
        move.starts[:] = found.new_starts()
        return found

    @classmethod
    def of_hidden(cls, pooled: Tensor, hidden: np.ndarray, move: Move) -> Prediction:
        """Return the prediction from the hidden numbers of each sample. It computes no starts.

        Args:
            pooled: Means of the layer's input.
            hidden: Result of :func:`hidden_numbers`.
            move: How predictions become starts.
        """
        weight, bias = move.last
        mean = hidden.mean(0)
        raw = weight @ mean + bias
        finite, unclamped = np.count_nonzero(np.isfinite(raw)) == len(raw), None
        if move.reach is None:
            with np.errstate(over="ignore"):  # exp is infinity then, and the sigmoid 0
                squashed = 1 / (1 + np.exp(-raw))
        else:
            squashed = np.tanh(raw)
            unclamped = move.anchor + move.reach * squashed
        return cls(move, pooled, hidden > 0, mean, squashed, unclamped, finite)

    def new_starts(self) -> np.ndarray:
        """Return the starts of this step: the moving average of the previous starts and the predicted ones."""
        move = self.move
        if not self.finite:  # one batch with NaN or infinity must not ruin the stored starts
            return move.previous.copy()
        new = move.range * self.squashed if self.unclamped is None else self.unclamped
        if self.unclamped is not None and move.clamped:
            new = np.minimum(np.maximum(new, 0), move.limits)
        return move.momentum * move.previous + (1 - move.momentum) * new

    def gradients(self, of_starts: np.ndarray, learner: Sequence[Tensor]) -> tuple[list[Tensor], np.ndarray]:
        """Turn the gradient of the starts into those of the index learner's tensors and of its hidden numbers.

        Args:
            of_starts: Gradient of the starts.
            learner: Weights and biases of the index learner.
        """
        of_raw = self._through_move(of_starts.astype(self.mean.dtype, copy=False))
        of_mean = (of_raw @ self.move.last[0]) / np.asarray(len(self.active), of_raw.dtype)
        of_hidden = self.active * of_mean
        turned = torch.from_numpy(of_hidden.T)
        of_w2 = np.multiply.outer(of_raw, self.mean)
        arrays = (of_hidden.sum(0), of_w2, of_raw)
        return [torch.mm(turned, self.pooled), *map(torch.from_numpy, arrays)], of_hidden

    def add_to_input_(self, of_input: Tensor, of_hidden: np.ndarray, learner: Sequence[Tensor]) -> None:
        """Add the gradient that reaches the layer's input through the prediction to its gradient."""
        of_pooled = torch.mm(torch.from_numpy(of_hidden), learner[0])
        ones = [1] * (of_input.ndim - 2)
        of_input.add_(of_pooled.view(*of_pooled.shape, *ones), alpha=1 / prod(of_input.shape[2:]))

    def _through_move(self, grad: np.ndarray) -> np.ndarray:
        """Return the gradient of the predictions from that of the starts."""
        move = self.move
        of_new = grad * np.asarray(1 - move.momentum if self.finite else 0, grad.dtype)
        if self.unclamped is None or move.reach is None:
            return of_new * move.range * self.squashed * (1 - self.squashed)
        if move.clamped:
            np.minimum(of_new, 0, out=of_new, where=self.unclamped <= 0)
            np.maximum(of_new, 0, out=of_new, where=self.unclamped >= move.limits)
        return of_new * np.asarray(move.reach, grad.dtype) * (1 - self.squashed**2)

    def differentiable(self, x: Tensor, learner: Sequence[Tensor]) -> Tensor:
        """Compute the starts by differentiable operations, so that gradients of them can be differentiated again.

        Args:
            x: Input of the layer.
            learner: Weights and biases of the index learner.
        """
        move, (w1, b1, w2, b2) = self.move, learner
        raw = F.linear(F.relu(F.linear(x.mean(tuple(range(2, x.ndim))), w1, b1)), w2, b2).mean(0)
        previous, anchor, limits, largest = (
            torch.from_numpy(a).to(raw.dtype) for a in (move.previous, move.anchor, move.limits, move.range)
        )
        if not self.finite:
            return previous + 0 * raw.nan_to_num(0, 0, 0)
        if move.reach is None:
            new = largest * torch.sigmoid(raw)
        else:
            new = anchor + move.reach * torch.tanh(raw)
            new = clamp_starts(new, limits) if move.clamped else new
        return move.momentum * previous + (1 - move.momentum) * new
