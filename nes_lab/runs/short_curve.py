"""Read a short curve of a run's accuracy for a table of many runs. Most lines of the metrics file are not parsed.

Tests: tests/runs/test_overview.py.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nes_lab.errors import RunError
from nes_lab.runs import layout
from nes_lab.runs.current_metrics import current_rows
from nes_lab.runs.deciding_metric import deciding_metric
from nes_lab.runs.files import read_bytes
from nes_lab.runs.store import RunStore

__all__ = ["ShortCurve", "curve_mark", "short_curve"]

MOST_POINTS = 60


@dataclass(frozen=True)
class ShortCurve:
    """Holds a short curve of a run.

    Attributes:
        values: Values of the run's first metric in validation, usually top-1 in percent, in order of steps.
        metric: Name of the metric.
        seconds: Seconds from the first measurement to the latest one; None if there are fewer than two.
    """

    values: tuple[float, ...] = ()
    metric: str = "top1"
    seconds: float | None = None


def curve_mark(store: RunStore, run_id: str) -> tuple[int, int]:
    """Return a mark that changes when the metrics of a run change. It is (0, 0) if there are none."""
    try:
        about = (store.path(run_id) / layout.METRICS).stat()
    except (OSError, RunError):
        return (0, 0)
    return about.st_size, about.st_mtime_ns


def short_curve(store: RunStore, run_id: str, most: int = MOST_POINTS) -> ShortCurve:
    """Read the validations of a run, evenly spaced if there are more than ``most``. Damaged lines are left out.

    Examples:
        >>> import tempfile
        >>> from nes_lab.runs.writer import RunWriter
        >>> store = RunStore(tempfile.mkdtemp())
        >>> run_id = store.create({})
        >>> with RunWriter(store, run_id) as writer:
        ...     for step in (1, 2, 3):
        ...         writer.metric(step=step, split="val", top1=20.0 * step)
        >>> short_curve(store, run_id).values
        (20.0, 40.0, 60.0)
    """
    try:
        data = read_bytes(store.path(run_id) / layout.METRICS).strip()
    except (OSError, RunError):
        return ShortCurve()
    rows = [row for row in current_rows(_rows(_thin(_lines_with(data, b'"val"'), most))) if row.get("split") == "val"]
    name = deciding_metric(rows).name
    values: list[Any] = [row.get(name) for row in rows]
    ends = data[: data.find(b"\n") + 1 or None], data[data.rfind(b"\n") + 1 :]
    times = [row["time"] for row in _rows(ends) if _is_finite(row.get("time"))]
    seconds = times[-1] - times[0] if len(times) > 1 and times[-1] > times[0] else None
    return ShortCurve(tuple(float(value) for value in values if _is_finite(value)), name, seconds)


def _lines_with(data: bytes, word: bytes) -> list[bytes]:
    """Return the lines that contain a word. The other lines are not looked at, which is fast."""
    lines, at = [], data.find(word)
    while at >= 0:
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        lines.append(data[data.rfind(b"\n", 0, at) + 1 : end])
        at = data.find(word, end)
    return lines


def _thin(lines: Sequence[bytes], most: int) -> Sequence[bytes]:
    if len(lines) <= most:
        return lines
    return [lines[index * (len(lines) - 1) // (most - 1)] for index in range(most)]


def _rows(lines: Iterable[bytes]) -> Iterable[dict[str, Any]]:
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict):
                yield row


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
