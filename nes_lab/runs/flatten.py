"""Turn the nested configuration of a run into a flat dict, in which each key is a dotted path such as ``training.lr``.

Tests: tests/runs/test_query.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["flatten"]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested settings into one flat mapping. Its keys are dotted paths.

    Examples:
        >>> flatten({"training": {"lr": 0.1}})
        {'training.lr': 0.1}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
