"""Describe a weight that is read from a flat epitome: one row of cells that layers of any shape can share. No torch is imported.

Tests: tests/geometry/test_flat_geometry.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, get_args

import numpy as np

from nes_lab.errors import GeometryError, OptionError, check_choice, check_int
from nes_lab.geometry.epitome_geometry import Axis, Boundary, EpitomeGeometry, Scope

__all__ = ["FLAT_PATCH_CHANNELS", "FlatGeometry", "make_geometry"]

FLAT_PATCH_CHANNELS = 4
"""Output and input channels of a patch if ``scope="flat"`` and ``patch_channels`` is not given."""


@dataclass(frozen=True)
class FlatGeometry(EpitomeGeometry):
    """Describes how a weight is cut into patches (blocks), and how each patch is read from a flat epitome.

    A patch is a block of ``b_out`` output channels, ``b_in`` input channels and the complete kernel window. In row-major order it
    has ``L = b_out * b_in * prod(K)`` numbers. These are a sum of ``windows`` windows (pieces of ``L`` neighboring cells) of the
    epitome. Each window has its own start and its own factor. A window that reaches the last cell continues at the first. Patches
    at the edge of the weight are cropped afterwards.

    There is one axis, named ``flat``, with one start per patch and window.

    Args:
        weight_shape: Shape of the weight: output channels, input channels per group, then the axes of the kernel window.
        epitome_shape: Number of cells, as a tuple of one number.
        patch_channels: Output and input channels of a patch; at most those of the weight. None: 4 each.
        scope: Always ``"flat"``.
        boundary: Always ``"circular"``.
        windows: Number of windows that are added up.

    Raises:
        GeometryError: If a patch has more numbers than the epitome has cells, or a shape is wrong.

    Examples:
        >>> g = FlatGeometry((128, 64, 3, 3), (5000,), patch_channels=4, windows=2)
        >>> g.patch_grid, g.patch_shape, g.starts_shape(0)
        ((32, 16), (4, 4, 3, 3), (32, 16, 2))
    """

    scope: Scope = "flat"
    boundary: Boundary = "circular"
    windows: int = 1

    def _check(self) -> None:
        if len(self.epitome_shape) != 1:
            raise GeometryError(
                f"epitome_shape={self.epitome_shape}; with scope='flat' it is one number of cells, such as (5000,)"
            )
        try:
            check_int("windows", self.windows, 1)
        except OptionError as error:
            raise GeometryError(str(error)) from None

    def _patch_pair(self, value: Any) -> tuple[int, ...]:
        pair = super()._patch_pair(FLAT_PATCH_CHANNELS if value is None else value)
        return tuple(min(lengths) for lengths in zip(pair, self.weight_shape[:2], strict=True))

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The one axis of a flat epitome, named ``flat``: numbers of the weight, cells of the epitome, numbers of a patch."""
        return (Axis("flat", prod(self.weight_shape), self.epitome_shape[0], prod(self.patch_shape)),)

    @property
    def patch_grid(self) -> tuple[int, int]:
        """Number of patches along the output channels, and number of patches along the input channels."""
        sizes = zip(self.weight_shape, self.patch_shape[:2], strict=False)
        rows, columns = (-(-size // patch) for size, patch in sizes)
        return rows, columns

    def starts_shape(self, axis: int) -> tuple[int, ...]:
        """Return the shape of the array of starts: patches along output channels, patches along input channels, windows."""
        return (*self.patch_grid, self.windows)

    def patches_of(self, axis: int) -> int:
        """Return how many starts there are: one per patch and window."""
        return prod(self.starts_shape(axis))

    def limits(self, axis: int) -> np.ndarray:
        """Return the largest start of each window: the last cell, because a window continues at the first cell."""
        return np.full(self.starts_shape(axis), self.epitome_shape[0] - 1)

    def spread(self, per_patch: np.ndarray, axis: int) -> np.ndarray:
        """Bring one number per patch and window, listed in order, into the shape of the array of starts."""
        return per_patch.reshape(self.starts_shape(axis))

    def can_move(self, axis: int) -> bool:
        """Return True, because a window can begin at every cell."""
        return True


def make_geometry(
    weight_shape: Sequence[int],
    epitome_shape: Sequence[int],
    patch_channels: int | tuple[int, int] | None = None,
    scope: Scope = "separable",
    boundary: Boundary = "clamp",
    windows: int = 1,
) -> EpitomeGeometry:
    """Make the geometry of a layer, with a flat epitome or with one that has the axes of the weight.

    Args:
        weight_shape: Shape of the weight: output channels, input channels per group, then the axes of the kernel window.
        epitome_shape: Shape of the epitome, with the same axes as the weight; for a flat epitome a tuple of one number.
        patch_channels: Lengths of a patch along output and input channels, or one integer for both. None: the lengths of the
            epitome; for a flat epitome 4 each.
        scope: ``"separable"``, ``"joint"`` or ``"flat"``.
        boundary: What happens at the end of an epitome axis: ``"clamp"`` or ``"circular"``. A flat epitome is always read with
            the boundary ``"circular"``.
        windows: Number of windows that are added up; more than 1 only with the scope ``"flat"``.

    Raises:
        GeometryError: If the shapes do not fit together or a patch does not fit, or if ``windows`` does not go with the scope.

    Examples:
        >>> make_geometry((8, 8), (20,), scope="flat").boundary
        'circular'
    """
    check_choice("scope", scope, get_args(Scope))
    if scope == "flat":
        check_choice("boundary", boundary, get_args(Boundary))
        return FlatGeometry(tuple(weight_shape), tuple(epitome_shape), patch_channels, windows=windows)
    if windows != 1:
        raise GeometryError(f"windows={windows!r} and scope={scope!r}; sums of windows need scope='flat'")
    return EpitomeGeometry(tuple(weight_shape), tuple(epitome_shape), patch_channels, scope, boundary)
