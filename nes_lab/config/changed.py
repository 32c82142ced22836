"""Say which fields of a configuration differ from their defaults.

Tests: tests/config/test_config.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nes_lab.config.load import knobs

__all__ = ["changed_fields"]


def changed_fields(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields whose values differ from their defaults, as text that a form or the command line takes.

    Args:
        config: The configuration, with all its sections.

    Returns:
        A mapping from dotted path to text. Pairs and lists are written with commas, and mappings as JSON.

    Examples:
        >>> changed_fields({"seed": 0, "training": {"epochs": 3}, "compression": {"include": ["a*", "b*"], "madds": None}})
        {'compression.include': 'a*,b*', 'training.epochs': '3'}
    """
    texts = {}
    for knob in knobs():
        value: Any = config
        for name in knob.path.split("."):
            value = value.get(name, knob.default) if isinstance(value, Mapping) else knob.default
        if _plain(value) != _plain(knob.default):
            texts[knob.path] = _text(value)
    return texts


def _plain(value: Any) -> Any:
    if isinstance(value, str | list | tuple | Mapping) and not value:
        return None
    return list(value) if isinstance(value, tuple) else value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return json.dumps(value) if isinstance(value, Mapping) else str(value)
