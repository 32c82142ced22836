"""Sum up how far the starts (positions of patches in the epitome) of a run have moved since its first step.

Tests: tests/figures/test_run_panels.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nes_lab.figures.start_trajectories import STILL, collapsed_starts
from nes_lab.runs.handle import RunHandle

if TYPE_CHECKING:
    from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["StartMoves", "start_moves"]


@dataclass(frozen=True)
class StartMoves:
    """Holds how far the starts of all layers of a run have moved since the first snapshot.

    Attributes:
        moves: For each step with a snapshot: the step, the median move and the largest move, both in cells.
        starts: Number of starts of all layers.
        dead: Number of starts that never moved.
        collapsed: Number of starts that came close to others.
        can_move: False if the routing of every layer fixes the starts.

    Examples:
        >>> import nes_lab
        >>> nes_lab.figures.StartMoves(((0, 0.0, 0.0), (100, 0.02, 0.3)), starts=8, can_move=True).largest
        0.3
    """

    moves: tuple[tuple[int, float, float], ...] = ()
    starts: int = 0
    dead: int = 0
    collapsed: int = 0
    can_move: bool = False

    @property
    def largest(self) -> float:
        """Largest move of a start at the last step, in cells; 0 if nothing is known."""
        return self.moves[-1][2] if self.moves else 0.0


def start_moves(history: RunHandle | Sequence[tuple[int, Mapping[str, LayerSnapshot]]]) -> StartMoves:
    """Sum up how far the starts of all layers have moved since the first snapshot.

    Args:
        history: A run. Or pairs of a training step and its snapshot: a mapping from the name of a layer to a copy of its starts. Oldest
            first.

    Examples:
        >>> import nes_lab
        >>> layer = nes_lab.EpitomeLinear(16, 32, epitome_shape=(16, 8), patch_channels=(8, 4), routing="free")
        >>> found = nes_lab.figures.start_moves([(0, {"fc": layer.snapshot()}), (10, {"fc": layer.snapshot()})])
        >>> found.moves[-1], found.starts == found.dead
        ((10, 0.0, 0.0), True)
    """
    if isinstance(history, RunHandle):
        history = sorted(history.snapshots().items())
    if not history:
        return StartMoves()
    first = history[0][1]
    away: list[list[np.ndarray]] = [[] for _ in history]
    collapsed, can_move = 0, False
    for name, before in first.items():
        if not all(name in layers for _, layers in history):
            continue
        can_move = can_move or before.routing in ("free", "learner")
        for axis, starts in enumerate(before.starts):
            if starts is None:
                continue
            path = np.stack([np.ravel(np.asarray(layers[name].starts[axis], np.float64)) for _, layers in history])
            collapsed += int(collapsed_starts(path).sum())
            for index, row in enumerate(_distance(path, before, axis)):
                away[index].append(row)
    if not away[0]:
        return StartMoves(can_move=can_move)
    moved = np.stack([np.concatenate(parts) for parts in away])
    rows = zip(history, np.median(moved, axis=1), moved.max(axis=1), strict=True)
    return StartMoves(
        tuple((step, float(median), float(largest)) for (step, _), median, largest in rows),
        moved.shape[1],
        int((moved.max(axis=0) < STILL).sum()),
        collapsed,
        can_move,
    )


def _distance(path: np.ndarray, layer: LayerSnapshot, axis: int) -> np.ndarray:
    """Return how far each start is from its first position. On a circular epitome, the shorter way around counts."""
    away = np.abs(path - path[:1])
    if layer.boundary != "circular":
        return away
    size = layer.epitome_shape[axis]
    return np.minimum(away % size, size - away % size)
