"""Show plotly figures on a page of the app.

A figure keeps the user's zoom and hidden curves when its data changes. It has a text alternative, and buttons to download it.
"""

import json
from collections.abc import Callable
from typing import Any

import streamlit as st

from app.static_files import file_path
from nes_lab.figures.theme import PLOT_CONFIG, apply_theme, figure_json

__all__ = ["plot"]

# st.plotly_chart would lose the zoom when the data changes, and sends plotly.js again with each load
_JS = """
export default async function (component) {
  const node = component.parentElement.querySelector(".nes-plot");
  const { figure, paths, clickable, movable, choosable } = component.data;
  const [plot, plotly] = paths.map((path) => new URL(path, document.baseURI).href);
  const core = await import(plot);
  const send = (clicked) => component.setTriggerValue("clicked", clicked);
  const move = (place) => component.setTriggerValue("moved", place);
  const choose = (points) => component.setTriggerValue("chosen", { points });
  const wanted = [[clickable, send], [movable, move], [choosable, choose]].map(([asked, act]) => (asked ? act : undefined));
  await core.drawPlot(node, JSON.parse(figure), plotly, ...wanted);
}
"""

_plot = st.components.v2.component(
    "nes_lab_plot", html='<div class="nes-plot" role="img" style="width:100%"></div>', js=_JS, isolate_styles=False
)


def plot(
    figure: Any,
    key: str,
    clickable: bool = False,
    moved: Callable[[str, float | None, float | None], None] | None = None,
    chosen: Callable[[list[str]], None] | None = None,
) -> Any:
    """Draw a figure. When the data changes, the zoom and the hidden curves stay as the user left them.

    Args:
        figure: The plotly figure.
        key: Key of the component on the page.
        clickable: Run the page again when the user clicks a point that has ``customdata``.
        moved: Called before the page runs again when the user has moved a handle of the figure
            (:func:`nes_lab.figures.theme.handle`), with the name of the handle and its new place on both axes, where a line has None
            for the other axis. It may set the values of widgets. None: handles cannot be moved.
        chosen: Called before the page runs again when the user has drawn a box or a lasso, or has clicked a point with Shift, with the
            ``customdata`` of the points; an empty list if the user took the choice away. None: points cannot be chosen.

    Returns:
        The ``customdata`` of the point that the user has just clicked; None if there is none.
    """
    themed = apply_theme(figure, st.context.theme.type == "dark", see_through=True)
    spec = figure_json(themed) | {"config": PLOT_CONFIG}
    paths = [file_path("plot"), file_path("plotly")]
    data = {"figure": json.dumps(spec), "paths": paths, "clickable": clickable}
    data |= {"movable": moved is not None, "choosable": chosen is not None}

    def tell() -> None:
        place = st.session_state[key].moved
        if moved is not None and place:
            moved(place["id"], place["x"], place["y"])

    def tell_chosen() -> None:
        choice = st.session_state[key].chosen
        if chosen is not None and choice:
            chosen(choice["points"])

    result = _plot(
        key=key,
        data=data,
        height="content",
        on_clicked_change=lambda: None,
        on_moved_change=tell,
        on_chosen_change=tell_chosen,
    )
    return getattr(result, "clicked", None)  # without a browser there is no such attribute
