"""Keep small index tensors that depend only on shapes. Each is built once per device and used again in later calls.

Tests: tests/epitome/test_sampling.py
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor, nn

from nes_lab.epitome.transforms import transforming

__all__ = ["arange_column", "constant"]

_MAX_TENSORS = 8192
"""Largest number of tensors kept, over all devices; when it is reached, all are dropped."""
_kept: dict[tuple[Hashable, ...], Tensor] = {}


def constant(like: Tensor, build: Callable[..., Tensor], *shapes: Hashable) -> Tensor:
    """Return the tensor that ``build(*shapes, device)`` makes. It is made once per device and kept, so do not write into it.

    Args:
        like: Any tensor on the device where the new tensor is needed. Nothing is kept if ``like`` is a fake tensor, or while a
            compiler traces.
        build: Function that builds the tensor. Define it at module level.
        shapes: Arguments of ``build`` before the device.
    """
    if torch.compiler.is_compiling() or type(like) not in (Tensor, nn.Parameter) or like.is_meta:
        return build(*shapes, like.device)
    key = (build, *shapes, like.device)
    tensor = _kept.get(key)
    if tensor is None:
        with torch.inference_mode(False), torch.no_grad():
            tensor = build(*shapes, like.device)
        if type(tensor) is Tensor and not transforming():
            if len(_kept) >= _MAX_TENSORS:
                _kept.clear()
            _kept[key] = tensor
    return tensor


def arange_column(count: int, step: int, device: torch.device) -> Tensor:
    """Return the integers ``0, step, ..., (count - 1) * step`` as a column of shape ``(count, 1)``."""
    return torch.arange(count, device=device).mul_(step).unsqueeze(1)
