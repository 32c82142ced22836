"""Define the colors, fonts and templates of all figures.

The curves of a figure differ in color, dash and marker. Color-blind readers can tell them apart, also in gray print.
The colors of the curves are those of the Okabe-Ito palette. In heatmaps, values around zero have colors from red to
blue; counts and positions have the cividis colors.

Tests: tests/figures/test_pictures.py
"""

from __future__ import annotations

import html
import json
import math
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio

from nes_lab.errors import OptionError
from nes_lab.text import format_share

__all__ = [
    "COUNTS",
    "DIVERGING",
    "METHODS",
    "OKABE_ITO",
    "PLOT_CONFIG",
    "REPORTED",
    "SeriesStyle",
    "apply_theme",
    "curve_styles",
    "figure_from_json",
    "figure_json",
    "handle",
    "heat_colorbar",
    "legend_below",
    "method_style",
    "new_figure",
    "plain",
    "plot_js",
    "series_style",
    "share_ticks",
    "title_at_top",
    "write_inside",
]

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C")
DIVERGING = "RdBu_r"
_DIVERGING_DARK = [[0, "#053061"], [0.25, "#4393C3"], [0.5, "#262A34"], [0.75, "#D6604D"], [1, "#67001F"]]
"""The same colors with a dark middle, as in ``static/colors.js``: on a dark page, values of zero are dark."""
COUNTS = "Cividis"
REPORTED = "#8A8A8A"
METHODS = ("dense", "tiled", "free", "learner", "stride", "random")
"""Dense networks and the ways to set starts, in the order of their styles."""
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star-triangle-down")
_FONT = "Inter, 'Source Sans 3', 'Segoe UI', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class SeriesStyle:
    """The color, dash and marker of one curve, or of one group of points, in a figure."""

    color: str
    dash: str
    symbol: str


PLOT_CONFIG = {"displaylogo": False, "responsive": True, "showSendToCloud": False}
"""Configuration of plotly.js for every figure. Without ``showSendToCloud: False``, a button uploads the figure to plotly's servers."""


def plot_js() -> str:
    """Return the JavaScript module that draws a figure on a page: ``drawPlot(node, spec, plotlyAddress, onClick, onMove, onChoose)``."""
    folder = Path(__file__).parent / "static"
    handles, plot = ((folder / name).read_text(encoding="utf-8") for name in ("handles.js", "plot.js"))
    return handles + plot.replace('import { drawHandles } from "./handles.js";\n', "", 1)


def handle(
    figure: go.Figure,
    name: str,
    label: str,
    x: float | None = None,
    y: float | None = None,
    *,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    color: str = OKABE_ITO[0],
    anywhere: bool = False,
    idle: bool = False,
) -> None:
    """Give a figure a handle: a line or a point that the user of the app drags, or moves with the arrow keys.

    On a page, ``app.components.plot.plot(figure, key, moved=function)`` calls the function with the name and the new place. The handle
    is drawn by ``static/handles.js``, so exported pictures do not show it. Draw the same line or point in the figure too.

    Args:
        figure: Figure to change, with one pair of axes, linear or logarithmic.
        name: Name of the handle, which the page gets when the user has moved it.
        label: What the handle sets, for readers of the screen, such as ``"MAdds budget"``.
        x: Place on the horizontal axis, in its numbers. Alone: the handle is a vertical line. With ``y``: it is a point.
        y: Place on the vertical axis. Alone: the handle is a horizontal line.
        x_range: Smallest and largest place on the horizontal axis; None: no limit.
        y_range: Smallest and largest place on the vertical axis; None: no limit.
        color: Color of the handle.
        anywhere: Whether a click in the plot moves the handle there.
        idle: Whether it limits nothing yet. Its line is then drawn only while it is moved.

    Examples:
        >>> figure = new_figure("Accuracy against MAdds.")
        >>> handle(figure, "madds", "MAdds budget", x=0.5, x_range=(0.1, 1))
        >>> figure.layout.meta["handles"][0]["kind"]
        'x'
    """
    if x is None and y is None:
        raise OptionError("x=None, y=None; give the place of the handle on one axis or on both")
    kind = "point" if x is not None and y is not None else "x" if y is None else "y"
    (x0, x1), (y0, y1) = x_range or (None, None), y_range or (None, None)
    entry = {"id": name, "kind": kind, "label": label, "x": x, "y": y, "x0": x0, "x1": x1, "y0": y0, "y1": y1}
    handles = [*(figure.layout.meta.get("handles") or ()), entry | {"color": color, "anywhere": anywhere, "idle": idle}]
    figure.update_layout(meta=figure.layout.meta | {"handles": handles})


