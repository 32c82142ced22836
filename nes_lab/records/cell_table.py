"""Make the table of the patches, of all layers, that read one cell of a flat epitome.

Tests: tests/geometry/test_flat_reads.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nes_lab.geometry.flat_reads import cell_readers, sharing_layers
from nes_lab.records.columns import columns
from nes_lab.records.table import Table

if TYPE_CHECKING:
    from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["cell_table", "last_cell"]


def cell_table(layers: Mapping[str, LayerSnapshot], name: str, cell: int) -> Table:
    """Return a table with one row for each patch that reads a cell of a flat epitome, in all layers that share the epitome.

    Args:
        layers: Copies of all layers at one training step, by name.
        name: Name of one of the layers that read the epitome.
        cell: Number of the cell, from 0.

    Raises:
        OptionError: If the epitome is not flat or has no such cell.

    Examples:
        >>> import nes_lab
        >>> flat = {"epitome_shape": (40,), "scope": "flat", "routing": "tiled"}
        >>> layers = {"fc": nes_lab.EpitomeLinear(8, 8, **flat).snapshot("fc")}
        >>> [(row["output_channels"], row["cell_in_window"]) for row in cell_table(layers, "fc", 3).rows]
        [('0 to 3', 3), ('4 to 7', 11)]
    """
    found = cell_readers(sharing_layers(layers, name), cell)
    rows = [
        {
            "name": reader.layer,
            "output_channels": _range(reader.output_channels),
            "input_channels": _range(reader.input_channels),
            "window": reader.window,
            "cell_in_window": reader.place,
            "alpha": reader.alpha,
        }
        for reader in found
    ]
    return Table(columns("name", "output_channels", "input_channels", "window", "cell_in_window", "alpha"), rows)


def last_cell(layer: LayerSnapshot) -> int:
    """Return the number of the last cell of a flat epitome, counted from 0."""
    return layer.epitome_shape[0] - 1


def _range(ends: tuple[int, int]) -> str:
    return f"{ends[0]} to {ends[1]}" if ends[0] < ends[1] else str(ends[0])
