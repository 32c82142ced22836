"""Round the cells of an epitome to integers of 8 bits, each group of cells with a scale of its own.

An epitome of ``int8`` keeps its cells as floats for training. Every use of them rounds them first, and the gradient passes the rounding
unchanged (straight-through estimator). The file holds the integers and the scales.

Groups are the output channels of the epitome, or blocks of 64 cells if it is flat. A patch has no scale of its own, because patches
overlap. A scale is the largest absolute cell of the group, divided by 127. It is not learned, so cells and scale cannot disagree.
Scales are rounded to bfloat16: with their 8 bits and the 7 bits of an integer, a product is exact in float32. So rounding a second time
changes nothing, and a loaded network has the outputs of the saved one bit for bit.

Tests: tests/nn/test_int8_cells.py

Source: Bengio et al., arXiv:1308.3432 (straight-through estimator); Jacob et al., CVPR 2018, arXiv:1712.05877 (rounding in training).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nes_lab.geometry.stored_types import SCALE_BLOCK

__all__ = ["from_int8", "rounded_cells", "to_int8"]

_LEAST = 1e-30
"""Smallest scale, so that a group of zeros divides by no zero."""


def to_int8(cells: Tensor) -> tuple[Tensor, Tensor]:
    """Return the integers and the scales of an epitome.

    Args:
        cells: Cells of the epitome.

    Returns:
        Integers of the same shape (int8), and one scale per group (bfloat16).

    Examples:
        >>> integers, scales = to_int8(torch.tensor([[1.0, -127.0], [0.5, 0.25]]))
        >>> integers.tolist(), scales.shape
        ([[1, -127], [127, 64]], torch.Size([2]))
    """
    groups = _groups(cells if cells.itemsize >= 4 else cells.float())
    scales = (groups.abs().amax(1) / 127).clamp_min(_LEAST).bfloat16()
    integers = (groups / scales.to(groups.dtype)[:, None]).round().clamp(-127, 127).to(torch.int8)
    return _cells(integers, cells.shape), scales


def from_int8(integers: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the cells that integers and scales stand for.

    Args:
        integers: Integers of the epitome's shape (int8).
        scales: One scale per group (bfloat16).
        dtype: Floating-point type of the cells.
    """
    exact = torch.promote_types(dtype, torch.float32)
    groups = _groups(integers).to(exact) * scales.to(exact)[:, None]
    return _cells(groups, integers.shape).to(dtype)


def rounded_cells(cells: Tensor) -> Tensor:
    """Round cells to those that the file can hold. The gradient passes unchanged.

    Args:
        cells: Cells of the epitome.
    """
    with torch.no_grad():
        rounded = from_int8(*to_int8(cells), cells.dtype)
    if not (torch.is_grad_enabled() and cells.requires_grad):
        return rounded
    return rounded + (cells - cells.detach())  # the bracket is 0, and its gradient is 1


def _groups(cells: Tensor) -> Tensor:
    """Return the cells with one row per scale. The last block of a flat epitome is filled with zeros."""
    if cells.ndim > 1:
        return cells.flatten(1)
    return F.pad(cells, (0, -cells.numel() % SCALE_BLOCK)).view(-1, SCALE_BLOCK)


def _cells(groups: Tensor, shape: torch.Size) -> Tensor:
    return groups.reshape(-1)[: shape.numel()].view(shape)
