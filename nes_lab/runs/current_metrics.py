"""Leave out the rows of metrics that a resume has replaced: all earlier rows from the step on at which the run was resumed.

Tests: tests/runs/test_writer.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["current_rows"]


def current_rows(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the valid rows of metrics in order of steps, one row for each step and split (``train`` or ``val``).

    A run that is resumed at an earlier step writes some steps again. The new rows then replace all earlier rows from
    that step on. ``attempt`` in a row is 1 before the run was resumed, 2 after the first resume, and so on.

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
        # A run may be resumed at the validation of a step. The training row of that step then stays valid.
        moment = (step, split != "train")
        last[attempt, step, split] = row
        begins[attempt] = min(moment, begins.get(attempt, moment))
    kept = [key for key in last if all(_moment(key) < start for later, start in begins.items() if later > key[0])]
    return [last[key] for key in sorted(kept, key=lambda key: (key[1], key[2]))]


def _moment(key: tuple[int, int, str]) -> tuple[int, bool]:
    return key[1], key[2] != "train"
