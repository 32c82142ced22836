"""Show a flat epitome, which layers of a run can share, on the page Epitomes: its cells, and which patches read one of them."""

from collections.abc import Mapping

import streamlit as st

from app.components.plot import plot
from app.components.tables import show
from app.inputs import in_address
from nes_lab.figures.flat_epitome import shared_epitome
from nes_lab.geometry.layer_snapshot import LayerSnapshot
from nes_lab.records.cell_table import cell_table, last_cell

__all__ = ["choose_step", "show_shared"]


def choose_step(steps: list[int]) -> int:
    """Let the user choose a training step, if there are several."""
    if len(steps) == 1:
        return steps[0]
    return st.select_slider("Training step", steps, value=steps[-1], **in_address("step"))


def show_shared(layers: Mapping[str, LayerSnapshot], name: str) -> None:
    """Show the flat epitome that a layer reads, and let the user choose a cell.

    Args:
        layers: Copies of all layers at one training step.
        name: Name of the layer.
    """
    st.caption(
        "This layer reads a flat epitome: one row of cells, drawn like lines of text. Each patch of a weight is a sum of windows, "
        "which are pieces of neighboring cells. Choose a cell to see which patches read it."
    )
    cell = st.number_input("Cell", 0, last_cell(layers[name]), None, placeholder="none", **in_address("cell"))
    chosen = None if cell is None else int(cell)
    plot(shared_epitome(layers, name, chosen), "shared")
    if chosen is not None:
        show(cell_table(layers, name, chosen), "readers")
