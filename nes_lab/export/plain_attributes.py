"""List the plain attributes of a network's modules, such as a number that a ``forward`` reads, and compare two such lists.

Tests: tests/export/test_loadable.py, tests/experiment/test_same_network.py
"""

from __future__ import annotations

import types
from typing import Any

from torch import nn

from nes_lab.nn.layer import EpitomeLayer

__all__ = ["attribute_difference", "plain_attributes"]

_IGNORED = ("training", "num_classes")
"""Attributes that may differ; the number of classes is also the shape of a tensor, and a replaced classifier may not update it."""


def plain_attributes(network: nn.Module) -> dict[str, str]:
    """Return the numbers, texts and functions that are attributes of a network's modules, as texts by their dotted names.

    Attributes of epitome layers, and those whose names begin with an underscore or ``nes_lab_``, are left out.

    Examples:
        >>> plain_attributes(nn.Sequential(nn.Dropout(0.25)))
        {'0.p': '0.25', '0.inplace': 'False'}
    """
    inside: tuple[str, ...] = ()
    found: dict[str, str] = {}
    for name, module in network.named_modules():
        if name and name.startswith(inside):
            continue
        if isinstance(module, EpitomeLayer):
            inside += (f"{name}." if name else "",)
            continue
        for key, value in vars(module).items():
            if key not in _IGNORED and not key.startswith(("_", "nes_lab_")) and (text := _text(value)):
                found[f"{name}.{key}" if name else key] = text
    return found


def _text(value: Any) -> str:
    """Return a text for a plain value or a function; empty for anything else."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType | types.MethodType):
        return str(value.__qualname__)
    if isinstance(value, tuple | list) and all(parts := [_text(part) for part in value]):
        return f"[{', '.join(parts)}]"
    return ""


def attribute_difference(own: dict[str, str], other: dict[str, str]) -> str:
    """Describe the first plain attribute in which two networks differ; return an empty string if they agree.

    Args:
        own: Attributes of a network, as :func:`plain_attributes` returns them.
        other: Attributes of the network to compare it with.

    Examples:
        >>> attribute_difference({"scale": "0.0"}, {"scale": "1.0"})
        'scale=0.0, not 1.0'
    """
    for name in {**own, **other}:
        if own.get(name) != other.get(name):
            return f"{name}={own.get(name, '(none)')}, not {other.get(name, '(none)')}"
    return ""
