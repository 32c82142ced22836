"""Compute where on the epitome each patch (block of a layer's weight) is read. Several figures draw these positions.

Tests: tests/figures/test_pictures.py
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["axes_with_starts", "patch_outline", "start_grid"]


def axes_with_starts(snapshot: LayerSnapshot) -> list[int]:
    """Return the indices of the weight axes that have starts (positions of patches).

    Along the other axes the epitome's cells are read in order.
    """
    return [axis for axis, starts in enumerate(snapshot.starts) if starts is not None]


def start_grid(snapshot: LayerSnapshot, axis: int) -> np.ndarray:
    """Return where every patch (block of a layer's weight) begins on the epitome, along one weight axis.

    Args:
        snapshot: Copy of the layer's epitome and starts at one training step.
        axis: Index of the weight axis.

    Returns:
        The starts in epitome cells, as an array with one row per block of output channels and one column per block of
        input channels. A start that several patches share is repeated. On a channel axis without starts, a patch begins at
        the index of its first channel. On a kernel axis without starts, it begins at 0.
    """
    rows, columns = snapshot.geometry.patch_grid
    starts = snapshot.starts[axis]
    if starts is None:
        count = columns if axis == 1 else rows
        starts = np.arange(count) * (snapshot.patch_shape[axis] if axis < 2 else 0)
    starts = np.asarray(starts, dtype=np.float32)
    if starts.ndim == 3:  # a flat epitome: the windows of a patch are side by side
        return starts.reshape(rows, -1)
    if starts.ndim == 2:
        return starts
    return np.broadcast_to(starts[None, :] if axis == 1 else starts[:, None], (rows, columns))


def patch_outline(snapshot: LayerSnapshot, row: int, column: int) -> tuple[list[float | None], list[float | None]]:
    """Return the outline of the region of the epitome from which one patch (block of a layer's weight) is read.

    Args:
        snapshot: Copy of the layer's epitome and starts at one training step.
        row: Index of the patch along the output channels.
        column: Index of the patch along the input channels.

    Returns:
        The corners of a rectangle along the input and along the output channels, in cells, each followed by None. A cell is drawn from
        0.5 before its index to 0.5 after it. If the layer's boundary is ``circular``, a patch may continue at the opposite edge of
        the epitome. The rectangle is then repeated there.
    """
    top, left = (float(start_grid(snapshot, axis)[row, column]) for axis in (0, 1))
    height, width = (
        int(axis.lengths[place]) for axis, place in zip(snapshot.geometry.axes, (row, column), strict=False)
    )
    xs: list[float | None] = []
    ys: list[float | None] = []
    for y, x in _copies(snapshot, top, left, (height, width)):
        (x0, x1), (y0, y1) = (x - 0.5, x + width - 0.5), (y - 0.5, y + height - 0.5)
        xs += [x0, x1, x1, x0, x0, None]
        ys += [y0, y0, y1, y1, y0, None]
    return xs, ys


def _copies(snapshot: LayerSnapshot, y: float, x: float, size: tuple[int, int]) -> Iterator[tuple[float, float]]:
    """Yield the positions at which the rectangle of one patch is drawn: several for the boundary ``circular``."""
    if snapshot.boundary != "circular":
        yield y, x
        return
    height, width = snapshot.epitome_shape[:2]
    for top in _wrapped(y, size[0], height):
        for left in _wrapped(x, size[1], width):
            yield top, left


def _wrapped(start: float, length: int, cells: int) -> list[float]:
    first = start % cells
    return [first, first - cells] if first + length > cells else [first]
