"""Compute where on the epitome each patch (block of a layer's weight) is read. Several figures draw these positions.

Tests: tests/figures/test_pictures.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["axes_with_starts", "start_grid"]


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
    if starts.ndim == 2:
        return starts
    return np.broadcast_to(starts[None, :] if axis == 1 else starts[:, None], (rows, columns))
