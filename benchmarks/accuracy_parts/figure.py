"""Draw the test accuracy of all networks of a study against their cost, one panel per part, as a PNG."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import plotly.graph_objects as go
from PIL import Image
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from benchmarks.accuracy_parts.cells import DENSE, Cell
from benchmarks.accuracy_parts.study import Part
from benchmarks.accuracy_parts.titles import contender, network
from benchmarks.demo_digits import FLAGS, QUIET
from nes_lab.figures.theme import OKABE_ITO, apply_theme, figure_json, new_figure, series_style
from nes_lab.runs.replace import write_target

__all__ = ["draw", "study_figure"]

WIDTH, PANEL, LINE = 1000, 400, 24
UNITS = {"madds": (1e6, "multiply-adds (M)"), "params": (1e3, "params (k)"), "stored_bytes": (1e3, "stored bytes (kB)")}
COLUMNS, SIDE_BY_SIDE = 2, 0.018
"""Panels in a row, and the distance of contenders with equal cost, as a share of the largest cost."""


def study_figure(cells: Sequence[Cell]) -> go.Figure | None:
    """Draw the accuracy of a study's cells against the cost that their part makes equal; None if nothing was run.

    Bars are one standard deviation over seeds. A line joins the budgets of a contender. A dotted line is the dense network's
    accuracy. Contenders of equal cost are drawn side by side.

    Args:
        cells: All cells of the study.
    """
    run = [cell for cell in cells if cell.rows]
    names = list(dict.fromkeys(cell.contender for cell in run if cell.contender != DENSE))
    panels: dict[str, Part] = {}
    for cell in run:
        if cell.contender != DENSE:
            panels.setdefault(_panel_of(cell), cell.part)
    parts = list(panels.values())
    if not parts:
        return None
    columns = min(COLUMNS, len(parts))
    rows = math.ceil(len(parts) / columns)
    titles = [network(run[0].study, part) for part in parts]
    figure = make_subplots(
        rows, columns, subplot_titles=titles, vertical_spacing=0.3 / rows, figure=new_figure("Accuracy against cost.")
    )
    first_panels: dict[str, str] = {}
    for number, part in enumerate(parts):
        own = [cell for cell in run if _panel_of(cell) == (part.joins or part.name)]
        for name in {cell.contender: None for cell in own}:
            first_panels.setdefault(name, part.name)
        named = {name for name, panel in first_panels.items() if panel == part.name}
        _panel(figure, own, (number // columns + 1, number % columns + 1), names, named)
    below = 90 + LINE * math.ceil(len(names) / 2)
    legend = {"orientation": "h", "yref": "container", "y": 0.0, "yanchor": "bottom"}
    legend |= {"entrywidth": 0.45, "entrywidthmode": "fraction"}
    margin = {"t": 50, "b": below, "l": 70, "r": 20}
    figure.update_layout(width=WIDTH, height=PANEL * rows + below, margin=margin, legend=legend)
    return apply_theme(figure, dark=False)


def _panel_of(cell: Cell) -> str:
    """Return the name of the part in whose panel a cell is drawn: its own, or the one that it joins."""
    return cell.part.joins or cell.part.name


def _panel(
    figure: go.Figure, cells: Sequence[Cell], place: tuple[int, int], names: Sequence[str], in_legend: set[str]
) -> None:
    """Draw the cells of one part in one panel; the legend gets the contenders that no earlier panel has."""
    row, column = place
    part = cells[0].part
    here = list(dict.fromkeys(cell.contender for cell in cells if cell.contender != DENSE))
    step = SIDE_BY_SIDE * max(_cost(cell) for cell in cells if cell.contender != DENSE)
    for order, name in enumerate(here):
        mine = [cell for cell in cells if cell.contender == name]
        line = _line(mine, names.index(name), step * (order - (len(here) - 1) / 2), in_legend=name in in_legend)
        figure.add_trace(line, row=row, col=column)
    for cell in (cell for cell in cells if cell.contender == DENSE):
        where: Any = {"row": row, "col": column}
        style: Any = {"dash": "dot", "width": 1.5, "color": "#5F6368"}
        figure.add_hline(mean(cell.test), line=style, annotation_text="dense network", **where)
    figure.update_xaxes(title_text=UNITS[part.cost][1], rangemode="tozero", row=row, col=column)
    figure.update_yaxes(title_text="test top-1 (%)", row=row, col=column)


def _line(cells: Sequence[Cell], place: int, aside: float, in_legend: bool) -> go.Scatter:
    style = series_style(place)
    symbol = style.symbol if place < len(OKABE_ITO) else f"{style.symbol}-open"  # colors repeat
    cells = sorted(cells, key=_cost)
    spreads = [stdev(cell.test) if len(cell.rows) > 1 else 0 for cell in cells]
    return go.Scatter(
        x=[_cost(cell) + aside for cell in cells],
        y=[mean(cell.test) for cell in cells],
        error_y={"type": "data", "array": spreads, "thickness": 1.5, "width": 5},
        mode="lines+markers",
        line={"color": style.color, "dash": style.dash, "width": 1.5},
        marker={"color": style.color, "symbol": symbol, "size": 9},
        name=contender(cells[0].contender).replace("`", ""),
        legendgroup=cells[0].contender,
        showlegend=in_legend,
    )


def _cost(cell: Cell) -> float:
    return cell.rows[0][cell.part.cost] / UNITS[cell.part.cost][0]


def draw(figure: go.Figure, picture: Path) -> bool:
    """Draw a figure into a PNG with Chromium, and return whether that was possible.

    Args:
        figure: A figure with a width and a height.
        picture: The file to write.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print(f"neither chromium nor google-chrome is on PATH: {picture.name} was not drawn", file=sys.stderr)
        return False
    spec = figure_json(figure)
    size = (spec["layout"]["width"], spec["layout"]["height"])
    script = json.dumps(spec).replace("</", "<\\/")
    html = (
        f"<body style='margin:0;background:white'><div id=f style='width:{size[0]}px;height:{size[1]}px'></div>"
        f"<script>{get_plotlyjs()}</script>"
        f"<script>const spec = {script}; Plotly.newPlot('f', spec.data, spec.layout, {{staticPlot: true}})</script>"
    )
    with tempfile.TemporaryDirectory() as folder:
        page, shot = Path(folder) / "page.html", Path(folder) / "shot.png"
        write_target(page, html)
        window = [
            f"--window-size={size[0]},{size[1] + 100}",
            f"--screenshot={shot}",
            f"--user-data-dir={folder}/profile",
        ]
        subprocess.run([browser, *FLAGS, *QUIET, *window, page.as_uri()], check=True, capture_output=True, timeout=120)
        picture.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(shot) as image:
            colors = image.convert("RGB").crop((0, 0, *size)).convert("P", palette=Image.Palette.ADAPTIVE)
            colors.save(picture, optimize=True)
    return True
