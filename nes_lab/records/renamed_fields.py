"""Accept the old names of configuration fields, with a warning.

To rename a field, add one entry to ``RENAMED``.

Tests: tests/runs/test_query.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nes_lab.renamed import warn_renamed

__all__ = ["RENAMED", "current_fields", "current_section", "current_tree"]


def _weights(old: Any) -> dict[str, Any]:
    """Convert a value of the old field ``weights`` (version 0.1.0) to ``initial_weights`` and ``search_starts``.

    The old values are ``fit``, ``reset`` and ``search``. The value ``search`` means a fit with a search for starts
    (positions of patches in the epitome).
    """
    return {"initial_weights": "fit" if old == "search" else old, "search_starts": old == "search"}


RENAMED: dict[tuple[str, str], Callable[[Any], dict[str, Any]]] = {("compression", "weights"): _weights}
"""For each (section, old field), the function that turns the old value into current fields and their values."""


def current_fields(section: str, field: str, value: Any, warn: bool = True) -> dict[str, Any]:
    """Return the current name and value of a configuration field that may have an old name.

    The result is a dict, because one old field can become several current fields.

    Args:
        section: Name of the configuration section that has the field.
        field: Current or old name of the field.
        value: Value of the field.
        warn: Whether to warn about an old name. It is False for the configurations of stored runs.

    In the example the name is current, so name and value stay as they are.

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
    """Return one section of a configuration with the current names of the fields. If ``warn`` is True, warn about old names.

    Raises:
        ValueError: If a field is given both under its old name and under its current name.
    """
    current: dict[str, Any] = {}
    for field, value in values.items():
        for name, new in current_fields(section, field, value, warn).items():
            if name in current or (name != field and name in values):
                raise ValueError(f"{section}.{name} is given twice, once by an old name; give the current name alone")
            current[name] = new
    return current


def current_tree(tree: Mapping[Any, Any], warn: bool = True) -> dict[Any, Any]:
    """Return a complete configuration with the current names of its fields.

    Args:
        tree: The configuration: section -> field -> value.
        warn: Whether to warn about old names. It is False for the configurations of stored runs.
    """
    return {
        name: current_section(name, values, warn) if isinstance(values, Mapping) else values
        for name, values in tree.items()
    }
