"""Show plotly figures on a page of the app.

``plot`` draws a figure that does not change. ``live_plot`` draws a figure whose data changes, and keeps the user's
zoom. ``live_plot`` needs the JavaScript library plotly.js in the browser. ``load_library`` sends it there once per
page.
"""

import json
from typing import Any

import streamlit as st

from nes_lab.figures.report import plotly_js
from nes_lab.figures.theme import apply_theme, figure_json

__all__ = ["live_plot", "load_library", "plot"]

_CONFIG = {"displaylogo": False, "responsive": True}

_LIBRARY_JS = "if (!window.Plotly) {\n" + plotly_js() + "\n}\nexport default function () {}\n"

_PLOT_JS = """
export default function (component) {
  const node = component.parentElement.querySelector(".nes-plot");
  node.nesSpec = component.data;
  const draw = () => {
    if (!node.isConnected) return;
    if (!window.Plotly) { setTimeout(draw, 50); return; }
    const spec = JSON.parse(node.nesSpec.figure);
    node.setAttribute("aria-label", spec.layout.meta.alt);
    node.style.minHeight = spec.layout.height + "px";
    window.Plotly.react(node, spec.data, spec.layout, spec.config).then(() => { node.dataset.drawn = "yes"; });
  };
  draw();
}
"""

_library = st.components.v2.component("nes_lab_plotly", js=_LIBRARY_JS, isolate_styles=False)
_plot = st.components.v2.component(
    "nes_lab_plot", html='<div class="nes-plot" role="img" style="width:100%"></div>', js=_PLOT_JS, isolate_styles=False
)


def _is_dark() -> bool:
    return st.context.theme.type == "dark"


def plot(figure: Any, key: str) -> None:
    """Draw a figure that does not change while the page is shown."""
    themed = apply_theme(figure, _is_dark(), see_through=True)
    st.plotly_chart(themed, width="stretch", theme=None, key=key, config=_CONFIG)


def load_library() -> None:
    """Send the JavaScript library plotly.js to the browser. Call this once per page, before :func:`live_plot`."""
    _library(key="plotly-library", height=1)


def live_plot(figure: Any, key: str) -> None:
    """Draw a figure whose data changes while the page is shown. The zoom and the hidden curves stay as the user left them."""
    # st.plotly_chart would lose the zoom when the data changes. Our own component keeps it with Plotly.react.
    spec = figure_json(apply_theme(figure, _is_dark(), see_through=True)) | {"config": _CONFIG}
    _plot(key=key, data={"figure": json.dumps(spec)}, height="content")
