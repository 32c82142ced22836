"""Small tensors that depend on shapes alone, made once per device because making them takes time in every training step.

Tests: tests/epitome/test_sampling.py
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor, nn

__all__ = ["arange_column", "constant"]

_MAX_TENSORS = 8192
"""Tensors kept, over all devices."""
_kept: dict[tuple[Hashable, ...], Tensor] = {}


def constant(like: Tensor, build: Callable[..., Tensor], *shapes: Hashable) -> Tensor:
    """Return ``build(*shapes, device)``, made once per device. The result must not be written to.

    Args:
        like: Tensor on the device. For fake tensors, and while a compiler traces, the result is made each time.
        build: Module-level function that makes the tensor; it is the key under which results are kept.
        shapes: Arguments of ``build``.
    """
    if torch.compiler.is_compiling() or type(like) not in (Tensor, nn.Parameter) or like.is_meta:
        return build(*shapes, like.device)
    key = (build, *shapes, like.device)
    tensor = _kept.get(key)
    if tensor is None:
        with torch.inference_mode(False), torch.no_grad():
            tensor = build(*shapes, like.device)
        if type(tensor) is Tensor:
            if len(_kept) >= _MAX_TENSORS:
                _kept.clear()
            _kept[key] = tensor
    return tensor


def arange_column(count: int, step: int, device: torch.device) -> Tensor:
    """Return ``0, step, 2 step, ...`` as a column, ``(count, 1)``."""
    return torch.arange(count, device=device).mul_(step).unsqueeze(1)
