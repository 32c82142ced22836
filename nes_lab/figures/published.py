"""Draw published results in a panel of their own, each line named beside one of its points.

Tests: tests/figures/test_trade_off.py
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from nes_lab.figures.accuracy_vs_madds import ReportedPoint
from nes_lab.figures.reported import IMAGENET
from nes_lab.figures.theme import REPORTED, new_figure, plain

__all__ = ["published"]

# Names are placed for the narrowest panel, in pixels: where they do not collide there, they do not in a wider one.
_WIDTH, _HEIGHT, _FONT = 230, 290, 10
_SIDES = (
    "middle right",
    "middle left",
    "top center",
    "bottom center",
    "top right",
    "bottom right",
    "top left",
    "bottom left",
)
Box = tuple[float, float, float, float]


def published(points: Sequence[ReportedPoint] = IMAGENET) -> go.Figure:
    """Draw the accuracy and multiply-adds that papers report. A line joins the points of a series, and has its name beside it.

    Args:
        points: Published results. As a default, some networks on ImageNet.

    Examples:
        >>> import nes_lab
        >>> figure = nes_lab.figures.published()
        >>> figure.layout.showlegend, sorted(trace.name for trace in figure.data)[0]
        (False, 'AMC')
    """
    figure = new_figure(
        f"Top-1 accuracy against multiply-adds as published, {len(points)} points.",
        title={"text": "As published, ImageNet", "subtitle": {"text": "another data set than your runs"}},
        height=430,
        margin={"l": 50, "r": 12, "t": 84, "b": 56},
        showlegend=False,
        hovermode="closest",
    )
    costs = [math.log10(point.madds) for point in points] or [0.0]
    heights = [point.top1 for point in points] or [0.0]
    x_range = [min(costs) - 0.1, max(costs) + 0.1]
    y_range = [min(heights) - 1.5, max(heights) + 2]
    places = {
        id(point): (
            _share(math.log10(point.madds), x_range) * _WIDTH,
            _share(point.top1, y_range) * _HEIGHT,
        )
        for point in points
    }
    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in places.values()]
    groups: dict[str, list[ReportedPoint]] = {}
    for point in sorted(points, key=lambda point: point.madds):
        groups.setdefault(point.series or point.name, []).append(point)
    # long names of single points have the fewest places to stand at, so they choose first
    for name, series in sorted(groups.items(), key=lambda item: (len(item[1]), -len(item[0]))):
        named, side = _label_place(name, [places[id(point)] for point in series], taken)
        figure.add_scatter(
            x=[point.madds for point in series],
            y=[point.top1 for point in series],
            customdata=None,
            hovertext=[
                f"{plain(point.name)}: {point.top1:.2f} %<br>reported by {plain(point.source)}" for point in series
            ],
            text=[plain(name) if place == named else "" for place in range(len(series))],
            textposition=side,
            textfont={"size": _FONT},
            mode="lines+markers+text",
            line={"color": REPORTED, "dash": "dash", "width": 1},
            marker={"color": REPORTED, "symbol": "circle-open", "size": 8},
            name=plain(name),
            hovertemplate="%{hovertext}<br>%{x:.3s} MAdds<extra></extra>",
        )
    figure.update_xaxes(title_text="multiply-adds (MAdds)", type="log", dtick="D2", tickformat="~s", range=x_range)
    figure.update_yaxes(title_text="top-1 accuracy (%)", range=y_range)
    return figure


def _share(value: float, limits: Sequence[float]) -> float:
    return (value - limits[0]) / (limits[1] - limits[0])


def _label_place(name: str, places: Sequence[tuple[float, float]], taken: list[Box]) -> tuple[int, str]:
    """Choose at which point of a series, and on which side of it, its name is written; add the name's box to ``taken``."""
    choices = [(number, side) for side in _SIDES for number in reversed(range(len(places)))]
    boxes = {choice: _box(name, places[choice[0]], choice[1]) for choice in choices}
    best = min(choices, key=lambda choice: sum(_overlap(boxes[choice], box) for box in taken) + _outside(boxes[choice]))
    taken.append(boxes[best])
    return best


def _box(name: str, place: tuple[float, float], side: str) -> Box:
    width, height = 0.64 * _FONT * len(name), 1.3 * _FONT
    x, y = place
    vertical, horizontal = side.split()
    left = {"right": x + 6, "left": x - 6 - width, "center": x - width / 2}[horizontal]
    low = {"middle": y - height / 2, "top": y + 5, "bottom": y - 5 - height}[vertical]
    return left, low, left + width, low + height


def _overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


def _outside(box: Box) -> float:
    """Return how much of a box lies outside of the panel, in square pixels."""
    inside = _overlap(box, (0, 0, _WIDTH, _HEIGHT))
    return 3 * ((box[2] - box[0]) * (box[3] - box[1]) - inside)
