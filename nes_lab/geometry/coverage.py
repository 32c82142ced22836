"""Count how often each epitome cell is read when a weight is sampled. This file does not import torch.

Tests: tests/geometry/test_start_rules.py
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.geometry.flat_reads import flat_reads

__all__ = ["read_counts"]


def read_counts(geometry: EpitomeGeometry, starts: Sequence[np.ndarray | None]) -> np.ndarray:
    """Count how often each epitome cell is read when the weight is sampled.

    Only the channel axes are counted: a cell has an output index and an input index in the epitome, and positions in the kernel
    window are ignored. Each pair of an output and an input channel of the weight reads one cell. If a start lies between two
    cells, both cells are read.

    Args:
        geometry: Shapes, scope and boundary of the layer.
        starts: One array per weight axis with the starts (positions where patches begin), in cells; None for an axis without
            starts, whose cells are read in order.

    Returns:
        Integers of shape ``(E_out, E_in)``: the epitome's lengths along output and input channels. For a flat epitome, one per
        cell, of shape ``(n,)``: there each weight reads one cell per window.

    Examples:
        >>> from nes_lab.geometry.start_rules import rule_starts
        >>> g = EpitomeGeometry((4, 2), (2, 2))
        >>> read_counts(g, rule_starts(g, "tiled")).tolist()
        [[2, 2], [2, 2]]
    """
    if geometry.scope == "flat":
        return flat_reads(geometry, starts[0])
    rows, cols = (_reads(geometry, axis, starts[axis]) for axis in (0, 1))
    if geometry.scope == "separable":
        return np.outer(rows.sum(0), cols.sum(0)).astype(np.int64)
    out, inner = geometry.axes[:2]
    counts = np.zeros(geometry.epitome_shape[:2], np.int64)
    for i in range(out.patches):
        in_row = out.patch_of == i
        for j in range(inner.patches):
            in_column = inner.patch_of == j
            counts += np.outer(rows[in_row, j if rows.ndim == 3 else 0].sum(0), cols[in_column, i].sum(0))
    return counts


def _reads(geometry: EpitomeGeometry, axis: int, starts: np.ndarray | None) -> np.ndarray:
    """Return a table of zeros and ones: 1 where a channel of the weight reads a cell of the epitome axis.

    Its shape is ``(C, n)`` for ``C`` channels of the weight and ``n`` cells. With joint scope (each patch has its own
    starts), its shape is ``(C, R, n)``, where ``R`` is the number of patches along the other channel axis.
    """
    a = geometry.axes[axis]
    other = geometry.patch_grid[1 - axis]
    if starts is None:
        table = np.zeros((a.patches, other) if geometry.scope == "joint" else (a.patches,))
        table = table + (np.arange(a.patches) * a.patch).reshape(-1, *[1] * (table.ndim - 1))
    else:
        table = np.asarray(starts, np.float64).T if axis == 1 and geometry.scope == "joint" else np.asarray(starts)
    position = table[a.patch_of] + a.within.reshape(-1, *[1] * (table.ndim - 1))
    reads = np.zeros((*position.shape, a.cells), np.int64)
    for cell, weight in ((np.floor(position), 1.0), (np.floor(position) + 1, position - np.floor(position))):
        index = (cell % a.cells if geometry.boundary == "circular" else np.clip(cell, 0, a.cells - 1)).astype(np.int64)
        hit = np.broadcast_to(np.asarray(weight > 0), position.shape)
        np.put_along_axis(reads, index[..., None], np.take_along_axis(reads, index[..., None], -1) | hit[..., None], -1)
    return reads
