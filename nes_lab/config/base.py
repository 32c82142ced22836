"""What all sections of a configuration share: frozen, strict, and plain about what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

__all__ = ["Section", "from_json"]


def _is_numeric(annotation: Any) -> bool:
    kinds = set(get_args(annotation)) or {annotation}
    return bool(kinds & {int, float}) and bool not in kinds


def _words(text: str) -> tuple[str, ...]:
    """Read a list from a command line: words with commas between them, in YAML's brackets or without."""
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    return tuple(word for part in text.split(",") if (word := part.strip(" \t\n'\"")))


def _whole_path(path: Path) -> Path:
    """Return a path that means the same wherever a run is resumed."""
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(f"there is no home folder {path.parts[0]}") from error


class Section(BaseModel):
    """Parent of all sections: frozen, no unknown keys, no NaN, no yes/no where a number belongs."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _plain_values(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[info.field_name or ""].annotation
        kinds = get_args(annotation)
        if isinstance(value, bool) and _is_numeric(annotation):
            raise ValueError("a number is wanted here, not true or false")
        if NoneType in kinds and isinstance(value, str) and value.strip().lower() in ("none", "null"):
            return None
        if Path in kinds and isinstance(value, str | Path) and str(value):
            return _whole_path(Path(value))
        if annotation == tuple[str, ...] and isinstance(value, str):
            return _words(value)
        if isinstance(value, bool) and "off" in kinds and not value:
            return "off"  # YAML 1.1 reads a bare `off` as false
        return value


def from_json(value: Any, example: str) -> Any:
    """Read a mapping that was given as text, as a command line does.

    Raises:
        ValueError: If it is text and not JSON; shows an example.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else {}
    except json.JSONDecodeError as error:
        raise ValueError(f"as text it should be JSON, such as {example}: {error}") from error
