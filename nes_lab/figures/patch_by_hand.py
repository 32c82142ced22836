"""Draw how a patch (a block of weight values) is read from an epitome with one axis.

The values of the patch are read at the cells of the epitome, or between two cells.

Tests: tests/figures/test_by_hand.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from nes_lab.errors import OptionError
from nes_lab.figures.theme import REPORTED, SeriesStyle, new_figure, plain, series_style

__all__ = ["PatchReading", "patch_and_gradient", "patch_by_hand"]


@dataclass(frozen=True)
class PatchReading:
    """A patch (a block of weight values) that was read from an epitome with one axis.

    Args:
        start: Position on the epitome where the patch begins, in cells.
        patch: The samples of the patch, as an array with one axis.
        gradient: Derivative of each sample with respect to the start, per cell; None if it is not shown.
        name: Name of the patch in the legend.

    Examples:
        >>> import nes_lab, numpy
        >>> nes_lab.figures.PatchReading(0.5, numpy.array([5.0, 20.0])).name
        'patch'
    """

    start: float
    patch: np.ndarray
    gradient: np.ndarray | None = None
    name: str = "patch"


def patch_by_hand(epitome: np.ndarray, readings: Sequence[PatchReading]) -> go.Figure:
    """Draw an epitome with one axis as bars, and over it the patches that are read from it.

    Args:
        epitome: The cells of the epitome, as an array with one axis.
        readings: The patches to draw, each with its own color, dash and marker.

    Returns:
        A figure. Sample 0 of a patch is drawn at the patch's start, sample 1 one cell further, and so on. A dotted line joins
        the values of the cells, and the samples lie on this line.

    Raises:
        OptionError: If ``readings`` is empty, or if the epitome has more than one axis.

    Examples:
        >>> import nes_lab, numpy
        >>> reading = nes_lab.figures.PatchReading(0.5, numpy.array([5.0, 20.0]))
        >>> nes_lab.figures.patch_by_hand(numpy.array([0.0, 10.0, 30.0, 20.0]), [reading]).layout.title.text
        '1 patch read from 4 cells'
    """
    cells = _one_axis(epitome)
    if not readings:
        raise OptionError("readings is empty; give at least one PatchReading.")
    starts = ", ".join(f"{reading.start:.3g}" for reading in readings)
    figure = new_figure(
        f"An epitome of {cells.size} cells as bars, with patches read at the starts {starts} drawn over it.",
        title={
            "text": f"{len(readings)} patch{'es' if len(readings) > 1 else ''} read from {cells.size} cells",
            "subtitle": {"text": f"starts {starts}; a shaded window is one patch, a marker is one of its samples"},
        },
        height=400,
        margin_b=96,
        legend_y=-0.26,
    )
    _add_cells(figure, cells)
    for index, reading in enumerate(readings):
        _add_window(figure, cells, reading, series_style(index))
    return figure


def patch_and_gradient(epitome: np.ndarray, reading: PatchReading) -> go.Figure:
    """Draw one patch on an epitome with one axis, and below it the samples of the patch and their derivatives.

    The derivatives are taken with respect to the start, the position of the patch. The scales of the axes depend only on
    the epitome. So figures of the same epitome with different starts can be compared.

    Args:
        epitome: The cells of the epitome, as an array with one axis.
        reading: The patch to draw, with its gradient.

    Raises:
        OptionError: If ``reading`` has no gradient, or if the epitome has more than one axis.

    Examples:
        >>> import nes_lab, numpy
        >>> reading = nes_lab.figures.PatchReading(0.5, numpy.array([5.0, 20.0]), numpy.array([10.0, 20.0]))
        >>> figure = nes_lab.figures.patch_and_gradient(numpy.array([0.0, 10.0, 30.0, 20.0]), reading)
        >>> figure.layout.title.subtitle.text
        'start 0.50 cells'
    """
    cells = _one_axis(epitome)
    if reading.gradient is None:
        raise OptionError(f"the reading at start {reading.start:.3g} has gradient=None; give one number per sample.")
    grid = make_subplots(
        rows=2,
        cols=2,
        specs=[[{"colspan": 2}, None], [{}, {}]],
        row_heights=[0.56, 0.44],
        vertical_spacing=0.2,
        horizontal_spacing=0.12,
    )
    figure = go.Figure(grid)
    title = {
        "text": "A patch and its gradient with respect to the start",
        "subtitle": {"text": f"start {reading.start:.2f} cells"},
    }
    alt = (
        f"A patch of {len(reading.patch)} samples read at start {reading.start:.2f}, and the derivative of each sample."
    )
    figure.update_layout(new_figure(alt, title=title, height=520, showlegend=False).layout)
    _add_cells(figure, cells, row=1, col=1)
    _add_window(figure, cells, reading, series_style(0), row=1, col=1)
    position = np.arange(len(reading.patch))
    _add_bars(figure, position, reading.patch, 0, "value %{y:.3f}", col=1)
    _add_bars(figure, position, reading.gradient, 1, "%{y:.3f} per cell", col=2)
    figure.update_xaxes(title_text="sample j", dtick=1, row=2)
    figure.update_yaxes(range=_limits(cells), row=2, col=1)
    figure.update_yaxes(range=_limits(np.diff(cells)), row=2, col=2)
    _name_panel(figure, "value", "2")
    _name_panel(figure, "derivative<br>(1 / cell)", "3")
    return figure


def _name_panel(figure: go.Figure, text: str, axes: str) -> None:
    """Write above a panel what its vertical axis shows. Beside the axis there is no room where the page is narrow."""
    place = {
        "x": 0,
        "xref": f"x{axes} domain",
        "xanchor": "left",
        "y": 1,
        "yref": f"y{axes} domain",
        "yanchor": "bottom",
    }
    figure.add_annotation(text=text, showarrow=False, align="left", font={"size": 12}, **place)


def _one_axis(epitome: np.ndarray) -> np.ndarray:
    cells = np.asarray(epitome, dtype=np.float32)
    if cells.ndim != 1 or not cells.size:
        raise OptionError(f"epitome has shape {cells.shape}; this picture shows one axis, (n,), with n at least 1.")
    return cells


def _limits(values: np.ndarray) -> list[float]:
    """Return the lower and the upper end of a plot axis that shows all values and zero, with a margin."""
    low, high = float(min(0.0, values.min(initial=0.0))), float(max(0.0, values.max(initial=0.0)))
    margin = 0.12 * (high - low) or 1.0
    return [low - margin, high + margin]


def _add_cells(figure: go.Figure, cells: np.ndarray, **place: int) -> None:
    position = np.arange(cells.size)
    figure.add_bar(
        x=position,
        y=cells,
        width=0.9,
        marker={"color": REPORTED, "opacity": 0.35},
        name="epitome cells",
        hovertemplate="cell %{x}: %{y:.3f}<extra></extra>",
        **place,
    )
    figure.add_scatter(
        x=position,
        y=cells,
        mode="lines",
        line={"color": REPORTED, "width": 1, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
        **place,
    )
    figure.update_xaxes(
        title_text="epitome cell", dtick=1, range=[-0.7, cells.size - 0.3], showgrid=False, **_at(place)
    )
    figure.update_yaxes(title_text="value", range=_limits(cells), **_at(place))


def _add_window(figure: go.Figure, cells: np.ndarray, reading: PatchReading, style: SeriesStyle, **place: int) -> None:
    left, right = reading.start - 0.5, reading.start + len(reading.patch) - 0.5
    low, high = _limits(cells)
    figure.add_scatter(
        x=[left, left, right, right, left],
        y=[low, high, high, low, low],
        mode="lines",
        line={"color": style.color, "dash": style.dash, "width": 1.5},
        fill="toself",
        opacity=0.22,
        hoverinfo="skip",
        legendgroup=reading.name,
        showlegend=False,
        **place,
    )
    figure.add_scatter(
        x=reading.start + np.arange(len(reading.patch)),
        y=reading.patch,
        mode="lines+markers",
        line={"color": style.color, "dash": style.dash, "width": 2},
        marker={"symbol": style.symbol, "size": 10},
        name=f"{plain(reading.name)}, start {reading.start:.3g}",
        legendgroup=reading.name,
        hovertemplate="sample at %{x:.2f}: %{y:.3f}<extra></extra>",
        **place,
    )


def _add_bars(figure: go.Figure, x: np.ndarray, y: np.ndarray, series: int, hover: str, col: int) -> None:
    color = {"color": series_style(series).color}
    hover = f"sample %{{x}}: {hover}<extra></extra>"
    figure.add_bar(x=x, y=y, width=0.6, marker=color, hovertemplate=hover, row=2, col=col)


def _at(place: dict[str, int]) -> dict[str, Any]:
    return {"row": place["row"], "col": place["col"]} if place else {}
