"""Compare one run with another one: the settings in which they differ, and their results with the difference in words.

Tests: tests/runs/test_run_against.py.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from nes_lab.records.columns import Column
from nes_lab.records.table import Table
from nes_lab.runs.compared_settings import compared_settings
from nes_lab.runs.info import RunInfo
from nes_lab.runs.kept_curve import KeptCurve
from nes_lab.runs.result_rows import result_rows
from nes_lab.text import NO_VALUE, format_ms, format_percent, format_seconds, format_value

__all__ = ["results_beside", "run_against"]

_EQUAL = 0.005
"""Relative difference below which two measured times count as equal."""


def run_against(this: RunInfo, other: RunInfo, curves: tuple[KeptCurve, KeptCurve]) -> Table:
    """Return a table of what differs between two runs: settings, the accuracy at the same epoch, times and sizes.

    Args:
        this: The run.
        other: The run to compare with.
        curves: The curves of both runs.

    Examples:
        >>> runs = [RunInfo(name, summary={"madds": madds}) for name, madds in (("a", 100), ("b", 200))]
        >>> run_against(*runs, (KeptCurve(), KeptCurve())).rows[-1]["difference"]
        '0.5 ×'
    """
    columns = [
        Column("field", "what", "A setting or a result."),
        Column("this", "this run", this.label or this.id),
        Column("other", other.label or other.id, "The run to compare with."),
        Column("difference", "difference", "This run compared with the other one."),
    ]
    settings = [
        {"field": row["field"], "this": row["run-0"], "other": row["run-1"], "difference": NO_VALUE}
        for row in compared_settings([this, other]).rows
    ]
    return Table(columns, [*settings, *_accuracy(this, other, curves), *_time(curves), *_costs(this, other)])


def results_beside(this: RunInfo, other: RunInfo | None = None) -> Table:
    """Return a table with one row per result of a run, and the same result of another run beside it.

    Examples:
        >>> results_beside(RunInfo("a", summary={"seed": 1}), RunInfo("b", label="second", summary={})).rows
        [{'result': 'Seed', 'value': '1', 'other': '–'}]
    """
    rows = result_rows(this.summary)
    columns = [
        Column("result", "result", "Name of the result."),
        Column("value", "value" if other is None else "this run", this.label or this.id),
    ]
    if other is None:
        return Table(columns, rows)
    theirs = {row["result"]: row["value"] for row in result_rows(other.summary)}
    rows = [row | {"other": theirs.pop(row["result"], NO_VALUE)} for row in rows]
    rows += [{"result": name, "value": NO_VALUE, "other": value} for name, value in theirs.items()]
    return Table([*columns, Column("other", other.label or other.id, "The run to compare with.")], rows)


def _accuracy(this: RunInfo, other: RunInfo, curves: tuple[KeptCurve, KeptCurve]) -> list[dict[str, str]]:
    """Return a row about the top-1 in validation at the last epoch that both runs have."""
    if any(curve.metric != "top1" for curve in curves):
        return []
    by_epoch = [
        {
            round(point.epoch, 3): point.value
            for point in curve.points("val")
            if point.epoch is not None and point.value is not None
        }
        for curve in curves
    ]
    common = by_epoch[0].keys() & by_epoch[1].keys()
    if not common:
        return []
    epoch = max(common)
    first, second = (float(values[epoch] or 0.0) for values in by_epoch)
    data = [info.config.get("data") or {} for info in (this, other)]
    same = all(data[0].get(name) == data[1].get(name) for name in ("name", "root"))
    told = "one run each: may be chance" if same else "not the same data"
    row = {"field": f"Top-1 at epoch {epoch:g}", "this": format_percent(first, 2), "other": format_percent(second, 2)}
    return [row | {"difference": f"{first - second:+.2f} points, {told}"}]


def _time(curves: tuple[KeptCurve, KeptCurve]) -> list[dict[str, str]]:
    first, second = (_epoch_seconds(curve) for curve in curves)
    if first is None or second is None:
        return []
    row = {"field": "Time of an epoch", "this": format_seconds(first), "other": format_seconds(second)}
    return [row | {"difference": _ratio(first, second)}]


def _epoch_seconds(curve: KeptCurve) -> float | None:
    """Return the median time of an epoch. The time of a pause before a resume does not count."""
    points = [point for point in curve.points("val") if point.epoch is not None and point.time is not None]
    spans = [
        ((later.time or 0.0) - (before.time or 0.0)) / ((later.epoch or 0.0) - (before.epoch or 0.0))
        for before, later in pairwise(points)
        if later.attempt == before.attempt and (later.epoch or 0.0) > (before.epoch or 0.0)
    ]
    return statistics.median(spans) if spans else None


def _costs(this: RunInfo, other: RunInfo) -> list[dict[str, str]]:
    names = (
        ("madds", "MAdds", format_value),
        ("params", "Params", format_value),
        ("latency_ms", "Time of one image", format_ms),
    )
    rows = []
    for key, name, text in names:
        first, second = _number(this.summary, key), _number(other.summary, key)
        if first is not None and second is not None:
            rows.append(
                {"field": name, "this": text(first), "other": text(second), "difference": _ratio(first, second)}
            )
    return rows


def _ratio(first: float, second: float) -> str:
    if first == second or (second and abs(first / second - 1) < _EQUAL and not isinstance(first, int)):
        return "equal"
    return f"{first / second:.3g} ×" if second else NO_VALUE


def _number(summary: Mapping[str, Any], key: str) -> float | int | None:
    value = summary.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
