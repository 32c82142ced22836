"""Make a table of runs for people: state, settings, accuracy, size, progress and times. Also filter runs.

Tests: tests/runs/test_overview.py.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from nes_lab.records.columns import columns
from nes_lab.records.table import Table
from nes_lab.runs.details import RunDetails
from nes_lab.runs.info import RunInfo
from nes_lab.runs.query import run_table
from nes_lab.text import NO_VALUE, format_clock, format_number, format_share, space_percent

__all__ = ["DENSE", "budget_text", "filter_runs", "filter_values", "overview"]

DENSE = "dense"
SHOWN = ("label", "state", "place", "progress", "time_left", "tags", "top1", "curve", "madds", "params", "latency_ms")
SHOWN += ("routing", "budget", "note", "group", "duration", "started", "disk", "id")
_LIMITS = {"madds": "MAdds", "params": "params", "latency_ms": "ms", "stored_bytes": "bytes", "preset": ""}


def overview(
    infos: Iterable[RunInfo],
    details: Mapping[str, RunDetails] | None = None,
    left: Mapping[str, float | None] | None = None,
    waiting: Sequence[str] = (),
) -> Table:
    """Return a table with one row per run, in the order of ``infos``.

    Args:
        infos: The runs.
        details: Short curve and disk use of each run, by id. None: not known.
        left: Seconds that active runs still need, by id. None: not known.
        waiting: Ids of the runs in the queue, in the order in which they will start.

    Examples:
        >>> from nes_lab.runs.short_curve import ShortCurve
        >>> run = RunInfo("a", label="first", state="finished", summary={"top1": 91.0, "madds": 900_000})
        >>> row = overview([run], {"a": RunDetails(ShortCurve((50.0, 91.0)), 4096)}).rows[0]
        >>> row["label"], row["routing"], row["top1"], row["madds"], row["curve"], row["disk"]
        ('first', 'dense', 91.0, 900000, [50.0, 91.0], 4096)
    """
    infos, details, left = list(infos), details or {}, left or {}
    places = {run_id: place for place, run_id in enumerate(waiting, start=1)}
    none = RunDetails()
    rows = []
    for info, row in zip(infos, run_table(infos), strict=True):
        seconds = left.get(info.id)
        numbers = {"place": places.get(info.id), "time_left": None if seconds is None else format_clock(seconds)}
        rows.append(_row(info, row, details.get(info.id, none)) | numbers)
    return Table(columns(*SHOWN), rows)


def _row(info: RunInfo, row: Mapping[str, Any], details: RunDetails) -> dict[str, Any]:
    curve = details.curve
    latest = curve.values[-1] if curve.values and curve.metric == "top1" else None
    seconds = info.summary.get("seconds", curve.seconds)
    return {
        **{name: row[name] for name in ("id", "label", "state", "madds", "params", "latency_ms")},
        "progress": math.floor(100 * info.bar_progress) / 100,  # whole percents; 100 % only at the end
        "tags": ", ".join(info.tags),
        "note": info.note,
        "disk": details.disk,
        "top1": latest if row["top1"] is None else row["top1"],
        "curve": list(curve.values),
        "routing": row["routing"] or DENSE,
        "budget": budget_text(info.config) or NO_VALUE,
        "group": info.group or NO_VALUE,
        "started": datetime.fromtimestamp(info.created) if info.created else None,
        "duration": format_clock(seconds if isinstance(seconds, int | float) else None),
    }


def budget_text(config: Mapping[str, Any]) -> str:
    """Return the budget of a configuration as text; empty for a dense network.

    Examples:
        >>> budget_text({"compression": {"madds": "60%", "params": 20000}}), budget_text({"compression": None})
        ('MAdds 60 %, params 20 k', '')
    """
    section = config.get("compression")
    if not isinstance(section, Mapping):
        return ""
    limits = {title: section.get(name) for name, title in _LIMITS.items()}
    return ", ".join(f"{title} {_limit(value)}".strip() for title, value in limits.items() if value not in (None, ""))


def _limit(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return space_percent(str(value))
    return format_share(value, digits=0) if 0 < value <= 1 else format_number(value)


def filter_values(infos: Iterable[RunInfo]) -> dict[str, list[str]]:
    """Return the states, groups, routings and tags that some runs have, by name of the column. Each list is in alphabetical order.

    Examples:
        >>> filter_values([RunInfo("a", state="failed", group="demo")])
        {'state': ['failed'], 'group': ['demo'], 'routing': ['dense'], 'tags': []}
    """
    infos = list(infos)
    rows = [_settings(info) for info in infos]
    values = {name: sorted({row[name] for row in rows} - {""}) for name in ("state", "group", "routing")}
    return values | {"tags": sorted({tag for info in infos for tag in info.tags})}


def filter_runs(
    infos: Iterable[RunInfo],
    states: Collection[str] | None = None,
    groups: Collection[str] | None = None,
    routings: Collection[str] | None = None,
    text: str | None = None,
    tags: Collection[str] | None = None,
) -> list[RunInfo]:
    """Return the runs that have one of the states, groups and routings, have all the tags, and contain a text.

    Args:
        infos: The runs.
        states: Names of states. None or empty: any state.
        groups: Names of groups. None or empty: any group.
        routings: Names of routings, or ``dense``. None or empty: any routing.
        text: Words that the label, id, group, tags, note, data set, backbone or budget of a run must all contain. Upper and lower
            case are the same. None or empty: any run.
        tags: Tags that a run must all have. None or empty: any run.

    Examples:
        >>> runs = [RunInfo("a", label="Wide net", state="failed"), RunInfo("b", state="finished")]
        >>> [info.id for info in filter_runs(runs, text="wide")], [info.id for info in filter_runs(runs, ["finished"])]
        (['a'], ['b'])
    """
    wanted = {"state": states, "group": groups, "routing": routings}
    words = (text or "").lower().split()
    chosen = []
    for info in infos:
        row = _settings(info)
        fits = all(row[name] in values for name, values in wanted.items() if values)
        fits = fits and set(tags or ()) <= set(info.tags)
        if fits and all(word in row["text"] for word in words):
            chosen.append(info)
    return chosen


def _settings(info: RunInfo) -> dict[str, str]:
    row = run_table([info])[0]
    searched = (
        info.label,
        info.id,
        info.group,
        *info.tags,
        info.note,
        row["dataset"],
        row["backbone"],
        budget_text(info.config),
        budget_text(info.config).replace(" %", "%"),
    )
    text = " ".join(str(part or "") for part in searched).lower()
    return {"state": info.state, "group": info.group, "routing": str(row["routing"] or DENSE), "text": text}
