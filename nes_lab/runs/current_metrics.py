"""Select the valid rows of metrics of a run that was resumed. Such a run may have written rows for the same step twice.

Tests: tests/runs/test_writer.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["current_rows"]


def current_rows(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the valid rows of metrics in order of steps: the last row for each step and split (``train`` or ``val``).

    ``attempt`` in a row is the number of the start or resume that wrote the row. If a later attempt began again at some
    step, the rows of earlier attempts from that step on are dropped. One exception: if the later attempt began with the
    validation of that step, the earlier training row of the step is kept.

    Examples:
        >>> first = [{"step": s, "attempt": 1, "loss": 1.0} for s in (1, 2, 3)]
        >>> [row["loss"] for row in current_rows([*first, {"step": 2, "attempt": 2, "loss": 0.5}])]
        [1.0, 0.5]
    """
    last: dict[tuple[int, int, str], dict[str, Any]] = {}
    begins: dict[int, tuple[int, bool]] = {}
    for row in rows:
        step, attempt = row.get("step"), row.get("attempt", 1)
        if type(step) is not int or type(attempt) is not int:
            continue
        split = str(row.get("split", "train"))
        moment = (step, split != "train")
        last[attempt, step, split] = row
        begins[attempt] = min(moment, begins.get(attempt, moment))
    kept = [key for key in last if all(_moment(key) < start for later, start in begins.items() if later > key[0])]
    return [last[key] for key in sorted(kept, key=lambda key: (key[1], key[2]))]


def _moment(key: tuple[int, int, str]) -> tuple[int, bool]:
    return key[1], key[2] != "train"
