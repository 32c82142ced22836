"""Reading what this package writes as JSON: text to data of a known schema, or an error that says what was found. Torch-free."""

from __future__ import annotations

import json
from typing import Any

from nes_lab.errors import PlanError

__all__ = ["check_schema", "load_json"]


def load_json(text: str, what: str) -> Any:
    """The data in a JSON text.

    Raises:
        PlanError: If the text is no JSON; names ``what`` it should have held.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise PlanError(f"this is no {what} in JSON: {error}") from error


def check_schema(data: Any, what: str, schema: int) -> dict[str, Any]:
    """The data, when it is a record of this schema.

    Raises:
        PlanError: If it is none; names the schema found and the one that can be read.
    """
    if not isinstance(data, dict) or data.get("schema") != schema:
        found = data.get("schema") if isinstance(data, dict) else type(data).__name__
        raise PlanError(f"schema={found!r}; this version reads {what}s of schema {schema}")
    return data
