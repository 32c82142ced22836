"""Show the epitome explorer on a page: a layer's weight, the epitome that it is read from, and its starts, all linked."""

from collections.abc import Mapping

import streamlit as st

from app.static_files import file_path
from nes_lab.figures.explorer_data import explorer_data
from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["explorer"]

_JS = """
export default async function (component) {
  const node = component.parentElement.querySelector(".nes-explorer");
  const { path, layer, step } = component.data;
  const core = await import(new URL(path, document.baseURI).href);
  core.mount(node, layer, { step, onStep: (chosen) => component.setStateValue("step", chosen) });
}
"""

_explorer = st.components.v2.component(
    "nes_lab_explorer", html='<div class="nes-explorer" style="min-height: 600px"></div>', js=_JS, isolate_styles=False
)


def explorer(history: Mapping[int, LayerSnapshot], step: int, key: str) -> int:
    """Draw the explorer of one layer, and return the training step that the user chose in it.

    Args:
        history: Training step -> copy of the layer's epitome and starts.
        step: Training step to show at first.
        key: Key of the component. With another key, the choices of the user are forgotten.
    """
    data = {"path": file_path("explorer"), "layer": explorer_data(history), "step": step}
    chosen = _explorer(key=key, data=data, default={"step": step}, on_step_change=lambda: None, height="content")
    return int(chosen.step)
