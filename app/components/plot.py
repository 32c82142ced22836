"""Show figures of ``nes_lab.figures`` on a page: static ones through Streamlit, live ones through a component defined here.

``st.plotly_chart`` builds a new plot whenever the data changes and loses the zoom. The component calls ``Plotly.react``
on the existing node instead. plotly.js itself (5 MB) is sent once, by a second component, not with each change.
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
    """Send plotly.js to the browser. Call it once per page, before the first live plot."""
    _library(key="plotly-library", height=1)


def live_plot(figure: Any, key: str) -> None:
    """Draw a figure whose data changes while the page is shown. The zoom and hidden series stay as the user left them."""
    spec = figure_json(apply_theme(figure, _is_dark(), see_through=True)) | {"config": _CONFIG}
    _plot(key=key, data={"figure": json.dumps(spec)}, height="content")
