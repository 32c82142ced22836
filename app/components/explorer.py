"""Show the epitome explorer on a page: a layer's weight, the epitome that it is read from, and its starts, all linked."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from app.static_files import file_path

__all__ = ["explorer"]

_JS = """
export default async function (component) {
  const node = component.parentElement.querySelector(".nes-explorer");
  const { path, layer, others, view: named } = component.data;
  const core = await import(new URL(path, document.baseURI).href);
  const known = (node.nesKnown ??= new Set()), text = JSON.stringify(named);
  // the page answers late: a choice that it repeats must not undo a newer one, such as the next step while the film plays
  const view = known.has(text) ? JSON.parse(node.nesExplorer.told) : named;
  known.add(text);
  const onView = (chosen) => {
    known.add(JSON.stringify(chosen));
    component.setStateValue("view", chosen);
  };
  core.mount(node, layer, { others, view, onView });
}
"""

_explorer = st.components.v2.component(
    "nes_lab_explorer", html='<div class="nes-explorer" style="min-height: 600px"></div>', js=_JS, isolate_styles=False
)


def explorer(
    layer: Mapping[str, Any], view: Mapping[str, str], key: str, others: Sequence[Mapping[str, Any]] = ()
) -> dict[str, str]:
    """Draw the explorer of one layer, and return what the user has chosen in it.

    Args:
        layer: What :func:`~nes_lab.figures.explorer_data.explorer_data` returns.
        view: What to show at first: texts under the names ``step``, ``color``, ``kernel``, ``pin`` and ``cell``. What is as usual
            has no entry.
        key: Key of the component. With another key, the choices of the user are forgotten.
        others: The same layer of other runs, to draw in columns beside it.
    """
    data = {"path": file_path("explorer"), "layer": layer, "others": list(others), "view": dict(view)}
    chosen = _explorer(key=key, data=data, default={"view": dict(view)}, on_view_change=lambda: None, height="content")
    return {name: str(value) for name, value in dict(chosen.view).items()}
