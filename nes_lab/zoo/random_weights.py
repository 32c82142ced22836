"""Random weights under which a network's output depends on its input, so that comparing outputs means something.

Networks are born quiet: last layers, residual scales and norms at zero, so that training begins gently. A comparison of such
outputs would pass whatever the layers do.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_iter

__all__ = ["numbers_of", "outputs", "set_norms_", "spread", "wake_"]

_QUIET = 0.1  # constants below it hold back what they scale


def wake_(model: nn.Module, generator: torch.Generator) -> None:
    """Draw parameters that are small constants anew: matrices by their fan, biases small, scales between 0.5 and 1."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.numel() == 0 or parameter.max() != parameter.min() or abs(float(parameter.max())) >= _QUIET:
                continue
            if sum(size > 1 for size in parameter.shape) > 1:
                parameter.normal_(0, prod(parameter.shape[1:]) ** -0.5, generator=generator)
            elif name.rpartition(".")[2].endswith("bias"):
                parameter.normal_(0, 0.02, generator=generator)
            else:
                parameter.uniform_(0.5, 1, generator=generator)


def set_norms_(model: nn.Module, *inputs: Any) -> None:
    """Give batch norms the statistics of these inputs, so that a deep network neither fades nor explodes; modes are kept."""
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
    """All floating tensors a model puts out, in evaluation and without gradients."""
    with torch.no_grad():
        return numbers_of(model(*inputs))


def numbers_of(found: Any) -> list[Tensor]:
    """The floating tensors in whatever a model puts out."""
    found = vars(found) if hasattr(found, "__dict__") and not isinstance(found, Tensor | dict) else found
    return [leaf for leaf in tree_iter(found) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def spread(found: list[Tensor]) -> float:
    """How far outputs differ between the first and the last sample of a batch; 0 where the input does not matter."""
    return max((float((t[0] - t[-1]).abs().max()) for t in found if t.ndim and t.shape[0] > 1), default=0.0)
