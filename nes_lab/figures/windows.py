"""Compute where the patches of a layer read its epitome, for the figures of patches, routing maps and trajectories.

Tests: tests/figures/test_pictures.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["axes_with_starts", "start_grid"]


def axes_with_starts(snapshot: LayerSnapshot) -> list[int]:
    """Return the axes of a layer's weight that have starts. The other axes are copied from the epitome without sampling."""
    return [axis for axis, starts in enumerate(snapshot.starts) if starts is not None]


def start_grid(snapshot: LayerSnapshot, axis: int) -> np.ndarray:
    """Return the start of every patch along ``axis``, in epitome cells, as an array ``(output patches, input patches)``.

    Separable starts depend on one axis only, so they are repeated along the other. On an axis without starts, a patch begins where
    its channels begin.
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
