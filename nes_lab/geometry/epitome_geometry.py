"""Shapes of weight, epitome and patch, and the check that a patch fits. Torch-free.

Axis order is PyTorch's: ``(C_out, C_in/groups, *K)``. Source: Zhou et al., ICLR 2020, arXiv:1907.05642.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from numbers import Integral
from typing import Literal, get_args

import numpy as np

from nes_lab.errors import GeometryError, check_choice

__all__ = ["Axis", "Boundary", "EpitomeGeometry", "Scope", "axis_name"]

Boundary = Literal["clamp", "circular"]
Scope = Literal["separable", "joint"]


def axis_name(index: int) -> str:
    """Return the short name of a weight axis: ``out``, ``in``, ``k0``, ``k1``.

    Examples:
        >>> [axis_name(i) for i in range(4)]
        ['out', 'in', 'k0', 'k1']
    """
    return ("out", "in")[index] if index < 2 else f"k{index - 2}"


@dataclass(frozen=True)
class Axis:
    """One axis of a weight and of its epitome.

    Args:
        name: ``out``, ``in``, ``k0``...; only for messages and parameter names.
        size: Length ``C`` of the weight axis.
        cells: Length ``n`` of the epitome axis.
        patch: Patch length ``b``; the last patch is cropped.

    Raises:
        GeometryError: If ``min(b, C) > n``, or if a length is below 1.
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
        """Number of patches ``R = ceil(C / b)``."""
        return -(-self.size // self.patch)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Length of each patch, shape ``(R,)``: ``b``, except for the cropped last one."""
        begin = np.arange(self.patches) * self.patch
        return np.minimum(self.patch, self.size - begin)

    @cached_property
    def patch_of(self) -> np.ndarray:
        """Index of the patch that holds each weight position, shape ``(C,)``."""
        return np.arange(self.size) // self.patch

    @cached_property
    def within(self) -> np.ndarray:
        """Position of each weight index inside its patch, shape ``(C,)``."""
        return np.arange(self.size) % self.patch


@dataclass(frozen=True)
class EpitomeGeometry:
    """Cuts a weight into patches, and says where they may lie in the epitome.

    Args:
        weight_shape: ``(C_out, C_in/groups, *K)``.
        epitome_shape: ``(E_out, E_in, *E_k)``, as many axes as the weight.
        patch_channels: ``(b_out, b_in)``; None: the length of the epitome axis. A patch always holds the complete kernel window.
        scope: ``"separable"`` (a start depends on the patch's index along its own axis) or ``"joint"``.
        boundary: ``"clamp"`` or ``"circular"``.

    Raises:
        GeometryError: If shapes disagree or a patch does not fit; names the axis, what it needs and what it has.

    Examples:
        >>> g = EpitomeGeometry((128, 64, 3, 3), (64, 64, 3, 3), patch_channels=(32, 32))
        >>> g.patch_grid, g.patch_shape
        ((4, 2), (32, 32, 3, 3))
    """

    weight_shape: tuple[int, ...]
    epitome_shape: tuple[int, ...]
    patch_channels: tuple[int, int] | None = None
    scope: str = "separable"
    boundary: str = "clamp"

    def __post_init__(self) -> None:
        check_choice("scope", self.scope, get_args(Scope))
        check_choice("boundary", self.boundary, get_args(Boundary))
        object.__setattr__(self, "weight_shape", _shape("weight_shape", self.weight_shape))
        object.__setattr__(self, "epitome_shape", _shape("epitome_shape", self.epitome_shape))
        if len(self.epitome_shape) != len(self.weight_shape):
            raise GeometryError(
                f"epitome_shape={self.epitome_shape} has {len(self.epitome_shape)} axes; "
                f"the weight {self.weight_shape} needs {len(self.weight_shape)}"
            )
        channels = self.epitome_shape[:2] if self.patch_channels is None else self.patch_channels
        object.__setattr__(self, "patch_channels", _shape("patch_channels", channels, length=2))
        _ = self.axes

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """One :class:`Axis` per weight axis, in PyTorch's order."""
        sizes = zip(self.weight_shape, self.epitome_shape, self.patch_shape, strict=True)
        return tuple(Axis(axis_name(i), *lengths) for i, lengths in enumerate(sizes))

    @property
    def patch_shape(self) -> tuple[int, ...]:
        """``(b_out, b_in, *K)``."""
        assert self.patch_channels is not None  # set in __post_init__; for the type checker
        return (*self.patch_channels, *self.weight_shape[2:])

    @property
    def patch_grid(self) -> tuple[int, int]:
        """``(R_out, R_in)``: patches along the two channel axes."""
        return self.axes[0].patches, self.axes[1].patches

    @property
    def kernel_cells(self) -> int:
        """Number of positions of the kernel window, ``prod(K)``; 1 for a linear layer."""
        return prod(self.weight_shape[2:])

    def starts_shape(self, axis: int) -> tuple[int, ...]:
        """Return the shape of the table of starts of a sampled axis.

        Separable: ``(R_out,)``, ``(R_in,)``, and ``(R_out,)`` for kernel axes. Joint: ``(R_out, R_in)`` for every axis.
        """
        if self.scope == "joint":
            return self.patch_grid
        return (self.patch_grid[1] if axis == 1 else self.patch_grid[0],)

    def owner(self, axis: int) -> int:
        """Return the channel axis whose patch index decides the starts of ``axis``: kernel axes follow the output patch."""
        return 1 if axis == 1 else 0

    def limits(self, axis: int) -> np.ndarray:
        """Return the largest start of each patch under clamp, ``n - b_r``, of shape :meth:`starts_shape`."""
        a = self.axes[axis]
        per_patch = a.cells - (a.lengths if axis < 2 else np.full(self.patch_grid[0], a.size))
        return self.spread(per_patch, axis)

    def spread(self, per_patch: np.ndarray, axis: int) -> np.ndarray:
        """Repeat one number per patch of the owning channel axis over the table of starts."""
        if self.scope == "separable":
            return per_patch
        column = per_patch[None, :] if axis == 1 else per_patch[:, None]
        return np.broadcast_to(column, self.patch_grid).copy()

    def can_move(self, axis: int) -> bool:
        """Return True if any start of ``axis`` has room to move.

        A kernel axis as long as its window never moves, with either boundary: that would only rotate the kernel.
        """
        a = self.axes[axis]
        if axis >= 2 and a.size == a.cells:
            return False
        return self.boundary == "circular" or bool((self.limits(axis) > 0).any())


def _shape(name: str, value: Sequence[int], length: int | None = None) -> tuple[int, ...]:
    """Check that a shape holds positive integers and has the required length."""
    try:
        shape = tuple(value)
    except TypeError:
        raise GeometryError(f"{name}={value!r}; give a sequence of integers") from None
    if any(isinstance(v, bool) or not isinstance(v, Integral) or v < 1 for v in shape):
        raise GeometryError(f"{name}={shape}; every length must be an integer of at least 1")
    if length is not None and len(shape) != length:
        raise GeometryError(f"{name}={shape}; it needs {length} numbers and has {len(shape)}")
    if len(shape) < 2:
        raise GeometryError(f"{name}={shape}; it needs at least the output and the input axis")
    return tuple(int(v) for v in shape)
