r"""Read a weight from an epitome at real-valued starts (the sampler), and compute the transposed operation.

Along one axis, a patch of the weight with start ``s`` has the entries ``patch[j] = (1 - f) E[u + j] + f E[u + j + 1]``. Here
``E`` is the epitome, ``u = floor(s)`` and ``f = s - u``: each entry blends two neighboring cells of the epitome.

As a matrix product the weight of a linear layer is ``W = A_out E A_in^T``. Each row of the sampling matrices ``A_out`` and
``A_in`` has at most two non-zeros and sums to 1. :func:`expand` multiplies with such a matrix, :func:`fold` with the transposed
matrix. Neither of them builds the matrix:

- an axis that is read in a few contiguous slices is copied slice by slice
- other axes use row operations (:mod:`nes_lab.epitome.row_operations`)
- plain indexing is used where row operations do not support the tensor

Source: Zhou et al., ICLR 2020, arXiv:1907.05642; how the gradients of starts are defined is this project's choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from nes_lab.epitome.flat_windows import read_windows, sum_windows
from nes_lab.epitome.row_operations import combine, kernels_for, rows_supported, tracing, weight_in_one_pass
from nes_lab.epitome.slices import (
    apply_slices,
    channels_inside,
    expand_slices,
    fold_slices,
    same_layout,
    trace_expand,
    trace_fold,
)
from nes_lab.epitome.taps import AxisTaps
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["expand", "expand_kernel", "fold", "sample_patches", "sampling_matrix"]


def expand(tensor: Tensor, taps: AxisTaps, dim: int, scale: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """Expand an axis of a tensor from epitome cells to channels, then multiply each channel by ``scale`` and add ``bias``.

    The taps of a channel are the cells that it reads. The result is the product of the sampling matrix and ``tensor``. The
    matrix has one row per channel and one column per cell.

    Args:
        tensor: Tensor of any shape with ``taps.cells`` entries along ``dim``.
        taps: Taps of a channel axis: the cells that each of its ``C`` channels reads. The layer's scope must be
            separable (starts per axis).
        dim: Axis of ``tensor`` to expand.
        scale: One factor per channel, shape ``(C,)``; None: no factor.
        bias: One number to add per channel, shape ``(C,)``; None: nothing is added.

    Returns:
        A tensor with ``C`` entries along ``dim``. Its other axes, dtype and channels-last layout are those of ``tensor``.

    Examples:
        >>> taps = AxisTaps(torch.tensor([0, 1]), 3, torch.tensor([1, 2]), torch.tensor([0.5, 0.5]))
        >>> expand(torch.tensor([0.0, 10.0, 20.0]), taps, 0)
        tensor([ 5., 15.])
    """
    dim = dim % tensor.ndim
    scale, bias = (None if t is None else _along(t, tensor, dim) for t in (scale, bias))
    if taps.slices is not None and not torch.is_grad_enabled() and not _traced():
        return expand_slices(tensor, taps.slices, dim, scale, bias)
    y = _expand(tensor, taps, dim)
    y = y if scale is None else y * scale
    return y if bias is None else y + bias


def fold(tensor: Tensor, taps: AxisTaps, dim: int) -> Tensor:
    """Fold an axis of a tensor from channels to epitome cells: add each channel onto the cells that the channel reads.

    A channel that reads two cells is divided between them. The result is the product of the transposed sampling matrix and the
    tensor. The sampling matrix is the one that :func:`expand` uses.

    Examples:
        >>> taps = AxisTaps(torch.tensor([0, 1]), 3, torch.tensor([1, 2]), torch.tensor([0.5, 0.5]))
        >>> fold(torch.tensor([2.0, 4.0]), taps, 0)
        tensor([1., 3., 2.])
    """
    dim = dim % tensor.ndim
    if taps.slices is not None:
        if _traced():
            return trace_fold(tensor, taps.slices, taps.cells, dim)
        if not torch.is_grad_enabled():
            return fold_slices(tensor, taps.slices, taps.cells, dim)
        return apply_slices(tensor, taps.slices, taps.cells, dim, fold=True)
    if rows_supported(tensor, dim):
        return _combine_rows(tensor, taps, dim, fold=True)
    shape = list(tensor.shape)
    shape[dim] = taps.cells
    out = tensor.new_zeros(shape)
    if taps.frac is None or taps.upper is None:
        return same_layout(out.index_add(dim, taps.lower, tensor), tensor)
    upper = tensor * _along(taps.frac, tensor, dim)
    out = out.index_add(dim, taps.lower, tensor - upper).index_add(dim, taps.upper, upper)
    return same_layout(out, tensor)


def _expand(tensor: Tensor, taps: AxisTaps, dim: int) -> Tensor:
    if taps.slices is not None:
        if _traced():
            return trace_expand(tensor, taps.slices, dim)
        return apply_slices(tensor, taps.slices, taps.cells, dim, fold=False)
    if rows_supported(tensor, dim) and (taps.fractional or not torch.compiler.is_compiling()):
        return _combine_rows(tensor, taps, dim, fold=False)
    low = tensor.index_select(dim, taps.lower)
    if taps.frac is None or taps.upper is None:
        return same_layout(low, tensor)
    high = tensor.index_select(dim, taps.upper)
    return same_layout(torch.lerp(low, high, _along(taps.frac, tensor, dim)), tensor)


def _combine_rows(tensor: Tensor, taps: AxisTaps, dim: int, fold: bool) -> Tensor:
    """Multiply with the sampling matrix by row operations.

    On a CPU, images with their channels last are stored channel by channel for this, and back: two copies take a third to a half of
    the time of plain indexing.
    """
    if dim == 1 and tensor.device.type == "cpu" and channels_inside(tensor):
        return same_layout(combine(tensor.contiguous(), taps, dim, fold=fold), tensor)
    return combine(tensor, taps, dim, fold=fold)


def _traced() -> bool:
    return torch.compiler.is_compiling() or tracing()


def expand_kernel(tensor: Tensor, taps: AxisTaps, dim: int) -> Tensor:
    """Expand a kernel axis of a weight from epitome cells to kernel positions.

    Different output channels may read different cells. The cells that are read are called taps.

    Args:
        tensor: Tensor of shape ``(C_out, ..., cells, ...)``, with ``cells`` entries along ``dim``.
        taps: Taps of the kernel axis: the cells that each kernel position reads, and their factors. The layer's scope
            must be separable (one start per axis). The shape is ``(C_out, K)`` for ``C_out`` output channels and ``K``
            kernel positions.
        dim: Kernel axis of ``tensor``, at least 2.

    Returns:
        A tensor with ``K`` entries along ``dim``. Its other axes are those of ``tensor``.
    """
    shape = [1] * tensor.ndim
    shape[0], shape[dim] = taps.lower.shape
    low = torch.take_along_dim(tensor, taps.lower.view(shape), dim)
    if taps.frac is None or taps.upper is None:
        return low
    high = torch.take_along_dim(tensor, taps.upper.view(shape), dim)
    return torch.lerp(low, high, taps.frac.to(tensor.dtype).reshape(shape))


def sample_patches(epitome: Tensor, taps: Sequence[AxisTaps | None], geometry: EpitomeGeometry) -> Tensor:
    """Sample the complete weight from the epitome.

    Args:
        epitome: Tensor of shape ``geometry.epitome_shape``, any floating-point dtype.
        taps: Taps (the epitome cells to read) of each weight axis. None for an axis without starts; index ``i`` of such an axis
            reads cell ``i``.
        geometry: Shapes of weight and epitome, and scope.

    Returns:
        The weight, of shape ``geometry.weight_shape``, in the dtype of ``epitome``. It is differentiable in ``epitome`` and in
        the starts from which ``taps`` were made.

    Examples:
        >>> from nes_lab.epitome.taps import axis_taps
        >>> g = EpitomeGeometry((4, 1), (3, 1), patch_channels=(2, 1))
        >>> starts = torch.tensor([0.5, 1.0])
        >>> sample_patches(torch.tensor([[0.0], [10.0], [20.0]]), (axis_taps(starts, g, 0, True), None), g).flatten()
        tensor([ 5., 15., 10., 20.])
    """
    if geometry.scope == "flat":
        return _sample_flat(epitome, taps[0], geometry)
    if geometry.scope == "joint" and any(t is not None for t in taps):
        return _sample_joint(epitome, taps, geometry)
    one_pass = kernels_for(epitome) is not None and not _traced() and (taps[0] is not None or taps[1] is not None)
    weight = weight_in_one_pass(epitome, taps[:2], _sample_channels) if one_pass else _sample_channels(epitome, taps)
    for axis, t in enumerate(taps[2:], start=2):
        if t is not None:
            weight = expand_kernel(weight, t, axis)
    return weight


def _sample_flat(epitome: Tensor, taps: AxisTaps | None, geometry: EpitomeGeometry) -> Tensor:
    """Sample a weight from a flat epitome, as a sum of windows."""
    assert taps is not None and taps.alpha is not None  # a flat epitome always has starts, and its layer adds alpha
    return sum_windows(read_windows(epitome, taps.lower, taps.upper, taps.frac), taps.alpha, geometry)


def _sample_channels(epitome: Tensor, taps: Sequence[AxisTaps | None]) -> Tensor:
    """Sample a weight with separable scope (starts per axis) from its epitome.

    The input axis is sampled first, then the output axis.
    """
    for axis in (1, 0):
        t = taps[axis]
        if t is not None:
            epitome = expand(epitome, t, axis)
    return epitome


def _sample_joint(epitome: Tensor, taps: Sequence[AxisTaps | None], geometry: EpitomeGeometry) -> Tensor:
    """Sample a weight with joint scope from its epitome.

    With joint scope each block of the weight (an output patch crossed with an input patch) has its own start, its
    position in the epitome.
    """
    choices = [_joint_levels(t, axis, geometry, epitome) for axis, t in enumerate(taps)]
    weight = None
    for combination in product(*choices):
        part = epitome[tuple(cells for cells, _ in combination)]
        for _, share in combination:
            part = part if share is None else part * share.to(part.dtype)
        weight = part if weight is None else weight + part
    assert weight is not None  # every axis has at least one tap
    return weight


def _joint_levels(
    t: AxisTaps | None, axis: int, geometry: EpitomeGeometry, epitome: Tensor
) -> list[tuple[Tensor, Tensor | None]]:
    """Return the epitome cells that one weight axis reads, and the factors by which they are multiplied.

    The result is a sequence of pairs ``(cells, factors)``. With integer starts there is one pair. With fractional starts there
    is one pair for the lower cells and one for the upper cells. All tensors broadcast over the weight.
    """
    ndim = len(geometry.weight_shape)
    shape = [1] * ndim
    if t is None:
        shape[axis] = geometry.weight_shape[axis]
        return [(torch.arange(shape[axis], device=epitome.device).view(shape), None)]
    shape[:2] = geometry.weight_shape[:2]
    if axis >= 2:
        shape[axis] = geometry.weight_shape[axis]
    return [(cells.view(shape), None if share is None else share.reshape(shape)) for cells, share in t.levels()]


def sampling_matrix(taps: AxisTaps) -> Tensor:
    """Build the matrix that samples a weight with separable scope (starts per axis) along one channel axis.

    Tests, fits and figures use the matrix. Layers do not build it.

    Returns:
        Floating-point matrix with one row per channel and one column per epitome cell; every row sums to 1.
    """
    dtype = torch.get_default_dtype() if taps.frac is None else taps.frac.dtype
    return expand(torch.eye(taps.cells, dtype=dtype, device=taps.lower.device), taps, 0)


def _along(frac: Tensor, tensor: Tensor, dim: int) -> Tensor:
    """Reshape a vector so that it broadcasts along axis ``dim`` of a tensor, and cast it to the tensor's dtype."""
    shape = [1] * tensor.ndim
    shape[dim] = frac.shape[0]
    return frac.to(tensor.dtype).view(shape)
