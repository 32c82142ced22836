"""Show a slider for a budget, on which the part that cannot be reached is hatched."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from app.static_files import file_path

__all__ = ["budget_slider"]

_JS = """
export default async function (component) {
  const node = component.parentElement.querySelector(".nes-slider");
  const { path, slider } = component.data;
  const core = await import(new URL(path, document.baseURI).href);
  core.drawSlider(node, slider, (share) => component.setTriggerValue("slid", share));
}
"""

_slider = st.components.v2.component(
    "nes_lab_slider", html='<div class="nes-slider" style="min-height: 40px"></div>', js=_JS, isolate_styles=False
)


def budget_slider(slider: dict[str, Any], key: str, slid: Callable[[float], None]) -> None:
    """Draw a slider from 0 to 100% of the dense network. It keeps the focus when it is drawn again.

    Args:
        slider: What it shows, from :func:`nes_lab.figures.slider_data.slider_data`.
        key: Key of the component on the page.
        slid: Called with the new share before the page runs again. It may set the values of widgets.
    """

    def tell() -> None:
        share = st.session_state[key].slid
        if share is not None:
            slid(share)

    _slider(key=key, data={"path": file_path("slider"), "slider": slider}, height="content", on_slid_change=tell)
