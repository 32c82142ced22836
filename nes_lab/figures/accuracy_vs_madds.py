"""Draw accuracy against multiply-adds, for runs measured here and for published results.

Tests: tests/figures/test_pictures.py
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import plotly.graph_objects as go

from nes_lab.figures.inputs import run_rows
from nes_lab.figures.theme import (
    METHODS,
    OKABE_ITO,
    REPORTED,
    legend_below,
    new_figure,
    plain,
    series_style,
    write_inside,
)
from nes_lab.runs.handle import RunHandle
from nes_lab.runs.info import RunInfo
from nes_lab.runs.query import group_rows
from nes_lab.text import format_number

__all__ = ["MeasuredPoint", "ReportedPoint", "accuracy_vs_madds", "measured_points", "series_name"]

WIDE = 30
"""The MAdds axis is logarithmic if its largest value is more than this many times its smallest."""
_TRAINING = ("epochs", "extended_from", "lr", "limit")
_LINE = ("dataset", "backbone", "recipe")
_SHOWN = ("dataset", "backbone", "width", "routing", "scope", "params", "madds")
_SETTING = (*_SHOWN, *_TRAINING, "recipe", "setting")


@dataclass(frozen=True)
class ReportedPoint:
    """A published result: the top-1 accuracy and the multiply-adds of one network.

    Args:
        name: Name of the network in its source.
        madds: Number of multiply-adds.
        top1: Top-1 accuracy in percent.
        source: Where the result was published. The figure always shows it.
        series: Name of a group of points; empty if the point is in no group. A dashed line joins the points of a group.

    Examples:
        >>> import nes_lab
        >>> nes_lab.figures.ReportedPoint("MobileNetV2 1.0", 301e6, 71.8, "model card").top1
        71.8
    """

    name: str
    madds: float
    top1: float
    source: str
    series: str = ""


@dataclass(frozen=True)
class MeasuredPoint:
    """One point of the figure of accuracy against multiply-adds: the result of runs that differ only in their seed.

    Args:
        series: Name of the point's group: ``"dense"``, or ``"epitome"`` with the routing (way to set starts).
        label: Name of the point in the figure.
        madds: Number of multiply-adds.
        params: Number of params; None if it is not known.
        top1: Mean top-1 accuracy of the runs in percent.
        error: Standard error of the mean; None for a single run.
        n: Number of runs.
        line: Data set, backbone and training recipe. A line in the figure joins the points with the same ``series`` and
            ``line``.
        detail: Text such as ``"20 epochs"`` that tells this point from points with the same ``series`` and ``label``.

    Examples:
        >>> import nes_lab
        >>> nes_lab.figures.MeasuredPoint("mine", "half width", 1.5e8, None, top1=70.1, error=0.2, n=3).top1
        70.1
    """

    series: str
    label: str
    madds: float
    params: float | None
    top1: float
    error: float | None
    n: int
    line: tuple[Any, ...] = ()
    detail: str = ""


def series_name(row: Mapping[str, Any]) -> str:
    """Return the name of the group to which a point of the figure belongs.

    The group of a run with epitome layers is ``"epitome"`` with their routing. The group of a run without them is
    ``"dense"``. A point that the user wrote has no entry ``routing``. Its entry ``series`` names the group; without it,
    the entry ``name`` does.

    Examples:
        >>> series_name({"routing": "free"}), series_name({"routing": None})
        ('epitome, free', 'dense')
    """
    if "routing" not in row:
        return str(row.get("series") or row.get("name") or "own points")
    return f"epitome, {row['routing']}" if row.get("routing") else "dense"


def measured_points(rows: Iterable[Mapping[str, Any] | MeasuredPoint]) -> list[MeasuredPoint]:
    """Combine runs that differ only in their seed into one point of the figure. Runs without accuracy or multiply-adds are left out.

    Args:
        rows: Rows of a run table, one mapping per run. If two runs have the same setting and seed, only the newest counts.

    Examples:
        >>> rows = [{"routing": None, "madds": 10, "top1": top1} for top1 in (90.0, 92.0)]
        >>> point = measured_points(rows)[0]
        >>> point.top1, round(point.error, 3), point.n
        (91.0, 1.0, 2)
    """
    rows = list(rows)
    points = [row for row in rows if isinstance(row, MeasuredPoint)]
    points += [_plain_point(row) for row in _usable(rows, is_run=False)]
    groups = group_rows(_one_per_seed(_usable(rows)), by=_SETTING)
    points += [_point(group, _detail(group, groups)) for group in groups]
    return sorted(points, key=lambda point: (point.series, point.madds))


def _usable(rows: Iterable[Mapping[str, Any] | MeasuredPoint], is_run: bool = True) -> list[Mapping[str, Any]]:
    """Return the rows that have multiply-adds and an accuracy.

    If ``is_run`` is True, only rows of runs are returned, otherwise only points that the user gave as mappings.
    """
    mappings = (row for row in rows if not isinstance(row, MeasuredPoint) and ("routing" in row) == is_run)
    return [row for row in mappings if _is_number(row.get("madds")) and _is_number(row.get("top1"))]


def _plain_point(row: Mapping[str, Any]) -> MeasuredPoint:
    """Return a :class:`MeasuredPoint` for a point that the user gave as a mapping.

    The mapping has the keys ``name``, ``madds``, ``top1`` and, if known, ``error``.
    """
    return MeasuredPoint(
        series=series_name(row),
        label=str(row.get("name") or ""),
        madds=float(row["madds"]),
        params=row.get("params"),
        top1=float(row["top1"]),
        error=row.get("error"),
        n=row.get("n", 1),
    )


def _one_per_seed(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows of a run table with only one run, the newest, for each configuration and seed.

    A run whose configuration or seed is not known is kept too.
    """
    kept: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for place, row in enumerate(rows):
        known = row.get("setting") is not None and row.get("seed") is not None
        key = (row["setting"], row["seed"], row.get("params"), row["madds"]) if known else (place,)
        if key not in kept or str(row.get("id")) > str(kept[key].get("id")):
            kept[key] = row
    return list(kept.values())


