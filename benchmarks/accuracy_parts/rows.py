"""Keep the results of a study in a file with one JSON object per line; a line is added when a training ends."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from nes_lab.runs.files import append_line, open_to_append

__all__ = ["Row", "add_row", "read_rows"]

Row = dict[str, Any]
"""What one training gave: its setting, its accuracies, its costs, and the machine."""


def read_rows(path: Path) -> dict[str, Row]:
    """Return the rows of a result file by the id of the training; the file may be missing.

    Raises:
        ValueError: If a line is not a row; the message names the line.
    """
    rows: dict[str, Row] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.exists() else (), 1):
        try:
            row = json.loads(line)
            rows[row["id"]] = row
        except (json.JSONDecodeError, TypeError, KeyError) as error:
            raise ValueError(f"{path.name}, line {number} is not a result of this study: {line[:80]!r}") from error
    return rows


def add_row(path: Path, row: Row) -> None:
    """Add a row to a result file in a single write, so that a process that is killed leaves complete lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = open_to_append(path)
    try:
        append_line(handle, dict(sorted(row.items())), path.name)
        os.fsync(handle)
    finally:
        os.close(handle)
