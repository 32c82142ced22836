"""Draw what networks cost against how good they are, with a front for each method and every seed as a dot.

Tests: tests/figures/test_trade_off.py
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from nes_lab.figures.inputs import run_rows
from nes_lab.figures.theme import REPORTED, SeriesStyle, legend_below, method_style, new_figure, plain
from nes_lab.runs.handle import RunHandle
from nes_lab.runs.info import RunInfo
from nes_lab.runs.measures import COSTS, RESULTS
from nes_lab.runs.settings import SettingResult, setting_results
from nes_lab.runs.verdict import verdict

__all__ = ["trade_off"]

WIDE = 8
"""The axis of the cost is logarithmic if its largest value is more than this many times its smallest."""
TITLE_WIDTH = 46
"""Characters in a line of a title, so that it fits a phone."""
_APART = 0.012
"""Methods at one cost are drawn this far apart, as a share of the axis."""


def trade_off(
    runs: Iterable[RunHandle | RunInfo | Mapping[str, Any]],
    cost: str = "madds",
    result: str = "top1",
    budget: float | None = None,
) -> go.Figure:
    """Draw what networks cost against how good they are, with a front for each method and every seed as a dot.

    A method is ``dense`` or a routing (way to set starts). Its line joins the settings that no cheaper setting of the same method
    beats; the others are hollow.

    Args:
        runs: Runs, as :func:`nes_lab.list_runs` returns them, or rows of a run table, one mapping per run.
        cost: ``"madds"``, ``"params"``, ``"stored_bytes"`` or ``"latency_ms"``.
        result: ``"top1"``, ``"top5"`` or ``"val_loss"``.
        budget: The most that a network may cost. The region above is hatched, and a ring marks the best setting below. None: no
            limit.

    Raises:
        OptionError: If the cost or the result is unknown.

    Examples:
        >>> import nes_lab
        >>> rows = [{"routing": "free", "setting": "a", "seed": seed, "madds": 10, "top1": 90.0 + seed} for seed in (0, 1)]
        >>> figure = nes_lab.figures.trade_off(rows, budget=12)
        >>> [trace.name for trace in figure.data]
        ['over the budget', 'free, single runs', 'free', 'best within the budget']
    """
    rows = [row for row in run_rows(runs) if isinstance(row, Mapping)]
    settings = setting_results(rows, cost, result)
    x, y = COSTS[cost], RESULTS[result]
    count = sum(entry.n for entry in settings)
    measured = f"{len(settings)} setting{'' if len(settings) == 1 else 's'}, {count} run{'' if count == 1 else 's'}"
    subtitle = f"measured: {measured}" + _left_out(len(rows) - count)
    lines = textwrap.wrap(subtitle, TITLE_WIDTH)
    figure = new_figure(
        f"{y.title} against {x.title}: {measured}.",
        title={
            "text": f"{y.name[:1].upper()}{y.name[1:]} against {x.name}",
            "subtitle": {"text": "<br>".join(lines)},
            "y": 0.97,
            "yanchor": "top",
        },
        margin_t=68 + 16 * len(lines),
        hovermode="closest",
    )
    if not settings:
        figure.add_annotation(
            text=f"No finished run has {x.name} and {y.name}.",
            showarrow=False,
            x=0.5,
            y=0.5,
            xref="paper",
            yref="paper",
        )
    axis = _Axis([entry.cost for entry in settings], budget, settings)
    bottom, top = _heights(settings)
    if budget is not None and settings:
        _add_budget(figure, budget, axis, (bottom, top), x.text(budget))
    for method in axis.methods:
        _add_method(figure, [entry for entry in settings if entry.method == method], axis, (cost, result))
    if budget is not None and settings:
        _add_best(figure, verdict(settings, cost, result, budget).best, axis)
    legend_below(figure, 430, (len(axis.methods) + 1) // 2)
    figure.update_xaxes(
        title_text=x.title,
        tickformat="~g" if x.unit == "ms" else "~s",
        type="log" if axis.is_log else "linear",
        dtick="D2" if axis.is_log else None,
        range=axis.range,
    )
    figure.update_yaxes(title_text=y.title, range=[bottom, top])
    return figure


def _left_out(count: int) -> str:
    noun = "run is" if count == 1 else "runs are"
    return f"; {count} {noun} left out: repeated, or without these numbers" if count else ""


class _Axis:
    """The axis of the cost: its scale, its range, and how far apart methods of one cost are drawn."""

    def __init__(self, costs: Sequence[float], budget: float | None, settings: Sequence[SettingResult]) -> None:
        known = [*costs, *([] if budget is None else [budget])] or [1.0]
        least, most = min(known), max(known)
        self.methods = list(dict.fromkeys(entry.method for entry in settings))
        self.is_log = least > 0 and most > WIDE * least
        self.low, self.high = (math.log10(least), math.log10(most)) if self.is_log else (least, most)
        span = (self.high - self.low) or abs(self.high) * 0.5 or 1.0
        self.range = [self.low - 0.08 * span, self.high + 0.12 * span]
        self.step = _APART * span if self._collide(settings, span) else 0.0

    def place(self, cost: float, method: str) -> float:
        """Return where on the axis a point of a method is drawn."""
        shift = self.step * (self.methods.index(method) - (len(self.methods) - 1) / 2)
        return cost * 10**shift if self.is_log else cost + shift

    def end(self) -> float:
        """Return the cost at the right end of the axis."""
        return 10 ** self.range[1] if self.is_log else self.range[1]

    def _collide(self, settings: Sequence[SettingResult], span: float) -> bool:
        places = sorted((math.log10(entry.cost) if self.is_log else entry.cost, entry.method) for entry in settings)
        pairs = itertools.pairwise(places)
        return any(b - a < _APART * span and one != other for (a, one), (b, other) in pairs)


def _heights(settings: Sequence[SettingResult]) -> tuple[float, float]:
    values = [seed.result for entry in settings for seed in entry.seeds]
    for entry in settings:
        values += [entry.result - (entry.spread or 0), entry.result + (entry.spread or 0)]
    if not values:
        return 0.0, 1.0
    room = 0.1 * (max(values) - min(values)) or 0.05 * abs(max(values)) or 1.0
    return min(values) - room, max(values) + room


def _add_budget(figure: go.Figure, budget: float, axis: _Axis, heights: tuple[float, float], text: str) -> None:
    end, (bottom, top) = axis.end(), heights
    tall = top - bottom  # the hatching goes on beyond what is first shown, for those who zoom out
    figure.add_scatter(
        x=[budget, end, end, budget],
        y=[bottom - tall, bottom - tall, top + tall, top + tall],
        fill="toself",
        mode="none",
        fillpattern={"shape": "/", "fgcolor": REPORTED, "bgcolor": "rgba(0,0,0,0)", "fgopacity": 0.25, "size": 9},
        name="over the budget",
        meta={"decoration": True},
        showlegend=False,
        hoverinfo="skip",
    )
    figure.add_vline(x=budget, line={"color": REPORTED, "width": 2})
    near_end = (math.log10(budget) if axis.is_log else budget) > sum(axis.range) / 2
    figure.add_annotation(
        x=math.log10(budget) if axis.is_log else budget,  # plotly takes the logarithm here, but not for a line
        y=1,
        yref="paper",
        yanchor="bottom",
        xanchor="right" if near_end else "left",
        showarrow=False,
        text=plain(f"≤ {text}"),
        font={"size": 12},
    )


def _add_method(figure: go.Figure, entries: Sequence[SettingResult], axis: _Axis, measures: tuple[str, str]) -> None:
    method = entries[0].method
    style = method_style(method)
    x, y = COSTS[measures[0]], RESULTS[measures[1]]
    pairs = [(entry, seed) for entry in entries if entry.n > 1 for seed in entry.seeds]
    if pairs:
        figure.add_scatter(
            x=[axis.place(seed.cost, method) for _, seed in pairs],
            y=[seed.result for _, seed in pairs],
            meta={"x": [seed.cost for _, seed in pairs]},
            customdata=[seed.run for _, seed in pairs],
            text=[
                f"{plain(entry.name)}, seed {seed.seed}<br>{y.text(seed.result)}, {x.text(seed.cost)}"
                for entry, seed in pairs
            ],
            mode="markers",
            marker={"color": style.color, "size": 5, "opacity": 0.6},
            name=f"{plain(method)}, single runs",
            legendgroup=method,
            showlegend=False,
            hovertemplate="%{text}<br>click: open this run<extra></extra>",
        )
    front = [entry for entry in entries if entry.on_front]
    _add_means(figure, front, axis, style, (measures, True))
    rest = [entry for entry in entries if not entry.on_front]
    if rest:
        _add_means(figure, rest, axis, style, (measures, False))


def _add_means(
    figure: go.Figure,
    entries: Sequence[SettingResult],
    axis: _Axis,
    style: SeriesStyle,
    kind: tuple[tuple[str, str], bool],
) -> None:
    (cost, result), on_front = kind
    x, y = COSTS[cost], RESULTS[result]
    method = entries[0].method
    symbol = style.symbol if on_front else f"{style.symbol}-open"
    figure.add_scatter(
        x=[axis.place(entry.cost, method) for entry in entries],
        y=[entry.result for entry in entries],
        error_y={"type": "data", "array": [entry.spread or 0 for entry in entries], "thickness": 1.2, "width": 3},
        meta={"x": [entry.cost for entry in entries]},
        customdata=[entry.seeds[0].run for entry in entries],
        text=[
            f"{plain(entry.name)}<br>{y.text(entry.result, entry.spread)}, {entry.n} "
            f"{'seed' if entry.n == 1 else 'seeds'}<br>{x.text(entry.cost)}"
            for entry in entries
        ],
        mode="lines+markers" if on_front else "markers",
        line={"color": style.color, "dash": style.dash, "width": 1.8},
        marker={"color": style.color, "symbol": symbol, "size": 10},
        name=plain(method) if on_front else f"{plain(method)}, beaten by a cheaper one",
        legendgroup=method,
        showlegend=on_front,
        hovertemplate="%{text}<br>click: open its newest run<extra></extra>",
    )


def _add_best(figure: go.Figure, best: SettingResult | None, axis: _Axis) -> None:
    if best is None:
        return
    figure.add_scatter(
        x=[axis.place(best.cost, best.method)],
        y=[best.result],
        meta={"x": [best.cost]},
        mode="markers",
        marker={
            "symbol": "circle-open",
            "size": 20,
            "color": method_style(best.method).color,
            "line": {"width": 2.5},
        },
        name="best within the budget",
        showlegend=False,
        hoverinfo="skip",
    )
