"""Sum a tensor over all ranks of distributed training, with gradients.

Torch's own function for this is not used, because torch 2.15 deprecates it.

Tests: tests/nn/test_distributed.py
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["all_reduce_sum"]


class _AllReduceSum(torch.autograd.Function):
    """Sums a tensor over all ranks.

    Each rank's loss depends on the sum. So the backward pass sums the gradients of all ranks.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _AllReduceSum.apply(gradients[0])  # pyright: ignore[reportReturnType]


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Sum a tensor over all ranks of the default process group, differentiably. Every rank must call this function.

    Args:
        tensor: This rank's tensor; it must have the same shape on every rank.

    Returns:
        The sum, which is the same on every rank. Each rank's tensor gets the gradient of the sum of all ranks' losses.
    """
    return _AllReduceSum.apply(tensor)  # pyright: ignore[reportReturnType]
