"""Draw a plotly figure as a PNG picture without a browser, for pages and letters that show pictures only.

It draws what the figures of the widgets consist of: lines, markers, filled areas, bars, heatmaps, straight lines across a panel, axes,
texts and a legend. Other kinds of traces and axes are refused; texts with arrows and color bars are left out.

Tests: tests/figures/test_still_picture.py
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import get_colorscale

from nes_lab.errors import OptionError
from nes_lab.figures.still_sheet import Color, Points, Sheet, color_of, text_width
from nes_lab.figures.theme import DIVERGING, OKABE_ITO

__all__ = ["figure_png"]

_AXIS, _GRID, _INK = color_of("#8A93A3"), color_of("#E4E7EC"), "#1F2430"
_LEFT, _RIGHT, _TOP, _BOTTOM, _LEGEND = 64, 24, 62, 48, 22


def figure_png(figure: go.Figure, width: int = 720) -> bytes:
    """Return a figure as the bytes of a PNG picture, dark on white.

    Args:
        figure: A figure of lines, markers, filled areas, bars and heatmaps.
        width: Width of the picture in pixels. The height is the figure's own, or 450.

    Raises:
        MissingPackageError: If Pillow is not installed.
        OptionError: If the figure has another kind of trace or shape.

    Examples:
        >>> import nes_lab
        >>> figure_png(nes_lab.figures.live_run([]))[1:4]
        b'PNG'
    """
    for trace in _traces(figure):
        if trace.type not in _DRAW:
            raise OptionError(f"figure has a trace of type {trace.type!r}; this picture shows {', '.join(_DRAW)}")
    sheet = Sheet(width, int(figure.layout.height or 450))
    entries = [trace for trace in _traces(figure) if _in_legend(figure, trace)]
    panels = {key: _panel(figure, key, sheet, _BOTTOM + (_LEGEND if entries else 0)) for key in _axes(figure)}
    for key, panel in panels.items():
        _draw_axes(sheet, figure, panel, key)
    for trace in _traces(figure):
        _DRAW[trace.type](sheet, panels[_place(trace)], trace)
    for shape in figure.layout.shapes:
        _draw_line_across(sheet, panels, shape)
    for note in figure.layout.annotations:
        _draw_note(sheet, panels, note)
    sheet.text(12, 22, figure.layout.title.text or "", "ls", 16)
    sheet.text(12, 39, (figure.layout.title.subtitle.text or "").replace("<br>", ", "), "ls", 11)
    _draw_legend(sheet, entries)
    return sheet.png()


# ---- panels and axes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Panel:
    """One pair of axes: its edges in pixels, and what its axes show from left to right and from bottom to top."""

    left: float
    right: float
    top: float
    bottom: float
    across: tuple[float, float]
    up: tuple[float, float]
    logs: tuple[bool, bool]

    @property
    def box(self) -> tuple[float, float, float, float]:
        return self.left, self.top, self.right, self.bottom

    def x(self, value: float) -> float:
        return self.left + (self.right - self.left) * _share(value, self.across, self.logs[0])

    def y(self, value: float) -> float:
        return self.bottom - (self.bottom - self.top) * _share(value, self.up, self.logs[1])

    def corners(self, left: float, right: float, top: float, bottom: float) -> Points:
        (x0, x1), (y0, y1) = (self.x(left), self.x(right)), (self.y(top), self.y(bottom))
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]

    def pieces(self, x: np.ndarray, y: np.ndarray) -> list[list[tuple[float, float]]]:
        """Return the parts of a curve between its gaps, in pixels."""
        pieces: list[list[tuple[float, float]]] = [[]]
        for across, up in zip(x, y, strict=True):
            if (
                np.isfinite([across, up]).all()
                and not (self.logs[0] and across <= 0)
                and not (self.logs[1] and up <= 0)
            ):
                pieces[-1].append((self.x(across), self.y(up)))
            else:
                pieces.append([])
        return [piece for piece in pieces if piece]


def _traces(figure: go.Figure) -> tuple[Any, ...]:
    return tuple(figure.data)  # type: ignore[arg-type]


def _place(trace: Any) -> tuple[str, str]:
    """Return the names of the axes of a trace, such as ``("x2", "y2")``."""
    return trace.xaxis or "x", trace.yaxis or "y"


def _axes(figure: go.Figure) -> list[tuple[str, str]]:
    return list(dict.fromkeys(_place(trace) for trace in _traces(figure)))


def _axis(figure: go.Figure, name: str) -> Any:
    return figure.layout[name.replace("x", "xaxis").replace("y", "yaxis")]


def _panel(figure: go.Figure, key: tuple[str, str], sheet: Sheet, bottom: int) -> _Panel:
    across, up = (_axis(figure, name) for name in key)
    level = _axis(figure, up.overlaying) if up.overlaying else up
    (x0, x1), (y0, y1) = (axis.domain or (0, 1) for axis in (across, level))
    wide, high = sheet.width - _LEFT - _RIGHT, sheet.height - _TOP - bottom
    leader = across.matches or key[0]
    beside = [
        trace for trace in _traces(figure) if (_axis(figure, _place(trace)[0]).matches or _place(trace)[0]) == leader
    ]
    return _Panel(
        _LEFT + wide * x0,
        _LEFT + wide * x1,
        _TOP + high * (1 - y1),
        _TOP + high * (1 - y0),
        _range(_axis(figure, leader), beside, 0),
        _range(up, [trace for trace in _traces(figure) if _place(trace)[1] == key[1]], 1),
        (across.type == "log", up.type == "log"),
    )


def _range(axis: Any, traces: Iterable[Any], which: int) -> tuple[float, float]:
    """Return what an axis shows: the range that the figure sets, or the range of the numbers with a margin."""
    if axis.range and None not in axis.range:
        low, high = (float(end) for end in axis.range)
        return (10**low, 10**high) if axis.type == "log" else (low, high)
    values = np.concatenate([np.zeros(0), *(_extent(trace, which) for trace in traces)])
    values = values[np.isfinite(values) & ((values > 0) | (axis.type != "log"))]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.1, 1.0)
    if axis.rangemode == "tozero":
        low, high = min(low, 0.0), max(high, 0.0)
    if axis.type == "log":
        return low / 1.2, high * 1.2
    margin = 0.05 * (high - low) or 0.5
    low, high = low - margin, high + margin
    return (high, low) if axis.autorange == "reversed" else (low, high)


def _extent(trace: Any, which: int) -> np.ndarray:
    """Return the places along one axis that a trace needs."""
    if trace.type == "heatmap":
        return np.array(_edges(trace)[2 * which : 2 * which + 2])
    values = _points(trace)[which]
    if trace.type == "bar":
        half = _half_width(trace)
        values = np.concatenate([values - half, values + half]) if which == 0 else np.append(values, 0.0)
    return values


def _draw_axes(sheet: Sheet, figure: go.Figure, panel: _Panel, key: tuple[str, str]) -> None:
    across, up = (_axis(figure, name) for name in key)
    right = up.side == "right"
    for place, label in _ticks(up, panel.up, panel.logs[1]):
        y = panel.y(place)
        if up.showgrid is not False:
            sheet.line([(panel.left, y), (panel.right, y)], _GRID)
        sheet.text(panel.right + 5 if right else panel.left - 6, y, label, "lm" if right else "rm", 11)
    if right:  # the left axis draws the rest
        return
    for place, label in _ticks(across, panel.across, panel.logs[0]):
        x = panel.x(place)
        if across.showgrid is not False:
            sheet.line([(x, panel.top), (x, panel.bottom)], _GRID)
        if across.showticklabels is not False:
            sheet.text(x, panel.bottom + 5, label, "mt", 11)
    sheet.line([(panel.left, panel.top), (panel.left, panel.bottom), (panel.right, panel.bottom)], _AXIS)
    sheet.text(panel.right, panel.bottom + 21, across.title.text or "", "rt")
    sheet.text(panel.left, panel.top - 5, up.title.text or "", "ls")


def _ticks(axis: Any, ends: tuple[float, float], log: bool) -> list[tuple[float, str]]:
    """Return the places of labels on an axis, and the labels."""
    low, high = min(ends), max(ends)
    step = axis.dtick if isinstance(axis.dtick, int | float) and (high - low) / axis.dtick <= 30 else None
    values = _round_numbers(low, high, log, step) if axis.tickvals is None else [float(v) for v in axis.tickvals]
    form = "{:.0%}" if "%" in (axis.tickformat or "") else "{:g}"
    texts = axis.ticktext if axis.ticktext is not None else [form.format(value) for value in values]
    suffix = axis.ticksuffix or ""
    return [(value, text + suffix) for value, text in zip(values, texts, strict=True) if low <= value <= high]


def _round_numbers(low: float, high: float, log: bool = False, step: float | None = None) -> list[float]:
    """Return about five round numbers between two numbers, or the multiples of a step.

    Examples:
        >>> _round_numbers(0, 1), _round_numbers(0.5, 30, log=True)
        ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.5, 1.0, 2.0, 5.0, 10.0, 20.0])
    """
    if log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        values = [digit * 10.0**power for power in powers for digit in ((1, 2, 5) if len(powers) < 5 else (1,))]
        return [value for value in values if low <= value <= high]
    if step is None:
        power = 10.0 ** math.floor(math.log10((high - low) / 4))
        step = next(power * digit for digit in (1, 2, 5, 10) if (high - low) / (power * digit) <= 6)
    return [round(number * step, 12) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


# ---- traces -------------------------------------------------------------------------------------------------------------


def _draw_scatter(sheet: Sheet, panel: _Panel, trace: Any) -> None:
    line, mode = trace.line.color or trace.marker.color or OKABE_ITO[0], trace.mode or "lines"
    pieces = panel.pieces(*_points(trace))
    if trace.fill == "toself":
        paint = color_of(trace.fillcolor or trace.fillpattern.fgcolor or line, trace.opacity)
        sheet.areas([piece for piece in pieces if len(piece) > 2], [paint] * sum(len(p) > 2 for p in pieces), panel.box)
    if "lines" in mode and trace.line.width != 0:
        for piece in pieces:
            sheet.line(
                piece, color_of(line, trace.opacity), trace.line.width or 2, trace.line.dash or "solid", panel.box
            )
    if "markers" in mode:
        radius = 0.5 * float(trace.marker.size if isinstance(trace.marker.size, int | float) else 7)
        paint = color_of(trace.marker.color if isinstance(trace.marker.color, str) else line, trace.opacity)
        _draw_markers(sheet, list(itertools.chain(*pieces)), radius, str(trace.marker.symbol), paint)
    if "text" in mode:
        _draw_texts(sheet, panel, trace)


def _draw_markers(sheet: Sheet, points: Points, r: float, symbol: str, color: Any) -> None:
    outlines = {
        "square": [(-r, -r), (r, -r), (r, r), (-r, r)],
        "diamond": [(-r, 0), (0, -r), (r, 0), (0, r)],
        "triangle": [(-r, r), (0, -r), (r, r)],
    }
    outline = outlines.get("diamond" if symbol.startswith("star") else symbol.split("-")[0])
    if outline is None:
        sheet.discs(points, r, color)
    else:
        sheet.areas([[(x + dx, y + dy) for dx, dy in outline] for x, y in points], [color] * len(points))


def _draw_texts(sheet: Sheet, panel: _Panel, trace: Any) -> None:
    place, gap = trace.textposition if isinstance(trace.textposition, str) else "top center", 8
    side = "r" if "left" in place else "l" if "right" in place else "m"
    dx, dy = {"r": -gap, "l": gap, "m": 0}[side], gap if "bottom" in place else -gap if "top" in place else 0
    texts = [trace.text] * len(trace.y) if isinstance(trace.text, str) else trace.text
    for x, y, text in zip(*_points(trace), texts, strict=True):
        for across, up in itertools.chain(*panel.pieces(np.array([x]), np.array([y]))):
            sheet.text(across + dx, up + dy, str(text), f"{side}m", color=color_of(trace.textfont.color or _INK))


def _draw_bar(sheet: Sheet, panel: _Panel, trace: Any) -> None:
    half, color = _half_width(trace), color_of(trace.marker.color or OKABE_ITO[0], trace.marker.opacity)
    pairs = zip(*_points(trace), strict=True)
    bars = [panel.corners(x - half, x + half, y, 0) for x, y in pairs if np.isfinite(y)]
    sheet.areas(bars, [color] * len(bars), panel.box)


def _draw_heatmap(sheet: Sheet, panel: _Panel, trace: Any) -> None:
    """Draw one rectangle per cell. Cells without a number stay white."""
    cells = np.array(trace.z, dtype=float)
    known = cells[np.isfinite(cells)]
    low = float(trace.zmin if trace.zmin is not None else known.min())
    high = float(trace.zmax if trace.zmax is not None else known.max())
    shades = (np.clip((np.nan_to_num(cells) - low) / ((high - low) or 1.0), 0, 1) * 255).round().astype(int).tolist()
    palette = _palette(trace)
    left, right, top, bottom = _edges(trace)
    xs: list[float] = np.linspace(left, right, cells.shape[1] + 1).tolist()
    ys: list[float] = np.linspace(top, bottom, cells.shape[0] + 1).tolist()
    shown = np.argwhere(np.isfinite(cells)).tolist()
    boxes = [panel.corners(xs[j], xs[j + 1], ys[i], ys[i + 1]) for i, j in shown]
    sheet.areas(boxes, [palette[shades[i][j]] for i, j in shown], panel.box)


def _palette(trace: Any) -> list[Color]:
    """Return 256 colors from the least to the greatest value of a heatmap."""
    places, texts = zip(*(trace.colorscale or get_colorscale(DIVERGING)), strict=True)
    stops = np.array([color_of(text, trace.opacity) for text in texts])
    parts = [np.interp(np.linspace(0, 1, 256), places, part).round().astype(int).tolist() for part in stops.T]
    return list(zip(*parts, strict=True))


def _edges(trace: Any) -> tuple[float, float, float, float]:
    """Return the left, right, top and bottom edges of a heatmap; row 0 is at the top edge."""
    rows, columns = np.shape(trace.z)
    x, y = (float(value or 0) for value in (trace.x0, trace.y0))
    dx, dy = (float(1 if value is None else value) for value in (trace.dx, trace.dy))
    return x - dx / 2, x + dx * (columns - 0.5), y - dy / 2, y + dy * (rows - 0.5)


_DRAW = {"scatter": _draw_scatter, "bar": _draw_bar, "heatmap": _draw_heatmap}


# ---- lines across a panel, and the legend -------------------------------------------------------------------------------


def _draw_line_across(sheet: Sheet, panels: dict[tuple[str, str], _Panel], shape: Any) -> None:
    """Draw a line through a panel, as ``add_vline`` and ``add_hline`` make it."""
    if shape.type != "line":
        raise OptionError(f"figure has a shape of type {shape.type!r}; this picture shows lines")
    refs = [str(shape.xref or "x"), str(shape.yref or "y")]
    for key, panel in panels.items():
        if all(ref.split(" ")[0] in (name, "paper") for ref, name in zip(refs, key, strict=True)):
            xs = [panel.left, panel.right] if "domain" in refs[0] else [panel.x(v) for v in (shape.x0, shape.x1)]
            ys = [panel.bottom, panel.top] if "domain" in refs[1] else [panel.y(v) for v in (shape.y0, shape.y1)]
            look = color_of(shape.line.color or _INK, shape.opacity), shape.line.width or 2, shape.line.dash or "solid"
            sheet.line(list(zip(xs, ys, strict=True)), *look, panel.box)


def _draw_note(sheet: Sheet, panels: dict[tuple[str, str], _Panel], note: Any) -> None:
    """Write a text that a figure has in one of its panels, such as the name of the panel."""
    names = tuple(str(ref or usual).split(" ")[0] for ref, usual in ((note.xref, "x"), (note.yref, "y")))
    panel = panels.get((names[0], names[1]))
    if panel is None or note.showarrow is not False:
        return
    x = panel.left + note.x * (panel.right - panel.left) if "domain" in str(note.xref) else panel.x(note.x)
    y = panel.bottom - note.y * (panel.bottom - panel.top) if "domain" in str(note.yref) else panel.y(note.y)
    anchor = {"left": "l", "right": "r"}.get(note.xanchor, "m") + {"bottom": "d", "top": "a"}.get(note.yanchor, "m")
    sheet.text(x, y, note.text or "", anchor, int(note.font.size or 12))


def _draw_legend(sheet: Sheet, entries: Sequence[Any]) -> None:
    """Write the names of the curves beside their lines, as many as there is room for."""
    x, y = 12.0, sheet.height - 12
    for trace in entries:
        width = text_width(str(trace.name))
        if x + width + 20 > sheet.width:
            break
        color = color_of(trace.line.color or trace.marker.color or OKABE_ITO[0])
        sheet.line([(x, y), (x + 16, y)], color, 2, trace.line.dash or "solid")
        sheet.text(x + 20, y, str(trace.name), "lm")
        x += width + 36


def _in_legend(figure: go.Figure, trace: Any) -> bool:
    shown = figure.layout.showlegend is not False and trace.showlegend is not False
    return shown and trace.type == "scatter" and bool(trace.name) and len(_traces(figure)) > 1


def _half_width(bar: Any) -> float:
    return 0.5 * float(bar.width if isinstance(bar.width, int | float) else 0.8)


def _points(trace: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of a trace along both axes. Without numbers across, they are 0, 1, 2 and so on."""
    y = _numbers(trace.y)
    return (np.arange(len(y), dtype=float) if trace.x is None else _numbers(trace.x)), y


def _numbers(given: Any) -> np.ndarray:
    values = [] if given is None else list(given)
    try:
        return np.array(
            [np.nan if value is None else value for value in (() if values is None else values)], dtype=float
        )
    except (TypeError, ValueError):
        raise OptionError(f"figure has the place {values[0]!r} on an axis; this picture shows numbers only") from None


def _share(value: float, ends: tuple[float, float], log: bool) -> float:
    low, high = (math.log10(end) for end in ends) if log else ends
    return ((math.log10(value) if log else value) - low) / ((high - low) or 1.0)
