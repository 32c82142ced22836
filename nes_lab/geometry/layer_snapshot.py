"""Hold a layer's epitome and starts at one moment, as numpy arrays. Figures draw these snapshots and runs store them.

Does not import torch.

Tests: tests/runs/test_snapshots.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nes_lab.geometry.coverage import read_counts
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["LayerSnapshot"]


@dataclass(frozen=True)
class LayerSnapshot:
    """Holds the epitome and the starts of one layer at one moment, as numpy arrays.

    Args:
        name: Name of the layer in its model.
        epitome: The epitome, ``(E_out, E_in, *E_k)``, float32; None if only the starts were kept.
        starts: One array of starts per weight axis, in cells; None for an axis that is read cell by cell, without starts.
        weight_shape: Shape of the sampled weight, ``(C_out, C_in/groups, *K)``.
        epitome_shape: Shape of the epitome.
        patch_shape: Shape of a patch, ``(b_out, b_in, *K)``.
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
        """Shapes, scope and boundary of the layer."""
        patch = (self.patch_shape[0], self.patch_shape[1])
        return EpitomeGeometry(self.weight_shape, self.epitome_shape, patch, self.scope, self.boundary)

    def coverage(self) -> np.ndarray:
        """Count, for each epitome cell, the channel pairs of the weight that read it; integers of shape ``(E_out, E_in)``."""
        return read_counts(self.geometry, self.starts)
