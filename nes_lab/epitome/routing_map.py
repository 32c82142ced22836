"""Hold the routing map of a layer: the starts at which the patches of its weight are read.

Inference needs only the epitome, the routing map and the bias.

Tests: tests/epitome/test_sampling.py
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from nes_lab.epitome.sampling import sample_patches, sampling_matrix
from nes_lab.epitome.taps import AxisTaps, axis_taps
from nes_lab.errors import GeometryError
from nes_lab.geometry.coverage import read_counts
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["RoutingMap"]


@dataclass(frozen=True)
class RoutingMap:
    """Says where in the epitome each patch of a weight is read.

    Args:
        geometry: Shapes, scope and boundary.
        starts: One tensor of starts per weight axis, in cells; None for an axis that is read cell by cell. Their shape is
            ``(R_out, R_in)`` with joint scope. With separable scope it is ``(R_in,)`` for the input axis, ``(R_out,)`` otherwise.
        mode: Name of the routing mode that set the starts.

    Examples:
        >>> from nes_lab.nn.conv import EpitomeConv2d
        >>> layer = EpitomeConv2d(4, 8, 3, epitome_shape=(4, 4, 3, 3), patch_channels=(2, 4))
        >>> layer.routing_map().starts
        (tensor([0, 2, 0, 2]), None, None, None)
    """

    geometry: EpitomeGeometry
    starts: tuple[Tensor | None, ...]
    mode: str

    def taps(self, axis: int) -> AxisTaps | None:
        """Return the taps of a weight axis (the epitome cells it reads and their shares); None if it is read cell by cell."""
        starts = self.starts[axis]
        if starts is None:
            return None
        return axis_taps(starts, self.geometry, axis, fractional=starts.is_floating_point())

    def materialize(self, epitome: Tensor) -> Tensor:
        """Sample the weight ``T(E)`` from an epitome ``E``. It is linear in the epitome."""
        return sample_patches(epitome, [self.taps(axis) for axis in range(len(self.starts))], self.geometry)

    def matrix(self, axis: int) -> Tensor:
        """Return the matrix that samples one channel axis of a weight with separable scope.

        It has one row per channel and one column per epitome cell, ``(C, n)``; every row sums to 1.

        Raises:
            GeometryError: For joint scope, kernel axes and axes that are read cell by cell, which have no such matrix.
        """
        taps = self.taps(axis) if axis in (0, 1) and self.geometry.scope == "separable" else None
        if taps is None:
            raise GeometryError(f"axis={axis}: only a sampled channel axis of a separable layer has a sampling matrix")
        return sampling_matrix(taps)

    def read_counts(self) -> np.ndarray:
        """Count, for each epitome cell, the channel pairs of the weight that read it; integers of shape ``(E_out, E_in)``."""
        starts = [None if s is None else s.detach().cpu().numpy() for s in self.starts]
        return read_counts(self.geometry, starts)
