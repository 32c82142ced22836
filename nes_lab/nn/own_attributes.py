"""List the attributes that a layer has by itself, so that those which users added can be told from them.

Tests: tests/surgery/test_carry_over.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import nn

from nes_lab.nn.kinds import BASES, known_by_name

_NORMS: tuple[type[nn.Module], ...] = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
"""Batch norms. Those of other packages add the modules ``drop`` and ``act`` to them."""

__all__ = ["own_attributes", "torch_class"]


@cache
def own_attributes(kind: type[nn.Module]) -> frozenset[str]:
    """Return the names of the attributes, parameters, buffers and submodules that a new layer of a class has.

    A subclass that NES Lab does not know counts as its base class: what its ``__init__`` adds is the user's.

    Args:
        kind: A class of epitome layers, of dense layers that an epitome layer can replace, or any other class of modules (it
            counts as having only what every module has).

    Examples:
        >>> layer = nn.Linear(2, 3)
        >>> layer.skip = True
        >>> sorted(vars(layer).keys() - own_attributes(nn.Linear))
        ['skip']
    """
    base = torch_class(kind)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        made = _smallest(base)
    names = frozenset(vars(made)) | made._parameters.keys() | made._buffers.keys() | made._modules.keys()
    return (
        names | {"shell", "carried"}
        if _is_epitome_class(base)
        else names | {"drop", "act"}
        if base in _NORMS
        else names
    )


def torch_class(kind: type[nn.Module]) -> type[nn.Module]:
    """Return the class whose attributes layers of a class have by themselves: torch's class, or one known by name."""
    return next(
        (c for c in kind.__mro__ if c in (*BASES, *_NORMS) or known_by_name(c) or _is_epitome_class(c)), nn.Module
    )


def _is_epitome_class(kind: type[nn.Module]) -> bool:
    return kind.__module__.startswith("nes_lab.nn.") and isinstance(getattr(kind, "kind", None), str)


def _smallest(kind: type[nn.Module]) -> nn.Module:
    if kind is nn.Module:
        return nn.Module()
    if kind in _NORMS:
        return kind(1)  # type: ignore[call-arg]
    make: Callable[..., nn.Module] = kind
    sizes = (1, 1) if issubclass(kind, nn.Linear) or getattr(kind, "kind", "") == "linear" else (1, 1, 1)
    if not _is_epitome_class(kind):
        return make(*sizes)
    return make(*sizes, epitome_shape=(1, 1) + (1,) * getattr(kind, "spatial", 0))
