"""Starting indices set by a fixed rule, and which axes have starts. Torch-free.

Source: Zhou et al., ICLR 2020, arXiv:1907.05642; the rule ``stride`` is in the spirit of WSNet (Jin et al., ICML 2018).
"""

from __future__ import annotations

import numpy as np

from nes_lab.errors import check_choice
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = [
    "FIXED_MODES",
    "LEARNED_MODES",
    "ROUTING_MODES",
    "SEPARABLE_RULES",
    "is_identity",
    "rule_starts",
    "sampled_axes",
]

FIXED_MODES = ("tiled", "stride", "random")
LEARNED_MODES = ("free", "learner")
ROUTING_MODES = FIXED_MODES + LEARNED_MODES
SEPARABLE_RULES = ("tiled", "stride")
"""Rules whose starts along an axis depend on the patch's index along it alone, whatever the scope."""


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
    check_choice("routing", mode, ROUTING_MODES)
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
