"""Turn the plotly figures of executed notebooks into HTML that draws them without another server.

Tests: tests/docs/test_site.py.
"""

from __future__ import annotations

import html
import json
import shutil
from pathlib import Path
from typing import Any

import nbformat
from plotly.offline import get_plotlyjs

from nes_lab.figures.theme import PLOT_CONFIG, apply_theme, figure_json, new_figure

__all__ = ["figures_as_html", "write_scripts"]

_PLOTLY, _WIDGET = "application/vnd.plotly.v1+json", "application/vnd.jupyter.widget-view+json"


def figures_as_html(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Replace plotly figures in the outputs of a notebook by HTML, and drop views of widgets, which need a kernel.

    Args:
        notebook: The executed notebook. It is changed, and returned.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if _PLOTLY in data:
                output["data"] = {"text/html": _figure(data[_PLOTLY])}
            elif data.pop(_WIDGET, None) is not None and set(data) <= {"text/plain"}:
                output["data"] = {
                    "text/html": "<p><em>An interactive widget: open the notebook in JupyterLab.</em></p>"
                }
    notebook.metadata.pop("widgets", None)
    return notebook


def write_scripts(folder: Path) -> None:
    """Write the scripts that draw figures into a folder: plotly.js, our drawing function and both themes."""
    folder.mkdir(parents=True, exist_ok=True)
    themes = {name: _template(dark=name == "dark") for name in ("light", "dark")}
    folder.joinpath("plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")
    folder.joinpath("themes.json").write_text(json.dumps(themes), encoding="utf-8")
    here = Path(__file__).parent
    shutil.copy(here / "draw_figures.js", folder)
    static = Path(here.parents[1], "nes_lab", "figures", "static")
    for script in static.glob("*.js"):
        shutil.copy(script, folder)


def _figure(spec: dict[str, Any]) -> str:
    layout = spec["layout"]
    layout.pop("template", None)
    layout.setdefault("meta", {}).setdefault("alt", layout.get("title", {}).get("text", "A figure"))
    layout.update(paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)")
    layout.setdefault("height", 450)
    layout.pop("width", None)
    text = json.dumps({"data": spec["data"], "layout": layout, "config": PLOT_CONFIG}).replace("</", "<\\/")
    return (
        f'<div class="nes-plot" role="img" aria-label="{html.escape(layout["meta"]["alt"])}" style="min-height:{layout["height"]}px">'
        f'<script type="application/json">{text}</script></div>'
    )


def _template(dark: bool) -> dict[str, Any]:
    layout = figure_json(apply_theme(new_figure(alt=""), dark, see_through=True))["layout"]
    return layout["template"]
