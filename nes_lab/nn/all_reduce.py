"""Sum a tensor over all ranks, with gradients. Our own function, because torch 2.15 deprecates its own.

Tests: tests/nn/test_distributed.py
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["all_reduce_sum"]


class _AllReduceSum(torch.autograd.Function):
    """Every rank's result depends on every rank's tensor, so gradients are summed over all ranks too."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _AllReduceSum.apply(gradients[0])  # pyright: ignore[reportReturnType]


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Sum a tensor over all ranks of the default process group, differentiably. Every rank must call it.

    Args:
        tensor: This rank's tensor; it must have the same shape on every rank.

    Returns:
        The sum, the same on every rank. The gradient that reaches each rank's tensor is that of the ranks' losses added up.
    """
    return _AllReduceSum.apply(tensor)  # pyright: ignore[reportReturnType]
