"""Describe the shapes of weight, epitome and patch, and check that a patch fits. Does not import torch.

The axes of a weight are in PyTorch's order: ``(C_out, C_in/groups, *K)``. Source: Zhou et al., ICLR 2020, arXiv:1907.05642.
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
    """Return the short name of a weight axis: ``out``, ``in``, then ``k0``, ``k1``, ... for kernel axes.

    Examples:
        >>> [axis_name(i) for i in range(4)]
        ['out', 'in', 'k0', 'k1']
    """
    return ("out", "in")[index] if index < 2 else f"k{index - 2}"


@dataclass(frozen=True)
class Axis:
    """Holds the lengths of one axis: that of the weight, of the epitome and of a patch.

    Args:
        name: Short name of the axis, such as ``out``, ``in`` or ``k0``; used only in messages and parameter names.
        size: Length ``C`` of the weight axis.
        cells: Length ``n`` of the epitome axis.
        patch: Patch length ``b``; the last patch is shorter if ``b`` does not divide ``C``.

    Raises:
        GeometryError: If a patch is longer than the epitome axis, ``min(b, C) > n``, or if a length is below 1.
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
        """Number of patches along the axis: ``R = ceil(C / b)`` for ``C`` weight indices and patches of length ``b``."""
        return -(-self.size // self.patch)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Length of each patch along the axis, shape ``(R,)``. All patches are equally long, except that the last may be shorter."""
        begin = np.arange(self.patches) * self.patch
        return np.minimum(self.patch, self.size - begin)

    @cached_property
    def patch_of(self) -> np.ndarray:
        """Index of the patch that holds each index along the weight axis, shape ``(C,)``."""
        return np.arange(self.size) // self.patch

    @cached_property
    def within(self) -> np.ndarray:
        """Position inside its patch of each index along the weight axis, shape ``(C,)``."""
        return np.arange(self.size) % self.patch


@dataclass(frozen=True)
class EpitomeGeometry:
    """Describes how a weight is cut into patches, and where these may lie in the epitome.

    Args:
        weight_shape: Shape of the weight, ``(C_out, C_in/groups, *K)``.
        epitome_shape: Shape of the epitome, ``(E_out, E_in, *E_k)``, with as many axes as the weight.
        patch_channels: Patch lengths ``(b_out, b_in)`` along the channel axes; None: the lengths of the epitome axes. A patch
            always holds the complete kernel window.
        scope: ``"separable"``: a start depends only on the patch's index along its own axis; ``"joint"``: each block of the
            weight (an output patch crossed with an input patch) has its own starts.
        boundary: ``"clamp"``: patches stay inside the epitome; ``"circular"``: they continue at the beginning of the axis.

    Raises:
        GeometryError: If shapes disagree or a patch does not fit; the message names the axis, what it needs and what it has.

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
        """Shape of a patch, ``(b_out, b_in, *K)``: output channels, input channels and kernel window."""
        assert self.patch_channels is not None  # set in __post_init__; for the type checker
        return (*self.patch_channels, *self.weight_shape[2:])

    @property
    def patch_grid(self) -> tuple[int, int]:
        """Numbers of patches along the output and the input channels, ``(R_out, R_in)``."""
        return self.axes[0].patches, self.axes[1].patches

    @property
    def kernel_cells(self) -> int:
        """Number of positions of the kernel window, ``prod(K)``; 1 for a linear layer."""
        return prod(self.weight_shape[2:])

    def starts_shape(self, axis: int) -> tuple[int, ...]:
        """Return the shape of the table of starts of a weight axis.

        ``R_out`` and ``R_in`` are the numbers of patches along the output and the input channels. Separable scope: ``(R_in,)``
        for the input axis, ``(R_out,)`` for the output axis and for kernel axes. Joint scope: ``(R_out, R_in)`` for every axis.
        """
        if self.scope == "joint":
            return self.patch_grid
        return (self.patch_grid[1] if axis == 1 else self.patch_grid[0],)

    def owner(self, axis: int) -> int:
        """Return the channel axis whose patches the starts of ``axis`` belong to.

        It is 1 for the input axis, and 0 for the output axis and for kernel axes.
        """
        return 1 if axis == 1 else 0

    def limits(self, axis: int) -> np.ndarray:
        """Return the largest start of each patch that keeps the patch inside the epitome, as a table of starts.

        It is ``n - b_r`` for an epitome axis of ``n`` cells and a patch of length ``b_r``.
        """
        a = self.axes[axis]
        per_patch = a.cells - (a.lengths if axis < 2 else np.full(self.patch_grid[0], a.size))
        return self.spread(per_patch, axis)

    def spread(self, per_patch: np.ndarray, axis: int) -> np.ndarray:
        """Repeat one number per patch until it fills a table of starts of ``axis``.

        Args:
            per_patch: One number per patch of the channel axis :meth:`owner`.
            axis: Weight axis.
        """
        if self.scope == "separable":
            return per_patch
        column = per_patch[None, :] if axis == 1 else per_patch[:, None]
        return np.broadcast_to(column, self.patch_grid).copy()

    def can_move(self, axis: int) -> bool:
        """Return True if at least one patch can lie at more than one place along ``axis`` of the epitome.

        A patch never moves along a kernel axis that is as long as the kernel window, not even with the circular boundary,
        because that would only rotate the kernel.
        """
        a = self.axes[axis]
        if axis >= 2 and a.size == a.cells:
            return False
        return self.boundary == "circular" or bool((self.limits(axis) > 0).any())


def _shape(name: str, value: Sequence[int], length: int | None = None) -> tuple[int, ...]:
    """Return a shape as a tuple, after checking that it holds integers of at least 1 and has the required number of axes.

    Args:
        name: Name of the argument, for messages.
        value: The shape.
        length: Required number of axes; None: at least two.
    """
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
