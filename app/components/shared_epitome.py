"""Show a flat epitome, which layers of a run can share, on the page Epitomes: who reads its cells."""

from collections.abc import Mapping

import streamlit as st

from app.components.plot import plot
from app.components.tables import show
from nes_lab.figures.flat_epitome import shared_epitome
from nes_lab.geometry.layer_snapshot import LayerSnapshot
from nes_lab.records.cell_table import cell_table, last_cell

__all__ = ["show_readers", "show_shared"]


def show_readers(layers: Mapping[str, LayerSnapshot], name: str, cell: str) -> None:
    """Show a table of the patches, of all layers, that read a cell of the flat epitome.

    Args:
        layers: Copies of all layers at one training step.
        name: Name of a layer that reads the epitome.
        cell: Number of the cell, as the address has it. Nothing is shown if the epitome has no such cell.
    """
    if cell.isdecimal() and int(cell) <= last_cell(layers[name]):
        st.caption(f"All patches that read cell {int(cell):,}, and their factors (alpha):")
        show(cell_table(layers, name, int(cell)), "readers")


def show_shared(layers: Mapping[str, LayerSnapshot], name: str) -> None:
    """Draw the flat epitome that a layer reads, and how often each layer reads its cells.

    Args:
        layers: Copies of all layers at one training step.
        name: Name of the layer.
    """
    cell = st.query_params.get("cell", "")
    marked = int(cell) if cell.isdecimal() and int(cell) <= last_cell(layers[name]) else None
    plot(shared_epitome(layers, name, marked), "shared")
