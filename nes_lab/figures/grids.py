"""Make large arrays small enough to draw, and cut epitomes into slices. Several figures share these functions.

Tests: tests/figures/test_pictures.py
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["LIMIT", "Pages", "axis_names", "kernel_slices", "shrink", "symmetric_limit", "thin"]

LIMIT = 256
"""Largest number of rows or columns of a heatmap. Larger arrays are drawn as means of blocks of cells."""


@dataclass(frozen=True)
class Pages:
    """One page of an epitome's slices, ``(rows, columns, E_out, E_in)``: one slice per kernel position.

    ``row_names`` and ``column_names`` name the kernel positions, and ``count`` is the number of pages.
    """

    slices: np.ndarray
    row_names: tuple[str, ...]
    column_names: tuple[str, ...]
    count: int


def shrink(values: np.ndarray, limit: int = LIMIT) -> tuple[np.ndarray, tuple[int, int]]:
    """Shrink a matrix by averaging blocks of cells, so that neither side is longer than ``limit``.

    Args:
        values: The matrix. NaN entries are left out of the means.
        limit: Longest side allowed.

    Returns:
        The float32 matrix and the shape of the averaged blocks; ``(1, 1)`` if nothing was averaged.

    Examples:
        >>> small, block = shrink(np.ones((600, 10)))
        >>> small.shape, block
        ((200, 10), (3, 1))
    """
    values = np.asarray(values, dtype=np.float32)
    block = tuple(max(1, math.ceil(size / limit)) for size in values.shape)
    if block == (1, 1):
        return values, (1, 1)
    sums = np.nan_to_num(values.astype(np.float64))
    seen = np.isfinite(values).astype(np.float64)
    for axis, step in enumerate(block):
        edges = np.arange(0, values.shape[axis], step)
        sums, seen = np.add.reduceat(sums, edges, axis=axis), np.add.reduceat(seen, edges, axis=axis)
    means = np.divide(sums, seen, out=np.full_like(sums, np.nan), where=seen > 0)
    return means.astype(np.float32), (block[0], block[1])


def symmetric_limit(values: np.ndarray) -> float:
    """Return a bound for a color scale around zero that ignores outliers: the 99th percentile of the magnitudes, never 0.

    Examples:
        >>> symmetric_limit(np.zeros((2, 2)))
        1.0
    """
    finite = np.abs(values[np.isfinite(values)])
    bound = float(np.percentile(finite, 99)) if finite.size else 0.0
    if bound == 0.0 and finite.size:
        bound = float(finite.max())
    return bound or 1.0


def thin(count: int, limit: int) -> np.ndarray:
    """Return at most ``limit`` evenly spaced indices of ``count`` points, including the first and the last.

    Examples:
        >>> thin(10, 4).tolist()
        [0, 3, 6, 9]
    """
    if count <= limit:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, limit).round().astype(int))


def axis_names(weight_shape: Sequence[int]) -> tuple[str, ...]:
    """Return the names of a weight's axes, for titles.

    Examples:
        >>> axis_names((8, 4, 3, 3))
        ('output channels', 'input channels', 'kernel rows', 'kernel columns')
    """
    kernel = {0: (), 1: ("kernel",), 2: ("kernel rows", "kernel columns")}[len(weight_shape) - 2]
    return ("output channels", "input channels", *kernel)


def kernel_slices(epitome: np.ndarray, page: int = 1, per_page: int = 64) -> Pages:
    """Cut an epitome into one ``(E_out, E_in)`` slice per kernel position, and return one page of the slices.

    Args:
        epitome: Array ``(E_out, E_in, *E_k)`` of output channels, input channels and kernel positions.
        page: Number of the page, from 1. A number beyond the last page means the last one.
        per_page: Largest number of slices on a page.
    """
    kernel = epitome.shape[2:]
    rows, columns = (1, 1) if not kernel else (1, kernel[0]) if len(kernel) == 1 else (kernel[0], kernel[1])
    stack = np.moveaxis(epitome.reshape(*epitome.shape[:2], rows, columns), (2, 3), (0, 1))
    columns_shown = min(columns, per_page)
    rows_shown = max(1, per_page // columns_shown)
    across, down = math.ceil(columns / columns_shown), math.ceil(rows / rows_shown)
    page = min(max(page, 1), across * down) - 1
    row, column = (page // across) * rows_shown, (page % across) * columns_shown
    part = stack[row : row + rows_shown, column : column + columns_shown]
    return Pages(
        part,
        tuple(f"row {row + index}" for index in range(part.shape[0])),
        tuple(
            f"column {column + index}" if len(kernel) == 2 else f"tap {column + index}"
            for index in range(part.shape[1])
        ),
        across * down,
    )
