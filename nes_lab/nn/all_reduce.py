"""Sum a tensor over all ranks of distributed training, with gradients.

Tests: tests/nn/test_distributed.py
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["all_reduce_sum"]


# torch's own function for this is not used, because torch 2.15 deprecates it
class _AllReduceSum(torch.autograd.Function):
    """Sums a tensor over all ranks (processes); the backward pass sums the gradients over all ranks."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _AllReduceSum.apply(gradients[0])  # pyright: ignore[reportReturnType]


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Sum a tensor over all ranks of the default process group, with gradients. Every rank must call this function.

    Args:
        tensor: This rank's tensor; it must have the same shape on every rank.

    Returns:
        The sum, which is the same on every rank. Each rank's tensor gets the gradient of the sum of all ranks' losses.
    """
    return _AllReduceSum.apply(tensor)  # pyright: ignore[reportReturnType]
