"""What layers need of the other processes of a training; torch's own differentiable sum is deprecated since 2.15."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["sum_over_ranks"]


class _SumOverRanks(torch.autograd.Function):
    """Each process depends on every process's tensor alike, so gradients are summed over all of them too."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _SumOverRanks.apply(gradients[0])  # pyright: ignore[reportReturnType]


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Sum a tensor over all processes of the default group, differentiably.

    Args:
        tensor: Of the same shape in all processes, which all must call this.

    Returns:
        The sum, the same in all of them; the gradient of a loss that is summed over them flows back to each.
    """
    return _SumOverRanks.apply(tensor)  # pyright: ignore[reportReturnType]
