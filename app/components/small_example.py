"""Show the smallest example on a page: an epitome of 6 numbers, and the weight of 12 that is read from it."""

import streamlit as st

from app.static_files import file_path
from nes_lab.figures.small_example import small_example

__all__ = ["draw_small_example"]

_JS = """
export default async function (component) {
  const node = component.parentElement.querySelector(".nes-example");
  const core = await import(new URL(component.data.path, document.baseURI).href);
  core.drawSmallExample(node, component.data.layer);
}
"""

_example = st.components.v2.component(
    "nes_lab_example", html='<div class="nes-example" style="min-height: 300px"></div>', js=_JS, isolate_styles=False
)


def draw_small_example(key: str) -> None:
    """Draw the example. It needs no answer from Python."""
    _example(key=key, data={"path": file_path("example"), "layer": small_example()}, height="content")