def series_style(index: int) -> SeriesStyle:
    """Return the color, dash and marker of one curve of a figure. The curves are numbered from 0.

    There are seven colors. Curve 7 has the color of curve 0, but another dash.

    Examples:
        >>> series_style(0)
        SeriesStyle(color='#0072B2', dash='solid', symbol='circle')
        >>> series_style(7).color == series_style(0).color, series_style(7).dash
        (True, 'dash')
    """
    return SeriesStyle(
        OKABE_ITO[index % len(OKABE_ITO)], _DASHES[index % len(_DASHES)], _SYMBOLS[index % len(_SYMBOLS)]
    )


def method_style(method: str) -> SeriesStyle:
    """Return the color, dash and marker of a method, the same in every figure.

    Args:
        method: ``"dense"``, or a routing (way to set starts). Any other name gets the style of the last one.

    Examples:
        >>> method_style("dense").color, method_style("free").color
        ('#0072B2', '#009E73')
    """
    return series_style(METHODS.index(method) if method in METHODS else len(METHODS))


def curve_styles(methods: Iterable[str]) -> list[SeriesStyle]:
    """Return one style per curve. The color is that of the method. Curves of one method differ in dash and marker.

    Args:
        methods: The method of each curve: ``"dense"``, or a routing.

    Examples:
        >>> first, second = curve_styles(["free", "free"])
        >>> first.color == second.color, first.dash, second.dash
        (True, 'solid', 'dash')
    """
    seen: dict[str, int] = {}
    styles = []
    for method in methods:
        number = seen[method] = seen.get(method, -1) + 1
        color = method_style(method).color
        styles.append(SeriesStyle(color, _DASHES[number % len(_DASHES)], _SYMBOLS[number % len(_SYMBOLS)]))
    return styles


def plain(text: object) -> str:
    """Escape a text for plotly. Without this, plotly would interpret tags in the text as HTML.

    Examples:
        >>> plain("<b>x</b>")
        '&lt;b&gt;x&lt;/b&gt;'
    """
    return html.escape(str(text), quote=False)


def new_figure(alt: str, **layout: Any) -> go.Figure:
    """Create an empty figure with an alternative text, and with a template that can be read on a white and on a black page.

    The background is transparent and the ink is gray. Where the theme of the page is known, :func:`apply_theme` gives more contrast.

    Args:
        alt: One sentence that says what the figure shows, stored in ``figure.layout.meta["alt"]``.
        layout: Further properties of the plotly layout, such as ``title`` and ``height``.
    """
    # a figure made with its layout takes a third of the time of an update of an empty one
    return go.Figure(layout={"template": "nes_any", "meta": {"alt": alt}, "uirevision": "keep"} | layout)


def legend_below(figure: go.Figure, height: int, entries: int) -> None:
    """Put the legend of a figure below the plot. The figure gets taller by one line per entry of the legend.

    Args:
        figure: Figure to change.
        height: Height of the title and the plot in pixels, without the space below the horizontal axis.
        entries: Number of entries of the legend.
    """
    room = 90 + 21 * entries
    total = height + room
    legend = {"yref": "container", "yanchor": "top", "y": (room - 62) / total, "maxheight": room}
    figure.update_layout(height=total, margin_b=room, legend=legend)


def apply_theme(figure: go.Figure, dark: bool, see_through: bool = False) -> go.Figure:
    """Give a figure the light or the dark template, and return the same figure.

    Args:
        figure: Figure to change.
        dark: Take the dark template; False takes the light one.
        see_through: Make the background of the figure transparent.

    Examples:
        >>> import nes_lab
        >>> figure = nes_lab.figures.live_run([])
        >>> nes_lab.figures.apply_theme(figure, dark=True).layout.template.layout.paper_bgcolor
        '#0E1117'
    """
    figure.update_layout(template="nes_dark" if dark else "nes_light")
    around_zero = _DIVERGING_DARK if dark else DIVERGING
    figure.update_traces({"colorscale": around_zero}, {"type": "heatmap", "zmid": 0})
    if figure.layout.coloraxis.cmid == 0:
        figure.update_layout(coloraxis_colorscale=around_zero)
    if see_through:
        figure.update_layout(paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)")
    return figure


