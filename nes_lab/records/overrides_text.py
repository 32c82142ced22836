"""Change the option ``overrides`` as text, as the form of the app keeps it: settings for single layers, as JSON.

Tests: tests/records/test_fold_rows.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from nes_lab.errors import OptionError

__all__ = ["pattern_of", "read_overrides", "with_override", "with_overrides", "without_override"]


def pattern_of(name: str, is_stage: bool = False) -> str:
    """Return the pattern of ``overrides`` that matches one layer, or all layers of a stage.

    Args:
        name: Name of the layer, or the beginning of the names of the stage's layers.
        is_stage: Whether the name stands for a stage.

    Examples:
        >>> pattern_of("blocks.2.0", is_stage=True), pattern_of("head")
        ('blocks.2.0.*', 'head')
    """
    return f"{name}.*" if is_stage else name


def read_overrides(text: str | None) -> dict[str, dict[str, Any]]:
    """Read the option ``overrides`` from JSON text; empty text has no settings.

    Raises:
        OptionError: If the text is not a JSON object of objects.
    """
    if not (text or "").strip():
        return {}
    example = 'give JSON such as {"head*": {"ratio": 0.5}}'
    try:
        read = json.loads(text or "")
    except ValueError as error:
        raise OptionError(f"compression.overrides={text!r} cannot be read: {error}; {example}") from error
    if not isinstance(read, dict) or not all(isinstance(settings, dict) for settings in read.values()):
        raise OptionError(f"compression.overrides={text!r} sets no layers; {example}")
    return read


def with_override(text: str | None, pattern: str, settings: Mapping[str, Any]) -> str:
    """Return the option with settings for one more pattern, which come last and so win.

    Settings that the pattern had before stay, except for the size: a layer has one of ``keep``, ``ratio`` and ``epitome_shape``.

    Args:
        text: The option as JSON text; may be empty.
        pattern: Pattern of layer names.
        settings: Settings of the layers, such as ``{"ratio": 0.5}``.

    Raises:
        OptionError: If the text cannot be read.

    Examples:
        >>> with_override('{"head": {"ratio": 0.5, "routing": "free"}}', "head", {"keep": True})
        '{"head": {"routing": "free", "keep": true}}'
    """
    overrides = read_overrides(text)
    before = overrides.pop(pattern, {})
    sizes = ("keep", "ratio", "epitome_shape")
    if any(name in settings for name in sizes):
        before = {name: value for name, value in before.items() if name not in sizes}
    return json.dumps(overrides | {pattern: before | dict(settings)})


def with_overrides(text: str | None, patterns: Iterable[str], settings: Mapping[str, Any]) -> str:
    """Return the option with the same settings for several more patterns. See :func:`with_override`.

    Args:
        text: The option as JSON text; may be empty.
        patterns: Patterns of layer names.
        settings: Settings of the layers, such as ``{"ratio": 0.5}``.

    Raises:
        OptionError: If the text cannot be read.

    Examples:
        >>> with_overrides("", ["a", "b"], {"keep": True})
        '{"a": {"keep": true}, "b": {"keep": true}}'
    """
    for pattern in patterns:
        text = with_override(text, pattern, settings)
    return text or ""


def without_override(text: str | None, pattern: str) -> str:
    """Return the option without the settings of one pattern; empty text if none are left.

    Args:
        text: The option as JSON text; may be empty.
        pattern: The pattern to leave out.

    Raises:
        OptionError: If the text cannot be read.

    Examples:
        >>> without_override('{"head": {"keep": true}}', "head")
        ''
    """
    left = {name: settings for name, settings in read_overrides(text).items() if name != pattern}
    return json.dumps(left) if left else ""
