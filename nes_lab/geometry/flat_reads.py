"""Say which weights read each cell of a flat epitome, within one layer and across the layers that share it. No torch is imported.

Tests: tests/geometry/test_flat_reads.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nes_lab.errors import OptionError
from nes_lab.geometry.flat_geometry import FlatGeometry

if TYPE_CHECKING:
    from nes_lab.geometry.epitome_geometry import EpitomeGeometry
    from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["CellReader", "cell_readers", "flat_reads", "sharing_layers"]


@dataclass(frozen=True)
class CellReader:
    """A patch of a layer that reads one cell of a flat epitome.

    Args:
        layer: Name of the layer.
        output_channels: First and last output channel of the patch.
        input_channels: First and last input channel of the patch, within a group.
        window: Number of the window, from 0.
        place: Number of the cell within the window, from 0. Row-major, it is a place in the patch.
        alpha: Factor of the window; None if it was not kept.
    """

    layer: str
    output_channels: tuple[int, int]
    input_channels: tuple[int, int]
    window: int
    place: int
    alpha: float | None


def flat_reads(geometry: EpitomeGeometry, starts: np.ndarray | None) -> np.ndarray:
    """Count how often each cell of a flat epitome is read for the weight of one layer. Cropped parts of patches do not count.

    A start between two cells reads both. With several windows, a weight reads several cells.

    Args:
        geometry: Shapes of the layer, with the scope ``flat``.
        starts: Starts of the windows, ``(R_out, R_in, windows)``, in cells.

    Raises:
        OptionError: If the epitome is not flat.

    Returns:
        Integers, one per cell.

    Examples:
        >>> geometry = FlatGeometry((1, 4), (5,), (1, 3))
        >>> flat_reads(geometry, np.array([[[0], [2]]])).tolist()  # the second patch is cropped to one weight
        [1, 1, 2, 0, 0]
    """
    flat, first, share = _windows(geometry, starts)
    cells = flat.epitome_shape[0]
    inside = _inside(flat)[:, :, None, :]
    places = np.arange(inside.shape[-1])
    counts = np.zeros(cells, np.int64)
    for offset, read in ((0, np.ones_like(share, bool)), (1, share > 0)):
        hit = np.broadcast_to(inside & read[..., None], (*first.shape, len(places)))
        counts += np.bincount(((first[..., None] + places + offset) % cells)[hit], minlength=cells)
    return counts


def cell_readers(layers: Mapping[str, LayerSnapshot], cell: int) -> list[CellReader]:
    """List the patches of all layers that read one cell of the flat epitome that they share.

    Args:
        layers: Copies of the layers, by name; they read the same epitome.
        cell: Number of the cell, from 0.

    Raises:
        OptionError: If the epitome has no such cell.
    """
    found: list[CellReader] = []
    for name, layer in layers.items():
        geometry, first, share = _windows(layer.geometry, layer.starts[0])
        cells = geometry.epitome_shape[0]
        if not 0 <= cell < cells:
            raise OptionError(f"cell={cell}; the epitome has the cells 0 to {cells - 1}")
        inside, sizes = _inside(geometry), (geometry.patch_shape[:2], geometry.weight_shape[:2])
        for offset in (0, 1):
            place = (cell - offset - first) % cells
            hits = (place < inside.shape[-1]) & ((share > 0) | (offset == 0))
            for row, column, window in np.argwhere(hits):
                where = int(place[row, column, window])
                if inside[row, column, where]:
                    ends = [_channels(number, axis, sizes) for axis, number in enumerate((int(row), int(column)))]
                    alpha = None if layer.alpha is None else float(layer.alpha[row, column, window])
                    found.append(CellReader(name, ends[0], ends[1], int(window), where, alpha))
    return found


def sharing_layers(layers: Mapping[str, LayerSnapshot], name: str) -> dict[str, LayerSnapshot]:
    """Return the layers that read the same epitome as one of them, this one included, in order.

    Args:
        layers: Copies of all layers of a network at one step, by name.
        name: Name of one layer.
    """
    reads = layers[name].reads
    return {other: layer for other, layer in layers.items() if other == name or (reads and layer.reads == reads)}


def _windows(geometry: EpitomeGeometry, starts: np.ndarray | None) -> tuple[FlatGeometry, np.ndarray, np.ndarray]:
    """Return the geometry, the first cell of each window, and the share of the next cell."""
    if not isinstance(geometry, FlatGeometry) or starts is None:
        raise OptionError(f"the layer has scope={geometry.scope!r}; give one with a flat epitome")
    exact = np.asarray(starts, np.float64)
    first = np.floor(exact)
    return geometry, first.astype(np.int64), exact - first


def _inside(geometry: FlatGeometry) -> np.ndarray:
    """Return which numbers of each patch are inside the weight: booleans of shape ``(R_out, R_in, L)``."""
    (rows, columns), (b_out, b_in) = geometry.patch_grid, geometry.patch_shape[:2]
    out = (np.arange(rows * b_out) < geometry.weight_shape[0]).reshape(rows, 1, b_out, 1, 1)
    inner = (np.arange(columns * b_in) < geometry.weight_shape[1]).reshape(1, columns, 1, b_in, 1)
    both = np.broadcast_to(out & inner, (rows, columns, b_out, b_in, geometry.kernel_cells))
    return both.reshape(rows, columns, -1)


def _channels(number: int, axis: int, sizes: tuple[tuple[int, ...], tuple[int, ...]]) -> tuple[int, int]:
    patch, weight = sizes[0][axis], sizes[1][axis]
    return number * patch, min((number + 1) * patch, weight) - 1
