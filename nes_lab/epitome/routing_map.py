"""Hold the routing map of a layer: the positions in its epitome (starts) at which the patches of its weight are read.

For inference a layer needs only its epitome, routing map and bias.

Tests: tests/epitome/test_sampling.py
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from nes_lab.epitome.sampling import sample_patches, sampling_matrix
from nes_lab.epitome.taps import AxisTaps, axis_taps
from nes_lab.errors import GeometryError
from nes_lab.geometry.coverage import read_counts
from nes_lab.geometry.epitome_geometry import EpitomeGeometry, axis_name
from nes_lab.geometry.flat_geometry import FlatGeometry
from nes_lab.geometry.layer_snapshot import LayerSnapshot
from nes_lab.records.columns import columns
from nes_lab.records.table import Table
from nes_lab.text import format_shape, list_some

__all__ = ["RoutingMap"]


@dataclass(frozen=True, repr=False)
class RoutingMap:
    """Says where in the epitome each patch of a weight is read.

    Args:
        geometry: Shapes of weight and epitome, scope and boundary.
        starts: One tensor per weight axis: the epitome cell at which each patch begins. None for an axis without starts; index
            ``i`` of such an axis reads cell ``i``. With joint scope each tensor has shape ``(R_out, R_in)``: the numbers of
            patches along the output and the input channels. With separable scope the shape is ``(R_in,)`` for the input axis,
            ``(R_out,)`` for the others.
        mode: Name of the routing mode that set the starts, such as ``tiled``.
        alpha: Only for a flat epitome: factor of each window, ``(R_out, R_in, windows)``.

    Examples:
        >>> import nes_lab
        >>> layer = nes_lab.EpitomeConv2d(4, 8, 3, epitome_shape=(4, 4, 3, 3), patch_channels=(2, 4))
        >>> layer.routing_map().starts
        (tensor([0, 2, 0, 2]), None, None, None)

    Source: Zhou et al., ICLR 2020, arXiv:1907.05642.
    """

    geometry: EpitomeGeometry
    starts: tuple[Tensor | None, ...]
    mode: str
    alpha: Tensor | None = None

    def __repr__(self) -> str:
        shapes = f"weight {format_shape(self.geometry.weight_shape)} from epitome {format_shape(self.geometry.epitome_shape)}"
        patches = " × ".join(map(str, self.geometry.patch_grid))
        return f"RoutingMap: {self.mode}, {self.geometry.scope}, {shapes}, {patches} patches"

    def _repr_html_(self) -> str:
        return self.table().html()

    def table(self) -> Table:
        """Return the starts as a table with one row per weight axis that has starts."""
        rows = [
            {"axis": axis_name(i), "starts_list": _listed(starts)}
            for i, starts in enumerate(self.starts)
            if starts is not None
        ]
        return Table(columns("axis", "starts_list"), rows, before=[repr(self)])

    def snapshot(self, name: str = "") -> LayerSnapshot:
        """Copy the starts into numpy arrays, for figures. The copy has no epitome.

        Args:
            name: Name of the layer, for titles. Empty: the name is ``RoutingMap``.
        """
        geometry = self.geometry
        return LayerSnapshot(
            name=name or type(self).__name__,
            epitome=None,
            starts=tuple(None if s is None else s.detach().float().cpu().numpy() for s in self.starts),
            weight_shape=geometry.weight_shape,
            epitome_shape=geometry.epitome_shape,
            patch_shape=geometry.patch_shape,
            scope=geometry.scope,
            boundary=geometry.boundary,
            routing=self.mode,
            windows=geometry.windows if isinstance(geometry, FlatGeometry) else 1,
            alpha=None if self.alpha is None else self.alpha.detach().float().cpu().numpy(),
        )

    def taps(self, axis: int) -> AxisTaps | None:
        """Return the taps of a weight axis: the epitome cells that each index reads, and the factor of each cell.

        Return None if the axis has no starts (positions of patches in the epitome). Index ``i`` then reads cell ``i``.
        """
        starts = self.starts[axis]
        if starts is None:
            return None
        taps = axis_taps(starts, self.geometry, axis, fractional=starts.is_floating_point())
        return taps if self.alpha is None else replace(taps, alpha=self.alpha)

    def materialize(self, epitome: Tensor) -> Tensor:
        """Sample the weight from an epitome. The weight is a linear function of the epitome."""
        return sample_patches(epitome, [self.taps(axis) for axis in range(len(self.starts))], self.geometry)

    def matrix(self, axis: int) -> Tensor:
        """Return the matrix that samples a weight with separable scope (starts per axis) along one channel axis.

        It has one row per channel of the weight and one column per cell of the epitome axis. Every row sums to 1.

        Raises:
            GeometryError: If there is no such matrix: with joint scope, for a kernel axis, or for an axis without starts.
        """
        taps = self.taps(axis) if axis in (0, 1) and self.geometry.scope == "separable" else None
        if taps is None:
            raise GeometryError(f"axis={axis}: only a sampled channel axis of a separable layer has a sampling matrix")
        return sampling_matrix(taps)

    def read_counts(self) -> np.ndarray:
        """For each epitome cell, count the pairs of an output channel and an input channel that read the cell.

        Return one integer per cell, of shape ``(E_out, E_in)``. ``E_out`` and ``E_in`` are the lengths of the epitome's axes.
        """
        starts = [None if s is None else s.detach().cpu().numpy() for s in self.starts]
        return read_counts(self.geometry, starts)


def _listed(starts: Tensor) -> str:
    """Return the first starts of an axis as text, and say how many more there are."""
    return list_some([f"{start:.4g}" for start in starts.flatten().tolist()], 12)
