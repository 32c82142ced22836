"""Small tensors that shapes alone decide, made once per device: a training step would otherwise spend its time making them."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor, nn

__all__ = ["constant", "places"]

_MOST = 8192
_kept: dict[tuple[Hashable, ...], Tensor] = {}


def constant(like: Tensor, build: Callable[..., Tensor], *shapes: Hashable) -> Tensor:
    """``build(*shapes, device)``, kept from the call before where ``like`` is a plain tensor; never to be written to.

    Args:
        like: Says where; fake tensors and tracers get a new one.
        build: A function of the module that calls, so that its name stands for it.
        shapes: What decides the values.
    """
    if torch.compiler.is_compiling() or type(like) not in (Tensor, nn.Parameter) or like.is_meta:
        return build(*shapes, like.device)
    key = (build, *shapes, like.device)
    found = _kept.get(key)
    if found is None:
        with torch.inference_mode(False), torch.no_grad():
            found = build(*shapes, like.device)
        if type(found) is Tensor:
            if len(_kept) >= _MOST:
                _kept.clear()
            _kept[key] = found
    return found


def places(count: int, step: int, device: torch.device) -> Tensor:
    """``0, step, 2 step...`` as a column, ``(count, 1)``."""
    return torch.arange(count, device=device).mul_(step).unsqueeze(1)
