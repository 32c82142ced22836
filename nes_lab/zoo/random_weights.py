"""Draw random weights for checks that compare the outputs of networks.

With these weights, the output of a network depends on its input and on all its layers.

Freshly made networks are often different: their last layers, residual scales and norms are zero, because this makes training
stable. The output of such a network does not depend on most layers, so an error in a layer would not show.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_iter

__all__ = ["draw_constants_", "float_tensors", "outputs", "set_norms_", "spread"]

SMALLEST_KEPT_CONSTANT = 0.1
"""A parameter is drawn again if all its entries equal one number below this, because it would suppress what it scales."""


def draw_constants_(model: nn.Module, generator: torch.Generator) -> None:
    """Draw new random values for each parameter whose entries are all equal and small, often 0.

    Such a parameter would suppress the output of a layer.

    Matrices are drawn from a normal distribution with variance 1 / fan-in, biases from a narrow normal distribution, and scales
    uniformly between 0.5 and 1.

    Args:
        model: The network, which is changed in place.
        generator: Generator that the random numbers are drawn from.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.numel() == 0 or parameter.max() != parameter.min():
                continue
            if abs(float(parameter.max())) >= SMALLEST_KEPT_CONSTANT:
                continue
            if sum(size > 1 for size in parameter.shape) > 1:
                parameter.normal_(0, prod(parameter.shape[1:]) ** -0.5, generator=generator)
            elif name.rpartition(".")[2].endswith("bias"):
                parameter.normal_(0, 0.02, generator=generator)
            else:
                parameter.uniform_(0.5, 1, generator=generator)


def set_norms_(model: nn.Module, *inputs: Any) -> None:
    """Measure the statistics of all batch norms on the given inputs, so that outputs do not vanish or explode with depth.

    Each batch norm keeps its momentum, and its training or evaluation mode.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    before = [(norm, norm.training, norm.momentum) for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for norm, training, momentum in before:
            norm.train(training)
            norm.momentum = momentum


def outputs(model: nn.Module, *inputs: Any) -> list[Tensor]:
    """Run a model without gradients, and return the floating-point tensors in its output.

    The model stays in its mode: training or evaluation.
    """
    with torch.no_grad():
        return float_tensors(model(*inputs))


def float_tensors(output: Any) -> list[Tensor]:
    """Return the floating-point tensors in a model's output, which may be a tensor, a container or an object with attributes."""
    output = vars(output) if hasattr(output, "__dict__") and not isinstance(output, Tensor | dict) else output
    return [leaf for leaf in tree_iter(output) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def spread(tensors: list[Tensor]) -> float:
    """Return the largest difference between a model's outputs for the first and the last sample of a batch.

    The difference is 0 if the output does not depend on the input.
    """
    return max((float((t[0] - t[-1]).abs().max()) for t in tensors if t.ndim and t.shape[0] > 1), default=0.0)