def figure_json(figure: go.Figure) -> dict[str, Any]:
    """Return a plotly figure as a plain dict with ``data`` and ``layout``, for plotly.js in a browser."""
    return json.loads(pio.to_json(figure, validate=False) or "{}")


def write_inside(figure: go.Figure, text: str) -> None:
    """Write a text into the middle of a figure that has nothing to draw.

    Args:
        figure: Figure to change.
        text: The text, as plotly takes it.

    Examples:
        >>> figure = new_figure("No runs.")
        >>> write_inside(figure, "There are no runs.")
        >>> figure.layout.annotations[0].text
        'There are no runs.'
    """
    figure.add_annotation(text=text, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")


def title_at_top(text: str, note: str = "") -> dict[str, Any]:
    """Return the plotly options of a title at the upper edge of a figure, so that the space below it does not depend on its margin.

    Args:
        text: The title.
        note: Further lines in smaller letters, with ``<br>`` between them; may be empty.
    """
    place = {"y": 1, "yref": "container", "yanchor": "top", "pad": {"t": 14, "l": 12}}
    return {"text": text, **place, **({"subtitle": {"text": note}} if note else {})}


def figure_from_json(spec: Mapping[str, Any]) -> go.Figure:
    """Return the plotly figure that :func:`figure_json` made a dict of.

    Examples:
        >>> figure_from_json(figure_json(new_figure("nothing", height=200))).layout.height
        200
    """
    return go.Figure({"data": spec["data"], "layout": spec["layout"]})


def heat_colorbar(title: str, **options: Any) -> dict[str, Any]:
    """Return the plotly options of a narrow color bar with the title above it, where it cannot lie on the numbers."""
    return {
        "title": {"text": "<br>".join(textwrap.wrap(title, 12)), "side": "top"},
        "thickness": 12,
        "outlinewidth": 0,
        **options,
    }


def share_ticks(top: float) -> dict[str, Any]:
    """Return the plotly options of the ticks of an axis of shares, from 0 to about 1 or more.

    Args:
        top: End of the axis.

    Examples:
        >>> share_ticks(1.06)["ticktext"], share_ticks(3.0)["tickvals"]
        (['0 %', '25 %', '50 %', '75 %', '100 %'], [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0])
    """
    step = next((step for step in (0.25, 0.5, 1.0, 2.0, 5.0, 10.0) if top <= 6.5 * step), top)
    values = [place * step for place in range(math.floor(top / step + 1e-9) + 1)]
    return {"tickvals": values, "ticktext": [format_share(value, digits=0) for value in values]}


def _template(ink: str, paper: str, grid: str, axis: str) -> go.layout.Template:
    lines = {
        "gridcolor": grid,
        "linecolor": axis,
        "zerolinecolor": grid,
        "ticks": "outside",
        "tickcolor": axis,
        "ticklen": 4,
        "showline": True,
        "automargin": True,
        "title": {"standoff": 8},
    }
    layout = go.Layout(
        font={"family": _FONT, "size": 13, "color": ink},
        title={
            "font": {"size": 16},
            "subtitle": {"font": {"size": 12}},
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "pad": {"l": 12},
        },
        paper_bgcolor=paper,
        plot_bgcolor=paper,
        colorway=OKABE_ITO,
        margin={"l": 64, "r": 24, "t": 64, "b": 56},
        xaxis=lines,
        yaxis=lines,
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": axis, "activecolor": ink},
        hoverlabel={"font": {"family": _FONT, "size": 12}, "align": "left"},
        legend={"orientation": "h", "yanchor": "top", "y": -0.2, "x": 0, "bgcolor": "rgba(0,0,0,0)"},
    )
    return go.layout.Template(layout=layout)


pio.templates["nes_any"] = _template("#717985", "rgba(0,0,0,0)", "rgba(128,138,152,0.25)", "#808A98")
pio.templates["nes_light"] = _template("#1F2430", "#FFFFFF", "#E4E7EC", "#8A93A3")
pio.templates["nes_dark"] = _template("#E6E9EF", "#0E1117", "#2A303C", "#7C8698")
