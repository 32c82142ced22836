"""Sample a weight from a flat epitome: each patch is a sum of windows (pieces of neighboring cells), each with a factor.

Tests: tests/epitome/test_flat_windows.py
"""

from __future__ import annotations

import torch
from torch import Tensor

from nes_lab.epitome.constants import constant
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["cut_patches", "read_windows", "sum_windows", "window_cells"]


def window_cells(first: Tensor, geometry: EpitomeGeometry) -> Tensor:
    """Return the cells of each window, in order, without regard to the end of the epitome.

    Args:
        first: First cell of each window, of shape ``(R_out, R_in, windows)``.
        geometry: Shapes of weight and epitome.

    Returns:
        Integers of shape ``(R_out, R_in, windows, L)``, where ``L`` is the number of entries of a patch.
    """
    return first.unsqueeze(-1) + constant(first, _within, geometry.axes[0].patch)


def read_windows(epitome: Tensor, lower: Tensor, upper: Tensor | None, frac: Tensor | None) -> Tensor:
    """Read the cells of all windows from a flat epitome. Fractional starts blend two neighboring cells.

    Args:
        epitome: Flat epitome, ``(n,)``.
        lower: Lower or only cell of each entry, ``(R_out, R_in, windows, L)``.
        upper: Upper cell of each entry; None if all starts are integers.
        frac: Factor of the upper cell, in the shape of ``lower``; None if all starts are integers.
    """
    low = epitome.index_select(0, lower.reshape(-1)).view(lower.shape)
    if upper is None or frac is None:
        return low
    high = epitome.index_select(0, upper.reshape(-1)).view(upper.shape)
    return torch.lerp(low, high, frac.to(epitome.dtype))


def sum_windows(windows: Tensor, alpha: Tensor, geometry: EpitomeGeometry) -> Tensor:
    """Multiply the windows of each patch by their factors, add them up, and put the patches side by side.

    Args:
        windows: The windows, ``(R_out, R_in, windows, L)``.
        alpha: Factor of each window, ``(R_out, R_in, windows)``.
        geometry: Shapes of weight and epitome.

    Returns:
        The weight, of shape ``geometry.weight_shape``. Patches at its edge are cropped.

    Examples:
        >>> from nes_lab.geometry.flat_geometry import FlatGeometry
        >>> g = FlatGeometry((2, 3), (9,), patch_channels=(1, 2), windows=1)
        >>> windows = torch.tensor([[[[1., 2.]], [[3., 4.]]], [[[5., 6.]], [[7., 8.]]]])
        >>> sum_windows(windows, torch.ones(2, 2, 1), g)
        tensor([[1., 2., 3.],
                [5., 6., 7.]])
    """
    (rows, columns), (b_out, b_in, *_) = geometry.patch_grid, geometry.patch_shape
    blocks = (windows * alpha.to(windows.dtype).unsqueeze(-1)).sum(2)
    blocks = blocks.view(rows, columns, b_out, b_in, geometry.kernel_cells).permute(0, 2, 1, 3, 4)
    weight = blocks.reshape(rows * b_out, columns * b_in, geometry.kernel_cells)
    return weight[: geometry.weight_shape[0], : geometry.weight_shape[1]].reshape(geometry.weight_shape)


def cut_patches(weight: Tensor, geometry: EpitomeGeometry) -> Tensor:
    """Cut a weight into the patches that :func:`sum_windows` puts side by side. Zeros are added where a patch is cropped.

    Args:
        weight: Tensor of shape ``geometry.weight_shape``.
        geometry: Shapes of weight and flat epitome.

    Returns:
        The patches, ``(R_out, R_in, L)``.

    Examples:
        >>> from nes_lab.geometry.flat_geometry import FlatGeometry
        >>> cut_patches(torch.tensor([[1., 2., 3.]]), FlatGeometry((1, 3), (9,), patch_channels=(1, 2)))
        tensor([[[1., 2.],
                 [3., 0.]]])
    """
    (rows, columns), (b_out, b_in, *_) = geometry.patch_grid, geometry.patch_shape
    out, inner = geometry.weight_shape[:2]
    padded = weight.new_zeros(rows * b_out, columns * b_in, geometry.kernel_cells)
    padded[:out, :inner] = weight.reshape(out, inner, -1)
    return padded.view(rows, b_out, columns, b_in, -1).permute(0, 2, 1, 3, 4).reshape(rows, columns, -1)


def _within(length: int, device: torch.device) -> Tensor:
    return torch.arange(length, device=device)
