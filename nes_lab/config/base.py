"""Define the base class of all sections of a configuration. Its error messages say which value is wrong and why.

Tests: tests/config/test_config.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

__all__ = ["Section", "from_json", "one_or_a_pair"]

MOST_CHANNELS = 65536


def _is_numeric(annotation: Any) -> bool:
    kinds = set(get_args(annotation)) or {annotation}
    return bool(kinds & {int, float}) and bool not in kinds


def _words(text: str) -> tuple[str, ...]:
    """Split a list that is given as text at its commas. Square brackets around the list are optional."""
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    return tuple(word for part in text.split(",") if (word := part.strip(" \t\n'\"")))


def _whole_path(path: Path) -> Path:
    """Return a path as an absolute path."""
    try:
        return path.expanduser().absolute()  # so a run can be resumed from any folder
    except RuntimeError as error:
        raise ValueError(f"there is no home folder {path.parts[0]}") from error


class Section(BaseModel):
    """Base class of all sections of a configuration.

    The fields of a section cannot be changed after creation. A section refuses unknown fields, infinite numbers, NaN,
    and a boolean where a number is expected.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _plain_values(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[info.field_name or ""].annotation
        kinds = get_args(annotation)
        if isinstance(value, bool) and _is_numeric(annotation):
            raise ValueError("it should be a number, not true or false")
        if NoneType in kinds and isinstance(value, str) and value.strip().lower() in ("none", "null"):
            return None
        words = {word for kind in kinds for word in get_args(kind)}
        if Path in kinds and isinstance(value, str | Path) and str(value) and value not in words:
            return _whole_path(Path(value))
        if annotation == tuple[str, ...] and isinstance(value, str):
            return _words(value)
        if isinstance(value, bool) and "off" in kinds and not value:
            return "off"  # YAML 1.1 reads a bare `off` as false
        return value


def one_or_a_pair(value: Any) -> Any:
    """Check a number of channels or a pair of such numbers. Text, such as ``16`` or ``16,32``, is read; empty text means None.

    Raises:
        ValueError: If the value is something else, or a number is below 1 or too large.

    Examples:
        >>> one_or_a_pair("16"), one_or_a_pair("16, 32"), one_or_a_pair([16, 32])
        (16, (16, 32), [16, 32])
    """
    if isinstance(value, str):
        words = value.strip(" ()[]").replace(",", " ").split()
        is_none = not words or value.strip().lower() in ("none", "null")
        numbers = () if is_none else tuple(int(word) if word.isdecimal() else word for word in words)
        value = numbers[0] if len(numbers) == 1 else numbers or None
    parts = value if isinstance(value, list | tuple) else (value, value)
    if value is not None and (len(parts) != 2 or any(type(n) is not int or not 1 <= n <= MOST_CHANNELS for n in parts)):
        raise ValueError(
            f"give one integer from 1 to {MOST_CHANNELS:,}, or a pair such as 16,32: output and input channels"
        )
    return value


def from_json(value: Any, example: str) -> Any:
    """Read a mapping from JSON text, such as text from the command line. Return any other value unchanged.

    Args:
        value: JSON text, or a mapping. Empty text gives an empty mapping.
        example: JSON to show in the message of an error.

    Raises:
        ValueError: If the text is not JSON; the message shows the example.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else {}
    except json.JSONDecodeError as error:
        raise ValueError(f"as text it should be JSON, such as {example}: {error}") from error
