"""Starting indices: the fixed rules, which axes are sampled, and how often a cell is read. Torch-free.

Source: Zhou et al., ICLR 2020, arXiv:1907.05642; the rule ``stride`` is in the spirit of WSNet (Jin et al., ICML 2018).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nes_lab.epitome.geometry import EpitomeGeometry
from nes_lab.errors import one_of

__all__ = [
    "FIXED_MODES",
    "LEARNED_MODES",
    "MAX_RUNS",
    "ROUTING_MODES",
    "SEPARABLE_RULES",
    "Run",
    "axis_runs",
    "is_identity",
    "read_counts",
    "rule_starts",
    "sampled_axes",
]

FIXED_MODES = ("tiled", "stride", "random")
LEARNED_MODES = ("free", "learner")
ROUTING_MODES = FIXED_MODES + LEARNED_MODES
SEPARABLE_RULES = ("tiled", "stride")
"""Rules whose starts along an axis depend on the patch's index along it alone, whatever the scope."""

Run = tuple[int, int, int]
"""A contiguous read of a channel axis: first weight index, first cell, length."""

MAX_RUNS = 8
"""With more contiguous reads than this, one operation over an index is faster than as many over slices."""


def is_identity(geometry: EpitomeGeometry, axis: int, mode: str) -> bool:
    """Whether an axis is read cell by cell, without starts.

    It is when epitome and weight agree in size and either the mode is ``tiled`` or no patch has room to move (the kernel
    axes of a usual layer).

    Examples:
        >>> g = EpitomeGeometry((8, 4, 3, 3), (4, 4, 3, 3))
        >>> [is_identity(g, axis, "free") for axis in range(4)]
        [False, True, True, True]
    """
    a = geometry.axes[axis]
    return a.size == a.cells and (mode == "tiled" or not geometry.can_move(axis))


def sampled_axes(geometry: EpitomeGeometry, mode: str) -> tuple[int, ...]:
    """Weight axes that have starts, in order."""
    one_of("routing", mode, ROUTING_MODES)
    return tuple(i for i in range(len(geometry.axes)) if not is_identity(geometry, i, mode))


def rule_starts(geometry: EpitomeGeometry, mode: str, seed: int = 0) -> tuple[np.ndarray | None, ...]:
    """Starts of a fixed rule, or the anchors from which ``free`` and ``learner`` begin (the integer tiling).

    Under clamp: tiled ``min(r*b mod n, n-b_r)``, stride ``round(r*(n-b_r)/max(R-1, 1))``, random uniform in ``0..n-b_r``.
    Circular: ``r*b mod n``, ``floor(r*n/R)``, uniform in ``0..n-1``. Along kernel axes ``r`` is the output patch.

    Args:
        geometry: Shapes, scope and boundary.
        mode: A routing mode.
        seed: Of ``random`` only.

    Returns:
        Per weight axis None (identity) or integers of shape ``geometry.starts_shape(axis)``, in cells.

    Examples:
        >>> g = EpitomeGeometry((10, 4), (6, 4), patch_channels=(3, 4))
        >>> rule_starts(g, "tiled")[0].tolist(), rule_starts(g, "stride")[0].tolist()
        ([0, 3, 0, 3], [0, 1, 2, 5])
    """
    sampled = sampled_axes(geometry, mode)
    draw = np.random.default_rng(seed)
    return tuple(
        _axis_rule(geometry, axis, mode, draw) if axis in sampled else None for axis in range(len(geometry.axes))
    )


def _axis_rule(geometry: EpitomeGeometry, axis: int, mode: str, draw: np.random.Generator) -> np.ndarray:
    a = geometry.axes[axis]
    count = geometry.patch_grid[geometry.owner(axis)]
    limit = a.cells - (a.lengths if axis < 2 else np.full(count, a.size))
    circular = geometry.boundary == "circular"
    if mode == "random":
        high = np.full(geometry.starts_shape(axis), a.cells - 1) if circular else geometry.limits(axis)
        return draw.integers(0, high, endpoint=True, dtype=np.int64)
    r = np.arange(count)
    if mode == "stride":
        spaced = r * a.cells // count if circular else np.rint(r * limit / max(count - 1, 1)).astype(np.int64)
        return geometry.spread(spaced, axis)
    tiled = r * a.patch % a.cells
    return geometry.spread(tiled if circular else np.minimum(tiled, limit), axis)


def axis_runs(starts: np.ndarray, geometry: EpitomeGeometry, axis: int) -> tuple[Run, ...] | None:
    """The contiguous reads of a separable channel axis with integer starts, neighbors that continue each other joined.

    Args:
        starts: Integers of shape ``geometry.starts_shape(axis)``, in cells.
        geometry: Shapes, scope and boundary.
        axis: Weight axis.

    Returns:
        At most :data:`MAX_RUNS` runs in the order of the axis, or None where there are more, or no such runs.

    Examples:
        >>> g = EpitomeGeometry((8, 4), (6, 4), patch_channels=(3, 4))
        >>> axis_runs(np.array([0, 3, 1]), g, 0)
        ((0, 0, 6), (6, 1, 2))
    """
    if axis >= 2 or geometry.scope != "separable":
        return None
    a = geometry.axes[axis]
    cell = np.asarray(starts, np.int64)[a.patch_of] + a.within
    cell = cell % a.cells if geometry.boundary == "circular" else cell
    begins = [0, *(np.flatnonzero(np.diff(cell) != 1) + 1).tolist()]
    if len(begins) > MAX_RUNS:
        return None
    return tuple((b, int(cell[b]), e - b) for b, e in zip(begins, [*begins[1:], a.size], strict=True))


def read_counts(geometry: EpitomeGeometry, starts: Sequence[np.ndarray | None]) -> np.ndarray:
    """How many ``(output, input)`` channel pairs of the weight read each epitome cell.

    A fractional start reads two neighboring cells; a cell of the channel plane counts once for a pair however many taps
    of its kernel are read.

    Args:
        geometry: Shapes, scope and boundary.
        starts: Per weight axis None or the table of starts, in cells.

    Returns:
        Integers of shape ``(E_out, E_in)``.

    Examples:
        >>> g = EpitomeGeometry((4, 2), (2, 2))
        >>> read_counts(g, rule_starts(g, "tiled")).tolist()
        [[2, 2], [2, 2]]
    """
    rows, cols = (_reads(geometry, axis, starts[axis]) for axis in (0, 1))
    if geometry.scope == "separable":
        return np.outer(rows.sum(0), cols.sum(0)).astype(np.int64)
    out, inner = geometry.axes[:2]
    counts = np.zeros(geometry.epitome_shape[:2], np.int64)
    for i in range(out.patches):
        mine = out.patch_of == i
        for j in range(inner.patches):
            theirs = inner.patch_of == j
            counts += np.outer(rows[mine, j if rows.ndim == 3 else 0].sum(0), cols[theirs, i].sum(0))
    return counts


def _reads(geometry: EpitomeGeometry, axis: int, starts: np.ndarray | None) -> np.ndarray:
    """0/1: does weight index ``c`` read cell ``p``; separable ``(C, n)``, joint ``(C, other patches, n)``."""
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
