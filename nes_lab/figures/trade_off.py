"""Draw what networks cost against how good they are, with a front for each method and every seed as a dot.

Tests: tests/figures/test_trade_off.py
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from nes_lab.figures.inputs import run_rows
from nes_lab.figures.theme import OKABE_ITO, SeriesStyle, handle, method_style, new_figure, plain, write_inside
from nes_lab.figures.trade_off_marks import (
    Axis,
    add_band,
    add_dense_reference,
    add_limits,
    add_names,
    heights,
    largest_dense,
)
from nes_lab.runs.handle import RunHandle
from nes_lab.runs.info import RunInfo
from nes_lab.runs.measures import COSTS, RESULTS, Measure
from nes_lab.runs.settings import SettingResult, setting_results, settings_with
from nes_lab.runs.verdict import verdict

__all__ = ["trade_off"]

TITLE_WIDTH = 46
"""Characters in a line of a title, so that it fits a phone."""
_PLOT, _BELOW = 370, 62
"""Heights of the plot and of the room below it, in pixels."""


def trade_off(
    runs: Iterable[RunHandle | RunInfo | Mapping[str, Any]],
    cost: str = "madds",
    result: str = "top1",
    budget: float | None = None,
    least: float | None = None,
    movable: bool = False,
    chosen: Collection[str] = (),
) -> go.Figure:
    """Draw what networks cost against how good they are, with a front for each method and every seed as a dot.

    A method is ``dense`` or a routing (way to set starts). Its line joins the settings that no cheaper setting of the same method
    beats, with its name at the end; the others are hollow. The band is one standard deviation over seeds to either side. A dotted line,
    which the title names, is the largest dense network.

    Args:
        runs: Runs, as :func:`nes_lab.list_runs` returns them, or rows of a run table, one mapping per run.
        cost: ``"madds"``, ``"params"``, ``"stored_bytes"`` or ``"latency_ms"``.
        result: ``"top1"``, ``"top5"`` or ``"val_loss"``.
        budget: The most that a network may cost. None: no limit.
        least: The least accuracy, or the largest loss, that a network may have. None: no limit. What breaks a limit is hatched, and
            a ring marks the setting that :func:`nes_lab.runs.verdict.verdict` names.
        movable: Give the limits handles, for a page that lets the user move them.
        chosen: Ids of runs. The points of their settings are strong, all others faint. None of them: all points are strong.

    Raises:
        OptionError: If the cost or the result is unknown.

    Examples:
        >>> import nes_lab
        >>> rows = [{"routing": "free", "setting": "a", "seed": seed, "madds": 10, "top1": 90.0 + seed} for seed in (0, 1)]
        >>> figure = nes_lab.figures.trade_off(rows, budget=12)
        >>> [trace.name for trace in figure.data]
        ['over the budget', 'free, single runs', 'free', 'best within the limits']
    """
    rows = [row for row in run_rows(runs) if isinstance(row, Mapping)]
    settings = setting_results(rows, cost, result)
    x, y = COSTS[cost], RESULTS[result]
    figure = _empty_figure(settings, len(rows), (cost, result))
    if not settings:
        return figure
    axis, ends = Axis(settings, budget), heights(settings, least)
    add_limits(figure, (budget, least), axis, ends, (x, y))
    add_dense_reference(figure, settings)
    fronts = {name: [e for e in settings if e.method == name and e.on_front] for name in axis.methods}
    for front in fronts.values():
        add_band(figure, front, axis)
    for method in axis.methods:
        _add_method(figure, [entry for entry in settings if entry.method == method], axis, (cost, result))
    if budget is not None or least is not None:
        _add_best(figure, verdict(settings, cost, result, budget, least).best, axis)
    add_names(figure, [front[-1] for front in fronts.values()], axis, ends, _PLOT)
    figure.update_xaxes(type="log" if axis.is_log else "linear", dtick="D2" if axis.is_log else None, range=axis.range)
    figure.update_yaxes(range=list(ends))
    if movable:
        _add_handles(figure, (budget, least), axis.ends(), ends, (x, y))
    _add_choice(figure, settings_with(settings, chosen))
    return figure


def _add_choice(figure: go.Figure, chosen: Sequence[SettingResult]) -> None:
    """Make the points of the chosen settings strong and the others faint. With no setting, leave all as they are."""
    runs = {seed.run for entry in chosen for seed in entry.seeds}
    newest = [entry.seeds[0].run for entry in chosen]
    # with a new revision, plotly forgets the box or the lasso that the user has drawn
    figure.update_layout(meta=figure.layout.meta | {"chosen": newest}, selectionrevision=",".join(newest))
    for trace in figure.data:
        if chosen and trace.customdata is not None:
            trace.selectedpoints = [place for place, run in enumerate(trace.customdata) if run in runs]


def _add_handles(
    figure: go.Figure,
    limits: tuple[float | None, float | None],
    across: tuple[float, float],
    up: tuple[float, float],
    measures: tuple[Measure, Measure],
) -> None:
    """Give the figure a handle for each limit. Without a limit, the handle waits at the end of its axis."""
    (budget, least), (x, y) = limits, measures
    free = up[1] if y.lower_is_better else up[0]
    color = OKABE_ITO[1]
    right = across[1] if budget is None else budget
    handle(figure, "budget", f"Budget: {x.name}", x=right, x_range=across, color=color, idle=budget is None)
    label = f"{'Most' if y.lower_is_better else 'Least'} {y.name}"
    height = free if least is None else least
    handle(figure, "least", label, y=height, y_range=up, color=color, idle=least is None)


def _empty_figure(settings: Sequence[SettingResult], rows: int, measures: tuple[str, str]) -> go.Figure:
    """Return the figure with its title and axes, and a sentence if there is nothing to draw."""
    x, y = COSTS[measures[0]], RESULTS[measures[1]]
    count = sum(entry.n for entry in settings)
    measured = f"{len(settings)} setting{'' if len(settings) == 1 else 's'}, {count} run{'' if count == 1 else 's'}"
    lines = textwrap.wrap(f"measured: {measured}" + _left_out(rows - count), TITLE_WIDTH)
    if (dense := largest_dense(settings)) is not None:
        lines.append(f"dotted: dense, {x.text(dense.cost)}, {y.text(dense.result, dense.spread)}")
    above = 84 + 16 * len(lines)
    figure = new_figure(
        f"{y.title} against {x.title}: {measured}.",
        title={
            "text": f"{y.name[:1].upper()}{y.name[1:]} against {x.name}",
            "subtitle": {"text": "<br>".join(lines)},
            "y": 0.97,
            "yanchor": "top",
        },
        margin={"t": above, "b": _BELOW},
        height=above + _PLOT + _BELOW,
        showlegend=False,
        hovermode="closest",
    )
    figure.update_xaxes(title_text=x.title, tickformat="~g" if x.unit == "ms" else "~s")
    figure.update_yaxes(title_text=y.title)
    if not settings:
        text = f"No finished run has {x.name} and {y.name}."
        write_inside(figure, text)
    return figure


def _left_out(count: int) -> str:
    noun = "run is" if count == 1 else "runs are"
    return f"; {count} {noun} left out: repeated, or without these numbers" if count else ""


def _add_method(figure: go.Figure, entries: Sequence[SettingResult], axis: Axis, measures: tuple[str, str]) -> None:
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
    axis: Axis,
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


def _add_best(figure: go.Figure, best: SettingResult | None, axis: Axis) -> None:
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
        name="best within the limits",
        showlegend=False,
        hoverinfo="skip",
    )