def _detail(group: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> str:
    """Describe how one point of the figure differs from the other points with the same routing (way to set starts).

    The text names the training options that differ. If this does not tell the points apart, a hash of the configuration is
    added.
    """
    series = [other for other in groups if series_name(other) == series_name(group)]
    texts = {
        "epochs": f"{group['epochs']} epochs",
        "extended_from": f"extended from {group['extended_from']}" if group["extended_from"] else "not extended",
        "lr": f"lr {group['lr']}",
        "limit": "all training images" if group["limit"] is None else f"{group['limit']} training images",
    }
    names = [name for name in _TRAINING if any(other[name] != group[name] for other in series)]
    if group["extended_from"] and "extended_from" not in names:
        names.append("extended_from")
    visible = (*_SHOWN, *names)
    duplicates = [other for other in series if all(other[name] == group[name] for name in visible)]
    words = [texts[name] for name in names]
    if len(duplicates) > 1:
        words.append(f"setting {group['setting']}")
    return ", ".join(words)


def _point(group: Mapping[str, Any], detail: str) -> MeasuredPoint:
    spread = group["top1_std"]
    return MeasuredPoint(
        series=series_name(group),
        label=_label(group),
        madds=float(group["madds"]),
        params=group["params"],
        top1=group["top1"],
        error=None if spread is None else spread / math.sqrt(group["n"]),
        n=group["n"],
        line=tuple(group[name] for name in _LINE),
        detail=detail,
    )


def accuracy_vs_madds(
    runs: Iterable[RunHandle | RunInfo | MeasuredPoint | Mapping[str, Any]],
    budget: float | None = None,
    reported: Sequence[ReportedPoint] = (),
) -> go.Figure:
    """Draw top-1 accuracy against multiply-adds, for measured runs and published results.

    Args:
        runs: Runs, as :func:`nes_lab.list_runs` returns them, or rows of a run table, one mapping per run. Runs that differ only
            in their seed become one point with its standard error. Your own points are mappings with ``name``, ``madds``,
            ``top1`` and, if known, ``error`` (standard error), ``params`` and ``series``. A line joins points with the same
            ``series``.
        budget: Multiply-adds at which a vertical line is drawn. A star marks the most accurate measured point with at
            most this many multiply-adds. None draws no line and no star.
        reported: Published results. They are drawn in gray, with dashed lines and hollow markers, and with their sources.

    Returns:
        A figure. Dense networks and each routing of epitome networks have their own color. A line joins points of one
        color that have the same data set, backbone and training recipe.

    Examples:
        >>> import nes_lab
        >>> mine = [{"name": "dense", "madds": 301e6, "top1": 71.8}, {"name": "half", "madds": 151e6, "top1": 70.1, "error": 0.2}]
        >>> figure = nes_lab.figures.accuracy_vs_madds(mine, budget=225e6)
        >>> [trace.name for trace in figure.data]
        ['dense (measured)', 'half (measured)', 'best within the budget']
    """
    rows = run_rows(runs)
    others = [row for row in rows if not isinstance(row, MeasuredPoint) and not _is_number(row.get("top1"))]
    other = f"{len(others)} {'run' if len(others) == 1 else 'runs'} without top-1 accuracy" if others else ""
    points = measured_points(rows)
    seeds = sum(point.n for point in points)
    repeats = len(_usable(rows)) - len(_one_per_seed(_usable(rows)))
    repeated = f"{repeats} older {'run' if repeats == 1 else 'runs'} with the same seed" if repeats else ""
    left_out = "; ".join(filter(None, (repeated, other)))
    second_line = f"<br>left out: {left_out}" if left_out else ""
    measured = f"{len(points)} setting{'' if len(points) == 1 else 's'}, {seeds} run{'' if seeds == 1 else 's'}"
    figure = new_figure(
        f"Top-1 accuracy against multiply-adds: {measured} measured, {len(reported)} reported points.",
        title={
            "text": "Accuracy against multiply-adds",
            "subtitle": {"text": f"measured: {measured}; bars show the standard error over seeds{second_line}"},
        },
        margin_t=100 if second_line else 84,
    )
    for name, place in _series_places(points).items():
        series = [point for point in points if point.series == name]
        for number, line in enumerate(dict.fromkeys(point.line for point in series)):
            _add_measured(figure, [point for point in series if point.line == line], place, in_legend=number == 0)
    _add_best(figure, points, budget)
    for name in dict.fromkeys(point.series for point in reported):
        _add_reported(figure, [point for point in reported if point.series == name])
    madds = [point.madds for point in (*points, *reported)] + ([] if budget is None else [budget])
    is_log = bool(madds) and min(madds) > 0 and max(madds) > WIDE * min(madds)
    if budget is not None:
        _add_budget(figure, budget, is_log)
    entries = len(list(figure.select_traces(lambda trace: trace.showlegend is not False)))
    legend_below(figure, 430, entries)
    figure.update_xaxes(
        title_text="MAdds of one forward pass (multiply-adds)",
        tickformat="~s",
        type="log" if is_log else "linear",
        dtick=1 if is_log else None,
    )
    figure.update_yaxes(title_text="top-1 accuracy (%)")
    if not points and not reported:
        write_inside(figure, f"{other}." if other else "No finished run has an accuracy yet.")
    return figure


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _label(row: Mapping[str, Any]) -> str:
    width = row.get("width")
    parts = [
        str(row.get("dataset") or ""),
        str(row.get("backbone") or ""),
        f"width {width:g}" if _is_number(width) else "",
        str(row.get("scope") or ""),
    ]
    return ", ".join(part for part in parts if part)


def _series_places(points: Sequence[MeasuredPoint]) -> dict[str, int]:
    """Return the number of the style of each group of points, in the order of the legend.

    The group ``"dense"`` comes first. The others are one group for each routing (way to set starts). Their styles are the same in
    every figure. The groups of the user's own points get the styles that are left.
    """
    known = [name if name == "dense" else f"epitome, {name}" for name in METHODS]
    names = {point.series for point in points}
    places = {name: place for place, name in enumerate(known) if name in names}
    left = (place for place in count() if place not in places.values())
    return {**places, **{name: next(left) for name in sorted(names - set(known))}}


def _add_measured(figure: go.Figure, points: Sequence[MeasuredPoint], place: int, in_legend: bool) -> None:
    style = series_style(place)
    figure.add_scatter(
        x=[point.madds for point in points],
        y=[point.top1 for point in points],
        error_y={"type": "data", "array": [point.error or 0 for point in points], "thickness": 1.5, "width": 5},
        customdata=[
            [
                plain(", ".join(part for part in (point.label, point.detail) if part)),
                format_number(point.madds),
                format_number(point.params),
                point.n,
                "(no standard error)" if point.error is None else f"± {point.error:.2f} (standard error)",
            ]
            for point in points
        ],
        mode="lines+markers",
        line={"color": style.color, "dash": style.dash, "width": 1.5},
        marker={"color": style.color, "symbol": style.symbol, "size": 10},
        name=f"{plain(points[0].series)} (measured)",
        legendgroup=points[0].series,
        showlegend=in_legend,
        hovertemplate="%{fullData.name}<br>%{customdata[0]}<br>%{y:.2f} % %{customdata[4]}<br>"
        "%{customdata[1]} MAdds, %{customdata[2]} params, %{customdata[3]} runs<extra></extra>",
    )


def _add_best(figure: go.Figure, points: Sequence[MeasuredPoint], budget: float | None) -> None:
    affordable = [point for point in points if budget is not None and point.madds <= budget]
    if not affordable:
        return
    best = max(affordable, key=lambda point: point.top1)
    figure.add_scatter(
        x=[best.madds],
        y=[best.top1],
        mode="markers",
        marker={"symbol": "star-open", "size": 22, "color": OKABE_ITO[4], "line": {"width": 2}},
        name="best within the budget",
        hoverinfo="skip",
    )


def _add_reported(figure: go.Figure, points: Sequence[ReportedPoint]) -> None:
    ordered = sorted(points, key=lambda point: point.madds)
    name = ordered[0].series or ordered[0].name
    figure.add_scatter(
        x=[point.madds for point in ordered],
        y=[point.top1 for point in ordered],
        customdata=[[plain(point.name), plain(point.source)] for point in ordered],
        mode="lines+markers",
        line={"color": REPORTED, "dash": "dash", "width": 1},
        marker={"color": REPORTED, "symbol": "circle-open", "size": 9},
        name=f"{plain(name)} (reported: {plain(ordered[0].source)})",
        hovertemplate="%{customdata[0]}: %{y:.2f} % at %{x:.3s} MAdds<br>reported by %{customdata[1]}<extra></extra>",
    )


def _add_budget(figure: go.Figure, budget: float, is_log: bool) -> None:
    figure.add_vline(x=budget, line={"dash": "dot", "color": OKABE_ITO[3], "width": 2})
    figure.add_annotation(
        x=math.log10(budget)
        if is_log
        else budget,  # on a logarithmic axis, plotly takes the logarithm here, but not for a line
        y=1,
        yref="paper",
        yanchor="bottom",
        showarrow=False,
        text=f"budget {format_number(budget)}",
        font={"color": OKABE_ITO[3], "size": 12},
    )
