"""Read fields of a configuration under the names that older versions gave them, with a warning.

To rename a field, add one entry to ``RENAMED``.

Tests: tests/runs/test_query.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nes_lab.renamed import warn_renamed

__all__ = ["RENAMED", "current_fields", "current_section", "current_tree"]


def _weights(old: Any) -> dict[str, Any]:
    """Return the current fields for ``weights`` of version 0.1.0, which was ``fit``, ``reset`` or ``search`` (a fit with a search)."""
    return {"initial_weights": "fit" if old == "search" else old, "search_starts": old == "search"}


RENAMED: dict[tuple[str, str], Callable[[Any], dict[str, Any]]] = {("compression", "weights"): _weights}
"""For each (section, old field), the function that turns the old value into current fields and their values."""


def current_fields(section: str, field: str, value: Any, warn: bool = True) -> dict[str, Any]:
    """Return the current fields and values that one field stands for; warn if the field has an old name.

    Args:
        section: Name of the section that holds the field.
        field: Current or old name of the field.
        value: Value of the field.
        warn: Warn about an old name. False for stored runs, which nobody can edit.

    Examples:
        >>> current_fields("compression", "routing", "free")
        {'routing': 'free'}
    """
    if (section, field) not in RENAMED:
        return {field: value}
    fields = RENAMED[section, field](value)
    if not warn:
        return fields
    told = " and ".join(f"{section}.{name}={str(new).lower()}" for name, new in fields.items())
    warn_renamed(f"{section}.{field}={value}", told, stacklevel=4)
    return fields


def current_section(section: str, values: Mapping[str, Any], warn: bool = True) -> dict[str, Any]:
    """Return the values of a configuration's section under the current names of its fields; warn about old names if ``warn``.

    Raises:
        ValueError: If a field is given under its old and its current name.
    """
    current: dict[str, Any] = {}
    for field, value in values.items():
        for name, new in current_fields(section, field, value, warn).items():
            if name in current or (name != field and name in values):
                raise ValueError(f"{section}.{name} is given twice, once by an old name; give the current name alone")
            current[name] = new
    return current


def current_tree(tree: Mapping[Any, Any], warn: bool = True) -> dict[Any, Any]:
    """Return the sections of a configuration with the current names of their fields.

    Args:
        tree: Configuration: section -> field -> value.
        warn: Warn about old names. False for stored runs, which nobody can edit.
    """
    return {
        name: current_section(name, values, warn) if isinstance(values, Mapping) else values
        for name, values in tree.items()
    }
