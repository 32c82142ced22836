"""Describe the shapes of weight, epitome and patch, and check that a patch fits. This file does not import torch.

The axes of a weight are in PyTorch's order: output channels, input channels per group, then the axes of the kernel window.

Source: Zhou et al., ICLR 2020, arXiv:1907.05642.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from numbers import Integral
from typing import Any, Literal, get_args

import numpy as np

from nes_lab.errors import GeometryError, check_choice

__all__ = ["Axis", "Boundary", "EpitomeGeometry", "Scope", "axis_name", "larger_than_weights"]

Boundary = Literal["clamp", "circular"]
Scope = Literal["separable", "joint", "flat"]


def axis_name(index: int) -> str:
    """Return the short name of a weight axis: ``out``, ``in``, then ``k0``, ``k1``, ... for kernel axes.

    Examples:
        >>> [axis_name(i) for i in range(4)]
        ['out', 'in', 'k0', 'k1']
    """
    return ("out", "in")[index] if index < 2 else f"k{index - 2}"


@dataclass(frozen=True)
class Axis:
    """Holds the lengths of the weight, of the epitome and of a patch along one axis.

    Args:
        name: Short name of the axis, such as ``out``, ``in`` or ``k0``; used only in messages and parameter names.
        size: Length of the weight along the axis.
        cells: Length of the epitome along the axis, in cells.
        patch: Length of a patch; the last patch is shorter if the weight's length is not a multiple of it.

    Raises:
        GeometryError: If a patch is longer than the epitome, or if a length is below 1.
    """

    name: str
    size: int
    cells: int
    patch: int

    def __post_init__(self) -> None:
        for what in ("size", "cells", "patch"):
            if getattr(self, what) < 1:
                raise GeometryError(f"axis {self.name!r}: {what}={getattr(self, what)}; it must be at least 1")
        need = min(self.patch, self.size)
        if need > self.cells:
            raise GeometryError(
                f"axis {self.name!r}: a patch needs {need} epitome cells and has {self.cells}; "
                f"take patches of at most {self.cells} or an epitome of at least {need}"
            )

    @property
    def patches(self) -> int:
        """Number of patches along the axis: the weight's length divided by the patch length, rounded up."""
        return -(-self.size // self.patch)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Length of each patch along the axis, one integer per patch. The last patch may be shorter than the others."""
        begin = np.arange(self.patches) * self.patch
        return np.minimum(self.patch, self.size - begin)

    @cached_property
    def patch_of(self) -> np.ndarray:
        """Number of the patch, counted from 0, to which each position along the weight axis belongs."""
        return np.arange(self.size) // self.patch

    @cached_property
    def within(self) -> np.ndarray:
        """Distance of each position along the weight axis from the beginning of its patch."""
        return np.arange(self.size) % self.patch


def larger_than_weights(epitome_shape: Sequence[int], weight_shapes: Sequence[Sequence[int]]) -> str:
    """Return a sentence if an epitome holds more numbers than the weights that are sampled from it; otherwise an empty text.

    Args:
        epitome_shape: Shape of the epitome, in cells.
        weight_shapes: Shapes of the weights; one, unless several layers share the epitome.

    Examples:
        >>> larger_than_weights((16, 16), [(8, 8)]).partition(": ")[0]
        'the epitome (16, 16) has 256 cells, more than the 64 numbers of the weight (8, 8) that is sampled from it'
        >>> larger_than_weights((8, 8), [(8, 8)])
        ''
    """
    cells, numbers = prod(epitome_shape), sum(map(prod, weight_shapes))
    if cells <= numbers:
        return ""
    (first, *others) = map(tuple, weight_shapes)
    read = f"the {len(others) + 1} weights that are" if others else f"the weight {first} that is"
    return (
        f"the epitome {tuple(epitome_shape)} has {cells:,} cells, more than the {numbers:,} numbers of {read} sampled from it: it stores "
        f"{cells / numbers:.1f} times as much"
    )


@dataclass(frozen=True)
class EpitomeGeometry:
    """Describes how a weight is cut into patches (blocks), and where the patches can be in the epitome.

    Args:
        weight_shape: Shape of the weight: output channels, input channels per group, then the axes of the kernel window.
        epitome_shape: Shape of the epitome, with the same axes as the weight.
        patch_channels: Lengths of a patch along output and input channels; None: the lengths of the epitome. One integer stands
            for both lengths; where the epitome is shorter, a patch is as long as the epitome. The attribute is always a pair.
            Along the kernel axes a patch always has the complete kernel window.
        scope: ``"separable"``: the start along an axis depends only on the patch's index along this axis. ``"joint"``: each
            patch has starts of its own. A flat epitome (``"flat"``) has another class,
            :class:`~nes_lab.geometry.flat_geometry.FlatGeometry`.
        boundary: ``"clamp"``: patches stay inside the epitome. ``"circular"``: a patch that reaches the end of an epitome axis
            continues at the beginning of the axis.

    Raises:
        GeometryError: If the shapes do not fit together or a patch does not fit; the message names the axis, what it needs and
            what it has.

    Examples:
        >>> g = EpitomeGeometry((128, 64, 3, 3), (64, 64, 3, 3), patch_channels=(32, 32))
        >>> g.patch_grid, g.patch_shape
        ((4, 2), (32, 32, 3, 3))
    """

    weight_shape: tuple[int, ...]
    epitome_shape: tuple[int, ...]
    patch_channels: int | tuple[int, int] | None = None
    scope: Scope = "separable"
    boundary: Boundary = "clamp"

    def __post_init__(self) -> None:
        check_choice("scope", self.scope, get_args(Scope))
        check_choice("boundary", self.boundary, get_args(Boundary))
        object.__setattr__(self, "weight_shape", _shape("weight_shape", self.weight_shape))
        object.__setattr__(self, "epitome_shape", _shape("epitome_shape", self.epitome_shape, least=1))
        self._check()
        object.__setattr__(self, "patch_channels", self._patch_pair(self.patch_channels))
        _ = self.axes

    def _check(self) -> None:
        """Check what an epitome with the axes of the weight must fulfill."""
        if self.scope == "flat":
            raise GeometryError("scope='flat' is described by nes_lab.geometry.flat_geometry.FlatGeometry")
        if len(self.epitome_shape) != len(self.weight_shape):
            raise GeometryError(
                f"epitome_shape={self.epitome_shape} has {len(self.epitome_shape)} axes; "
                f"the weight {self.weight_shape} needs {len(self.weight_shape)}"
            )

    def _patch_pair(self, value: Any) -> tuple[int, ...]:
        """Return the lengths of a patch along output and input channels."""
        return _patch_pair(value, self.epitome_shape)

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """One :class:`Axis` per weight axis, in PyTorch's order."""
        sizes = zip(self.weight_shape, self.epitome_shape, self.patch_shape, strict=True)
        return tuple(Axis(axis_name(i), *lengths) for i, lengths in enumerate(sizes))

    @property
    def patch_shape(self) -> tuple[int, ...]:
        """Shape of a patch: output channels, input channels, then the axes of the kernel window."""
        assert isinstance(self.patch_channels, tuple)  # set in __post_init__; for the type checker
        return (*self.patch_channels, *self.weight_shape[2:])

    @property
    def patch_grid(self) -> tuple[int, int]:
        """Number of patches along the output channels, and number of patches along the input channels."""
        return self.axes[0].patches, self.axes[1].patches

    @property
    def kernel_cells(self) -> int:
        """Number of positions in the kernel window, such as 9 for a 3x3 kernel; 1 for a linear layer."""
        return prod(self.weight_shape[2:])

    def starts_shape(self, axis: int) -> tuple[int, ...]:
        """Return the shape of the array of starts (positions where patches begin) along one weight axis.

        With ``R_out`` patches along the output channels and ``R_in`` patches along the input channels, it is:

        - ``scope="separable"``, input axis: ``(R_in,)``
        - ``scope="separable"``, output axis or kernel axis: ``(R_out,)``
        - ``scope="joint"``, every axis: ``(R_out, R_in)``
        """
        if self.scope == "joint":
            return self.patch_grid
        return (self.patch_grid[1] if axis == 1 else self.patch_grid[0],)

    def owner(self, axis: int) -> int:
        """Return which patches the starts along a weight axis belong to: 0 for patches of output channels, 1 for those of input channels.

        A start is the position in the epitome where a patch begins. A patch of input channels has a start along the input
        axis. A patch of output channels has a start along the output axis and along each kernel axis.
        """
        return 1 if axis == 1 else 0

    def patches_of(self, axis: int) -> int:
        """Return the number of patches that the starts along a weight axis belong to; see :meth:`owner`."""
        return self.patch_grid[self.owner(axis)]

    def limits(self, axis: int) -> np.ndarray:
        """Return the largest start of each patch along one weight axis: the last position at which the patch fits into the epitome.

        A start is the position in the epitome where a patch begins. The largest start is the length of the epitome minus the
        length of the patch. The array has the shape that :meth:`starts_shape` returns.
        """
        a = self.axes[axis]
        per_patch = a.cells - (a.lengths if axis < 2 else np.full(self.patch_grid[0], a.size))
        return self.spread(per_patch, axis)

    def spread(self, per_patch: np.ndarray, axis: int) -> np.ndarray:
        """Repeat one number per patch, so that the array has the same shape as the starts along a weight axis.

        Starts are the positions of patches in the epitome. With ``scope="separable"`` there is one start per patch
        along the axis, so the numbers are returned unchanged. With ``scope="joint"`` there is one start for each pair
        of an output patch and an input patch, so each number is repeated.

        Args:
            per_patch: One number for each patch of input channels if ``axis`` is 1, otherwise for each patch of output
                channels.
            axis: Index of the weight axis.
        """
        if self.scope == "separable":
            return per_patch
        column = per_patch[None, :] if axis == 1 else per_patch[:, None]
        return np.broadcast_to(column, self.patch_grid).copy()

    def can_move(self, axis: int) -> bool:
        """Return True if a patch can begin at more than one position along a given axis of the epitome.

        Along a kernel axis, no patch can move if the epitome is only as long as the kernel window. This applies to the
        boundary ``clamp`` and to the boundary ``circular``.
        """
        a = self.axes[axis]
        if axis >= 2 and a.size == a.cells:
            return False
        return self.boundary == "circular" or bool((self.limits(axis) > 0).any())


def _patch_pair(value: Any, epitome_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the lengths of a patch along output and input channels."""
    if value is None:
        return epitome_shape[:2]
    if isinstance(value, Integral):
        both = _shape("patch_channels", (value, value), length=2)
        return both if len(epitome_shape) == 1 else tuple(min(pair) for pair in zip(both, epitome_shape, strict=False))
    return _shape("patch_channels", value, length=2)


def _shape(name: str, value: Any, length: int | None = None, least: int = 2) -> tuple[int, ...]:
    """Check that a shape holds integers of at least 1 and has the required number of axes, and return it as a tuple.

    Args:
        name: Name of the argument, for error messages.
        value: The shape to check.
        length: Required number of axes; None: ``least`` or more.
        least: Smallest number of axes.
    """
    try:
        shape = tuple(value)
    except TypeError:
        raise GeometryError(f"{name}={value!r}; give a sequence of integers") from None
    if any(isinstance(v, bool) or not isinstance(v, Integral) or v < 1 for v in shape):
        raise GeometryError(f"{name}={shape}; every length must be an integer of at least 1")
    if length is not None and len(shape) != length:
        raise GeometryError(f"{name}={shape}; it needs {length} numbers and has {len(shape)}")
    if len(shape) < least:
        raise GeometryError(f"{name}={shape}; it needs at least the output and the input axis")
    return tuple(int(v) for v in shape)
