"""Sum a tensor over all ranks of distributed training, with gradients.

Tests: tests/nn/test_distributed.py
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from nes_lab.epitome.transforms import transforming

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
        return all_reduce_sum(gradients[0])


class _SumInTransform(torch.autograd.Function):
    """Sums a tensor over all ranks inside transforms of ``torch.func``, with gradients.

    Outside of transforms :class:`_AllReduceSum` is used, because it is faster.
    """

    @staticmethod
    def forward(tensor: Tensor) -> Tensor:
        total = tensor.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Store nothing for the backward pass: the gradient of a sum does not depend on the summed values."""

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return all_reduce_sum(gradients[0])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None], tensor: Tensor) -> tuple[Tensor, int | None]:
        return all_reduce_sum(tensor), in_dims[0]


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Sum a tensor over all ranks of the default process group, with gradients. Every rank must call this function.

    Args:
        tensor: This rank's tensor; it must have the same shape on every rank.

    Returns:
        The sum, which is the same on every rank. Each rank's tensor gets the gradient of the sum of all ranks' losses.
    """
    kind = _SumInTransform if transforming() else _AllReduceSum
    return kind.apply(tensor)  # pyright: ignore[reportReturnType]
