"""Draw published results in a panel of their own, each line named beside one of its points.

Tests: tests/figures/test_trade_off.py
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import plotly.graph_objects as go

from nes_lab.figures.accuracy_vs_madds import ReportedPoint
from nes_lab.figures.reported import IMAGENET
from nes_lab.figures.theme import REPORTED, new_figure, plain
from nes_lab.text import format_percent

__all__ = ["published"]

# Names are placed for the narrowest panel, in pixels: where they do not collide there, they do not in a wider one.
_WIDTH, _HEIGHT, _FONT = 230, 330, 10
_DISTANCES = (0, 10, 20, 32)
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
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
        height=470,
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
    groups: dict[str, list[ReportedPoint]] = {}
    for point in sorted(points, key=lambda point: point.madds):
        groups.setdefault(point.series or point.name, []).append(point)
    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in places.values()]
    for series in groups.values():
        taken += _boxes_of_line([places[id(point)] for point in series])
    # long names of single points have the fewest places to stand at, so they choose first
    for name, series in sorted(groups.items(), key=lambda item: (len(item[1]), -len(item[0]))):
        figure.add_scatter(
            x=[point.madds for point in series],
            y=[point.top1 for point in series],
            customdata=None,
            hovertext=[
                f"{plain(point.name)}: {format_percent(point.top1, 2)}<br>reported by {plain(point.source)}"
                for point in series
            ],
            mode="lines+markers",
            line={"color": REPORTED, "dash": "dash", "width": 1},
            marker={"color": REPORTED, "symbol": "circle-open", "size": 8},
            name=plain(name),
            hovertemplate="%{hovertext}<br>%{x:.3s} MAdds<extra></extra>",
        )
        named, (right, up) = _label_place(name, [places[id(point)] for point in series], taken)
        figure.add_annotation(
            x=math.log10(series[named].madds),
            y=series[named].top1,
            ax=right,
            ay=-up,
            text=plain(name),
            font={"size": _FONT},
            showarrow=True,
            arrowhead=0,
            arrowwidth=0.8,
            arrowcolor=REPORTED,
            standoff=4,
            borderpad=1,
        )
    figure.update_xaxes(title_text="multiply-adds (MAdds)", type="log", dtick="D2", tickformat="~s", range=x_range)
    figure.update_yaxes(title_text="top-1 accuracy (%)", range=y_range)
    return figure


def _share(value: float, limits: Sequence[float]) -> float:
    return (value - limits[0]) / (limits[1] - limits[0])


def _boxes_of_line(places: Sequence[tuple[float, float]]) -> list[Box]:
    """Return small boxes along the line that joins some points, so that names keep away from it."""
    boxes = []
    for (x0, y0), (x1, y1) in itertools.pairwise(places):
        steps = max(1, round(math.hypot(x1 - x0, y1 - y0) / 4))
        middles = [(x0 + (x1 - x0) * k / steps, y0 + (y1 - y0) * k / steps) for k in range(steps)]
        boxes += [(x - 2, y - 2, x + 2, y + 2) for x, y in middles]
    return boxes


def _label_place(name: str, places: Sequence[tuple[float, float]], taken: list[Box]) -> tuple[int, tuple[float, float]]:
    """Choose which point of a series has its name beside it, and where; add the name's box to ``taken``.

    Returns:
        The number of the point, and how far right and up from it the middle of the name is, in pixels.
    """
    choices = [
        (number, _offset(name, direction, distance))
        for distance in _DISTANCES
        for direction in _DIRECTIONS
        for number in reversed(range(len(places)))
    ]
    boxes = {choice: _box(name, places[choice[0]], choice[1]) for choice in choices}

    def badness(choice: tuple[int, tuple[float, float]]) -> float:
        box = boxes[choice]
        far = math.hypot(*choice[1])
        return sum(_overlap(box, other) for other in taken) + _outside(box) + 0.02 * far

    best = min(choices, key=badness)
    taken.append(boxes[best])
    return best


def _size(name: str) -> tuple[float, float]:
    return 0.64 * _FONT * len(name), 1.3 * _FONT


def _offset(name: str, direction: tuple[int, int], distance: float) -> tuple[float, float]:
    width, height = _size(name)
    right, up = direction
    return right * (width / 2 + 8 + distance), up * (height / 2 + 6 + distance)


def _box(name: str, place: tuple[float, float], offset: tuple[float, float]) -> Box:
    width, height = _size(name)
    x, y = place[0] + offset[0], place[1] + offset[1]
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


def _outside(box: Box) -> float:
    """Return how much of a box lies outside of the panel, in square pixels."""
    inside = _overlap(box, (0, 0, _WIDTH, _HEIGHT))
    return 3 * ((box[2] - box[0]) * (box[3] - box[1]) - inside)
