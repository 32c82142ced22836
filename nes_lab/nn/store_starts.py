"""Store the starts that an index learner predicts, also inside transforms of ``torch.func``.

Tests: tests/nn/test_per_sample_gradients.py
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["store_starts"]


class _Store(torch.autograd.Function):
    """Copies starts into the buffer that holds them.

    Transforms of ``torch.func`` allow such a copy only inside a ``torch.autograd.Function``, as this class is one.
    """

    @staticmethod
    def forward(starts: Tensor, table: Tensor) -> Tensor:
        table.copy_(starts)
        return starts.new_zeros(())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[None, None]:
        return None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None], starts: Tensor, table: Tensor) -> tuple[Tensor, None]:
        of_starts, of_table = in_dims
        if of_table is not None:  # each copy of the layer has a buffer of its own
            table = table.movedim(of_table, 0)
            starts = starts if of_starts is None else starts.movedim(of_starts, 0)
        elif of_starts is not None:
            starts = starts.mean(of_starts)
        return _Store.apply(starts, table), None  # pyright: ignore[reportReturnType]


def store_starts(starts: Tensor, table: Tensor) -> None:
    """Copy starts into the buffer that holds them.

    Inside ``torch.func.vmap`` each sample has predicted starts of its own. Then the mean over the samples is stored.

    Args:
        starts: Predicted starts (positions of patches in the epitome), in cells; no gradient is recorded.
        table: Buffer that holds the starts; it is overwritten.
    """
    _Store.apply(starts.detach(), table)
