"""A layer's epitome and starts at one moment, as numpy arrays. Figures draw snapshots and runs store them. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nes_lab.geometry.coverage import read_counts
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["LayerSnapshot"]


@dataclass(frozen=True)
class LayerSnapshot:
    """Holds the epitome and starts of one layer.

    Args:
        name: Module name in its model.
        epitome: ``(E_out, E_in, *E_k)`` float32, or None if only the starts were kept.
        starts: Per weight axis the starts in cells; None where the axis is read cell by cell.
        weight_shape, epitome_shape, patch_shape: As in :class:`~nes_lab.geometry.epitome_geometry.EpitomeGeometry`.
        scope, boundary, routing: The layer's options of these names.
    """

    name: str
    epitome: np.ndarray | None
    starts: tuple[np.ndarray | None, ...]
    weight_shape: tuple[int, ...]
    epitome_shape: tuple[int, ...]
    patch_shape: tuple[int, ...]
    scope: str = "separable"
    boundary: str = "clamp"
    routing: str = "tiled"

    @property
    def geometry(self) -> EpitomeGeometry:
        """The layer's geometry."""
        patch = (self.patch_shape[0], self.patch_shape[1])
        return EpitomeGeometry(self.weight_shape, self.epitome_shape, patch, self.scope, self.boundary)

    def coverage(self) -> np.ndarray:
        """Count the channel pairs of the weight that read each epitome cell: integers ``(E_out, E_in)``."""
        return read_counts(self.geometry, self.starts)
