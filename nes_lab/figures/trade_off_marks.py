"""Draw what stands behind and beside the points of the trade-off: limits, bands over seeds, the dense reference, names of methods.

Tests: tests/figures/test_trade_off.py
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import plotly.graph_objects as go

from nes_lab.figures.theme import REPORTED, method_style, plain
from nes_lab.runs.measures import Measure
from nes_lab.runs.settings import SettingResult

__all__ = ["Axis", "add_band", "add_dense_reference", "add_limits", "add_names", "largest_dense", "heights"]

WIDE = 8
"""The axis of the cost is logarithmic if its largest value is more than this many times its smallest."""
_APART = 0.012
"""Methods at one cost are drawn this far apart, as a share of the axis."""
_LINE = 15
"""Height of a name at the end of a line, in pixels."""
Limits = tuple[float | None, float | None]
"""The most that a network may cost, and the least result (for a loss: the largest). None: no limit."""


class Axis:
    """The axis of the cost: its scale, its range, and how far apart methods of one cost are drawn.

    Args:
        settings: The settings to draw.
        budget: The most that a network may cost; None: no limit. It is always inside of the range.
    """

    def __init__(self, settings: Sequence[SettingResult], budget: float | None) -> None:
        known = [*(entry.cost for entry in settings), *([] if budget is None else [budget])] or [1.0]
        least, most = min(known), max(known)
        self.methods = list(dict.fromkeys(entry.method for entry in settings))
        self.is_log = least > 0 and most > WIDE * least
        self.low, self.high = (math.log10(least), math.log10(most)) if self.is_log else (least, most)
        span = (self.high - self.low) or abs(self.high) * 0.5 or 1.0
        self.range = [self.low - 0.08 * span, self.high + 0.22 * span]  # room for names at the right
        self.step = _APART * span if self._collide(settings, span) else 0.0

    def place(self, cost: float, method: str) -> float:
        """Return where on the axis a point of a method is drawn."""
        shift = self.step * (self.methods.index(method) - (len(self.methods) - 1) / 2)
        return cost * 10**shift if self.is_log else cost + shift

    def ends(self) -> tuple[float, float]:
        """Return the costs at the left and at the right end of the axis."""
        low, high = self.range
        return (10**low, 10**high) if self.is_log else (low, high)

    def coordinate(self, cost: float) -> float:
        """Return the place of a cost as plotly's annotations want it: its logarithm on a logarithmic axis."""
        return math.log10(cost) if self.is_log else cost

    def _collide(self, settings: Sequence[SettingResult], span: float) -> bool:
        places = sorted((self.coordinate(entry.cost), entry.method) for entry in settings)
        pairs = itertools.pairwise(places)
        return any(b - a < _APART * span and one != other for (a, one), (b, other) in pairs)


def heights(settings: Sequence[SettingResult], least: float | None) -> tuple[float, float]:
    """Return the lower and the upper end of the axis of the results. All seeds, bands and the limit are inside."""
    values = [seed.result for entry in settings for seed in entry.seeds] + ([] if least is None else [least])
    for entry in settings:
        values += [entry.result - (entry.spread or 0), entry.result + (entry.spread or 0)]
    if not settings:
        return 0.0, 1.0
    room = 0.1 * (max(values) - min(values)) or 0.05 * abs(max(values)) or 1.0
    return min(values) - room, max(values) + room


def add_limits(
    figure: go.Figure, limits: Limits, axis: Axis, ends: tuple[float, float], measures: tuple[Measure, Measure]
) -> None:
    """Draw the limits as lines with their values, and hatch what breaks them.

    Args:
        figure: Figure to draw into.
        limits: The limits of the cost and of the result; None for no limit.
        axis: The axis of the cost.
        ends: Lower and upper end of the axis of the results.
        measures: What is drawn across and up.
    """
    (budget, least), (bottom, top) = limits, ends
    left, right = axis.ends()
    tall, wide = top - bottom, right - left
    low, high = bottom - tall, top + tall  # the hatching goes on beyond what is first shown, for those who zoom out
    far = right * 10 if axis.is_log else right + wide
    near = left / 10 if axis.is_log else left - wide
    if budget is not None:
        _hatch(figure, (budget, far), (low, high), "over the budget")
        figure.add_vline(x=budget, line={"color": REPORTED, "width": 2})
        is_near_end = axis.coordinate(budget) > sum(axis.range) / 2
        _say(figure, f"≤ {measures[0].text(budget)}", axis.coordinate(budget), 1, yref="paper",
             xanchor="right" if is_near_end else "left", yanchor="bottom")  # fmt: skip
    if least is not None:
        is_loss = measures[1].lower_is_better
        end = far if budget is None else budget  # no region is hatched twice
        _hatch(figure, (near, end), (least, high) if is_loss else (low, least), f"{measures[1].name} not good enough")
        figure.add_hline(y=least, line={"color": REPORTED, "width": 2})
        text = f"{'≤' if is_loss else '≥'} {measures[1].text(least)}"
        _say(figure, text, 1, least, xref="paper", xanchor="right", yanchor="top" if is_loss else "bottom")


