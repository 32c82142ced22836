"""Shrink large arrays before they are drawn, and cut epitomes into slices. Several figures use these functions.

Tests: tests/figures/test_pictures.py
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["LIMIT", "Pages", "axis_names", "kernel_slices", "place_blocks", "shrink", "symmetric_limit", "thin"]

LIMIT = 256
"""Largest number of rows or columns of a heatmap. Larger arrays are drawn as means of blocks of cells."""


@dataclass(frozen=True)
class Pages:
    """One page with slices of an epitome. An epitome has one slice per kernel position.

    Attributes:
        slices: The slices, ``(rows, columns, E_out, E_in)``. At each row and column of the page there is one slice, with the
            ``E_out`` output channels and the ``E_in`` input channels of the epitome.
        row_names: Name of each row of the page, such as ``row 0`` of the kernel.
        column_names: Name of each column of the page, such as ``column 0`` of the kernel.
        count: Number of pages that all slices need.
    """

    slices: np.ndarray
    row_names: tuple[str, ...]
    column_names: tuple[str, ...]
    count: int


def shrink(values: np.ndarray, limit: int = LIMIT) -> tuple[np.ndarray, tuple[int, int]]:
    """Shrink a matrix to at most ``limit`` rows and columns, by averaging blocks of entries.

    Args:
        values: The matrix. NaN and infinite entries are left out of the means.
        limit: Largest number of rows or columns of the shrunk matrix.

    Returns:
        The shrunk float32 matrix and the shape of a block. The shape is ``(1, 1)`` if the matrix was small enough.

    Examples:
        >>> small, block = shrink(np.ones((600, 10)))
        >>> small.shape, block
        ((200, 10), (3, 1))
    """
    values = np.asarray(values, dtype=np.float32)
    block = tuple(max(1, math.ceil(size / limit)) for size in values.shape)
    if block == (1, 1):
        return values, (1, 1)
    finite = np.isfinite(values)
    sums, seen = np.where(finite, values, 0).astype(np.float64), finite.astype(np.float64)
    for axis, step in enumerate(block):
        edges = np.arange(0, values.shape[axis], step)
        sums, seen = np.add.reduceat(sums, edges, axis=axis), np.add.reduceat(seen, edges, axis=axis)
    means = np.divide(sums, seen, out=np.full_like(sums, np.nan), where=seen > 0)
    return means.astype(np.float32), (block[0], block[1])


def place_blocks(block: tuple[int, int]) -> dict[str, float]:
    """Return the options of a plotly heatmap that put the blocks of a shrunk matrix where the matrix has them.

    Args:
        block: Rows and columns of a block, from :func:`shrink`.

    Examples:
        >>> place_blocks((3, 1))
        {'x0': 0.0, 'dx': 1, 'y0': 1.0, 'dy': 3}
    """
    rows, columns = block
    return {"x0": (columns - 1) / 2, "dx": columns, "y0": (rows - 1) / 2, "dy": rows}


def symmetric_limit(values: np.ndarray) -> float:
    """Return the upper end of a color scale that is symmetric around zero and ignores outliers.

    It is the 99th percentile of the absolute values. If that is 0, the largest absolute value is returned. If all
    values are 0, the limit is 1.

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
    """Choose evenly spaced points from a row of points, with the first and the last, and return their indices.

    The row has ``count`` points, and at most ``limit`` points are chosen.

    Examples:
        >>> thin(10, 4).tolist()
        [0, 3, 6, 9]
    """
    if count <= limit:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, limit).round().astype(int))


def axis_names(weight_shape: Sequence[int]) -> tuple[str, ...]:
    """Return the names of a weight's axes, for titles of figures.

    Examples:
        >>> axis_names((8, 4, 3, 3))
        ('output channels', 'input channels', 'kernel rows', 'kernel columns')
    """
    kernel = {0: (), 1: ("kernel",), 2: ("kernel rows", "kernel columns")}[len(weight_shape) - 2]
    return ("output channels", "input channels", *kernel)


def kernel_slices(epitome: np.ndarray, page: int = 1, per_page: int = 64) -> Pages:
    """Cut an epitome into slices, one per kernel position, and return one page of the slices.

    Args:
        epitome: The epitome, with the axes of a convolution's weight: output channels, input channels, kernel axes.
        page: Number of the page, from 1. A number beyond the last page means the last page.
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
