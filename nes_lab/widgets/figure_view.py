"""Show a plotly figure that changes, in a notebook: it fits the width of the page and follows its theme.

Tests: tests/widgets/test_figure_view.py
"""

from __future__ import annotations

import base64
import gzip
import html
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import anywidget
import plotly.graph_objects as go
import traitlets
from ipywidgets import Widget, widget_serialization
from plotly.offline import get_plotlyjs

from nes_lab.errors import OptionError
from nes_lab.figures.still_picture import figure_png
from nes_lab.figures.theme import PLOT_CONFIG, apply_theme, figure_json, new_figure, plot_js

__all__ = ["FigureView", "add_fallback", "picture_of", "still_html"]

_STATIC = Path(__file__).parent / "static"
PLOTLY, PNG = "application/vnd.plotly.v1+json", "image/png"


def add_fallback(shown: Any, **others: Any) -> Any:
    """Return what a notebook shows of a widget, with other forms for places where widgets cannot be shown.

    Args:
        shown: What the widget's method ``_repr_mimebundle_`` returns: a dict, a pair of dicts, or None.
        others: Kind of content -> content. ``text`` is plain text, ``html`` is HTML, ``picture`` is a PNG picture in base64, and
            ``figure`` is a plotly figure, which is added as a PNG picture too if :func:`figure_png` can draw it.
    """
    kinds = {"text": "text/plain", "html": "text/html", "picture": PNG, "figure": PLOTLY}
    if "figure" in others:
        with suppress(OptionError):  # a kind of trace that widgets do not use
            others = {"picture": picture_of(others["figure"]), **others}
    added = {kinds[name]: figure_json(item) if name == "figure" else item for name, item in others.items()}
    if shown is None:
        return None
    if isinstance(shown, tuple):
        return {**shown[0], **added}, shown[1]
    return {**shown, **added}


def picture_of(figure: go.Figure) -> str:
    """Return a figure as a PNG picture in base64, as notebooks keep pictures.

    Raises:
        OptionError: If :func:`figure_png` cannot draw the figure.
    """
    return base64.b64encode(figure_png(figure)).decode("ascii")


def still_html(name: str, data: Any, text: str, picture: str) -> str:
    """Return HTML with a picture, and with the data from which ``figures/static/NAME.js`` can draw the widget without a kernel.

    Args:
        name: Name of the JavaScript module, whose function ``mount(node, data)`` draws.
        data: What it draws, as plain data for JSON.
        text: A line of text that says what the picture shows.
        picture: A PNG picture in base64, which is shown where no JavaScript runs.
    """
    script = json.dumps(data).replace("</", "<\\/")
    return (
        f'<div class="nes-live" data-module="{name}"><p>{html.escape(text)}</p>'
        f'<img src="data:{PNG};base64,{picture}" alt="{html.escape(text)}" style="max-width:100%">'
        f'<script type="application/json">{script}</script></div>'
    )


class _PlotlyLibrary(anywidget.AnyWidget):
    """Carries plotly.js to the browser, compressed. All figures of a kernel share one."""

    _esm = "export default { render() {} };"
    code = traitlets.Bytes().tag(sync=True)


@cache
def _compressed() -> bytes:
    return gzip.compress(get_plotlyjs().encode(), mtime=0)


@cache
def _themes() -> dict[str, Any]:
    figure = new_figure(alt="")
    return {name: figure_json(apply_theme(figure, name == "dark"))["layout"]["template"] for name in ("light", "dark")}


class FigureView(anywidget.AnyWidget):
    """Notebook widget that shows a plotly figure and can exchange it. The user's zoom is kept.

    Args:
        figure: The figure, from :mod:`nes_lab.figures`.
        on_move: Called with the name of a handle and its new place, ``x`` and ``y``, when the user has moved it. A place on an axis
            along which the handle does not move is None.

    Attributes:
        spec: The data, layout and configuration of the figure, for plotly.js.

    Examples:
        >>> import nes_lab
        >>> view = FigureView(nes_lab.figures.live_run([]))
        >>> view
        FigureView: Curves of a run: loss, accuracy, learning rate and throughput over 0 measurements.
    """

    _esm = plot_js() + (_STATIC / "figure_view.js").read_text(encoding="utf-8")
    _shared: _PlotlyLibrary | None = None
    spec = traitlets.Dict().tag(sync=True)
    themes = traitlets.Dict().tag(sync=True)
    library = traitlets.Instance(Widget, allow_none=True).tag(sync=True, **widget_serialization)

    def __init__(
        self, figure: go.Figure, on_move: Callable[[str, float | None, float | None], object] | None = None
    ) -> None:
        self._on_move = on_move
        super().__init__(library=self._plotly(), themes=_themes(), spec=self._spec(figure))
        self._figure = figure
        self.on_msg(self._receive)

    @property
    def figure(self) -> go.Figure:
        """The figure that is shown. Give another figure to exchange it."""
        return self._figure

    @figure.setter
    def figure(self, figure: go.Figure) -> None:
        self._figure = figure
        self.spec = self._spec(figure)

    def __repr__(self) -> str:
        return f"FigureView: {self.spec['layout']['meta']['alt']}"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Return the widget for a notebook, and the figure as it is now where widgets cannot be shown."""
        return add_fallback(super()._repr_mimebundle_(**options), text=repr(self), figure=self._figure)

    @classmethod
    def _plotly(cls) -> _PlotlyLibrary:
        shared = FigureView._shared
        if shared is None or shared.comm is None:  # none yet, or a notebook has closed all widgets
            shared = FigureView._shared = _PlotlyLibrary(code=_compressed())
        return shared

    @staticmethod
    def _spec(figure: go.Figure) -> dict[str, Any]:
        spec = figure_json(figure)
        layout = spec["layout"]
        layout.pop("template", None)
        layout.pop("width", None)
        layout.setdefault("height", 450)
        return {"data": spec["data"], "layout": layout | {"autosize": True}, "config": PLOT_CONFIG}

    def _receive(self, _: Any, content: Mapping[str, Any], __: Any) -> None:
        if self._on_move is not None and isinstance(content.get("id"), str):
            self._on_move(content["id"], content.get("x"), content.get("y"))