def _hatch(figure: go.Figure, across: tuple[float, float], up: tuple[float, float], name: str) -> None:
    (left, right), (low, high) = across, up
    figure.add_scatter(
        x=[left, right, right, left],
        y=[low, low, high, high],
        fill="toself",
        mode="none",
        fillpattern={"shape": "/", "fgcolor": REPORTED, "bgcolor": "rgba(0,0,0,0)", "fgopacity": 0.25, "size": 9},
        name=name,
        meta={"decoration": True},
        showlegend=False,
        hoverinfo="skip",
    )


def _say(figure: go.Figure, text: str, x: float, y: float, **options: object) -> None:
    figure.add_annotation(x=x, y=y, text=plain(text), showarrow=False, font={"size": 12}, **options)


def add_band(figure: go.Figure, front: Sequence[SettingResult], axis: Axis) -> None:
    """Draw a band of one standard deviation over seeds around the front of a method. Without spreads there is no band.

    Args:
        figure: Figure to draw into.
        front: The settings on the front of one method, in the order of their costs.
        axis: The axis of the cost.
    """
    if len(front) < 2 or not any(entry.spread for entry in front):
        return
    places = [axis.place(entry.cost, entry.method) for entry in front]
    upper = [entry.result + (entry.spread or 0) for entry in front]
    lower = [entry.result - (entry.spread or 0) for entry in front]
    figure.add_scatter(
        x=[*places, *reversed(places)],
        y=[*upper, *reversed(lower)],
        fill="toself",
        mode="none",
        fillcolor=_faint(method_style(front[0].method).color),
        name=f"{plain(front[0].method)}, one standard deviation",
        meta={"decoration": True},
        legendgroup=front[0].method,
        showlegend=False,
        hoverinfo="skip",
    )


def largest_dense(settings: Sequence[SettingResult]) -> SettingResult | None:
    """Return the largest dense network; None if there is none, or nothing to compare it with."""
    dense = [entry for entry in settings if entry.method == "dense"]
    return max(dense, key=lambda entry: entry.cost) if dense and len(dense) < len(settings) else None


def add_dense_reference(figure: go.Figure, settings: Sequence[SettingResult]) -> None:
    """Draw the result of the largest dense network as a dotted line with its band, if there is one beside epitome networks."""
    best = largest_dense(settings)
    if best is None:
        return
    color = method_style("dense").color
    figure.add_hline(y=best.result, line={"color": color, "width": 1.5, "dash": "dot"}, opacity=0.7)
    if best.spread:
        ends = (best.result - best.spread, best.result + best.spread)
        figure.add_hrect(y0=ends[0], y1=ends[1], fillcolor=_faint(color), line_width=0, layer="below")


def add_names(
    figure: go.Figure, fronts: Sequence[SettingResult], axis: Axis, ends: tuple[float, float], height: float
) -> None:
    """Write the name of each method at the end of its line, in its color. Names do not cover each other.

    Args:
        figure: Figure to draw into.
        fronts: The last setting of the front of each method.
        axis: The axis of the cost.
        ends: Lower and upper end of the axis of the results.
        height: Height of the plot in pixels.
    """
    per_pixel = (ends[1] - ends[0]) / height
    taken: list[float] = []
    for entry in sorted(fronts, key=lambda entry: -entry.result):
        wanted = entry.result / per_pixel
        place = min(wanted, *(other - _LINE for other in taken)) if taken else wanted
        taken.append(place)
        figure.add_annotation(
            x=axis.coordinate(axis.place(entry.cost, entry.method)),
            y=entry.result,
            yshift=place - wanted,
            xanchor="left",
            xshift=9,
            text=f"<b>{plain(entry.method)}</b>",
            showarrow=False,
            font={"size": 12, "color": method_style(entry.method).color},
        )


def _faint(color: str) -> str:
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.14)"
