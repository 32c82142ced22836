r"""The sampler: reading a weight from an epitome at real-valued starting indices, and the adjoint of that reading.

Along one axis, with start ``s``, ``u = floor(s)`` and ``f = s - u``: ``patch[j] = (1 - f) E[u + j] + f E[u + j + 1]``. As a
matrix, ``W = A_out E A_in^T``, where each row of an ``A`` has at most two non-zeros and sums to 1; :func:`expand` is a
product with ``A``, :func:`fold` one with ``A^T``. No matrix is built.

Source: Zhou et al., ICLR 2020, arXiv:1907.05642; the gradient conventions are this project's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from nes_lab.epitome.geometry import EpitomeGeometry

__all__ = [
    "AxisTaps",
    "axis_taps",
    "clamp_starts",
    "expand",
    "expand_kernel",
    "fold",
    "sample_patches",
    "sampling_matrix",
    "start_limits",
]


@dataclass(frozen=True)
class AxisTaps:
    """Which epitome cells an axis of the weight reads, and how much of the upper one.

    Args:
        lower: Cells of the lower tap, int64: ``(C,)`` for a separable channel axis, ``(C_out, K)`` for a separable kernel
            axis, ``(C_out, C_in)`` and ``(C_out, C_in, K)`` under joint scope.
        cells: Length of the epitome axis.
        upper: Cells of the upper tap, or None where all starts are integers.
        frac: Weight of the upper tap, in [0, 1], shape of ``lower``.
    """

    lower: Tensor
    cells: int
    upper: Tensor | None = None
    frac: Tensor | None = None

    @property
    def fractional(self) -> bool:
        """Whether two cells are read for a weight."""
        return self.frac is not None

    def levels(self) -> list[tuple[Tensor, Tensor | None]]:
        """Pairs ``(cells, share)``, one per tap; the share is None for a plain copy."""
        if self.frac is None or self.upper is None:
            return [(self.lower, None)]
        return [(self.lower, 1 - self.frac), (self.upper, self.frac)]


class _ClampStarts(torch.autograd.Function):
    """Clamp whose gradient at a bound passes only if the descent step points inside."""

    @staticmethod
    def forward(ctx: Any, starts: Tensor, upper: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(starts <= 0, starts >= upper)
        return torch.minimum(starts.clamp_min(0), upper)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        at_lower, at_upper = ctx.saved_tensors
        blocked = (at_lower & (grad >= 0)) | (at_upper & (grad <= 0))
        return grad.masked_fill(blocked, 0), None


def clamp_starts(starts: Tensor, upper: Tensor) -> Tensor:
    """Clamp starts to ``[0, upper]``; at or beyond a bound the gradient passes only if descent moves inside.

    Where ``upper`` is 0 (a patch as long as the epitome axis) the gradient is 0. ``torch.clamp`` is not used, because
    its gradient at the bound differs between versions.

    Args:
        starts: Real starts, in cells, any shape.
        upper: Largest start of each, same shape.

    Examples:
        >>> s = torch.tensor([0.0, 3.0], requires_grad=True)
        >>> clamp_starts(s, torch.tensor([3.0, 3.0])).sum().backward()  # descent lowers both: the first cannot go
        >>> s.grad
        tensor([0., 1.])
    """
    return _ClampStarts.apply(starts, upper)  # type: ignore[no-any-return]


def start_limits(geometry: EpitomeGeometry, axis: int, like: Tensor) -> Tensor:
    """Largest start of each patch under clamp, as a tensor of the dtype and device of ``like``.

    The same numbers as ``geometry.limits(axis)``, from torch operations so that compiled code can trace them.
    """
    a = geometry.axes[axis]
    if axis >= 2:
        limits = torch.full((geometry.patch_grid[0],), a.cells - a.size, dtype=like.dtype, device=like.device)
    else:
        begin = torch.arange(a.patches, device=like.device) * a.patch
        limits = (a.cells - (a.size - begin).clamp_max(a.patch)).to(like.dtype)
    if geometry.scope == "separable":
        return limits
    return (limits.unsqueeze(0) if axis == 1 else limits.unsqueeze(1)).expand(geometry.patch_grid)


def axis_taps(starts: Tensor, geometry: EpitomeGeometry, axis: int, fractional: bool) -> AxisTaps:
    """Turn a table of starts into cells and shares for every weight index of an axis.

    Args:
        starts: Shape ``geometry.starts_shape(axis)``, in cells; under clamp already inside their limits.
        geometry: Shapes, scope and boundary.
        axis: Weight axis.
        fractional: False promises integer starts and reads one cell a weight; True reads two, and carries gradients.
    """
    a = geometry.axes[axis]
    circular = geometry.boundary == "circular"
    # a start that is no number must not become an address; it stays in the share, so the weight shows it
    base = starts.detach().floor().nan_to_num(0, 0, 0) if fractional else starts.detach().round()
    if fractional and not circular:
        base = torch.minimum(base, start_limits(geometry, axis, base) - 1).clamp_min(0)
    lower = _spread(base.long(), geometry, axis, local=True)
    if circular:
        lower = lower % a.cells
    if not fractional:
        return AxisTaps(lower, a.cells)
    upper = (lower + 1) % a.cells if circular else (lower + 1).clamp_max(a.cells - 1)
    frac = _spread(starts - base, geometry, axis, local=False).expand(lower.shape)
    return AxisTaps(lower, a.cells, upper, frac)


def _spread(table: Tensor, geometry: EpitomeGeometry, axis: int, local: bool) -> Tensor:
    """From one number per patch to one per weight index; ``local`` adds the position inside the patch."""
    if geometry.scope == "joint":
        table = table.index_select(0, _patch_of(geometry, 0, table)).index_select(1, _patch_of(geometry, 1, table))
    else:
        table = table.index_select(0, _patch_of(geometry, geometry.owner(axis), table))
    within = torch.arange(geometry.axes[axis].size, device=table.device) % geometry.axes[axis].patch
    if axis >= 2:
        return table.unsqueeze(-1) + (within if local else 0)
    if not local:
        return table
    return table + (within.unsqueeze(-1) if geometry.scope == "joint" and axis == 0 else within)


def _patch_of(geometry: EpitomeGeometry, axis: int, like: Tensor) -> Tensor:
    return torch.arange(geometry.axes[axis].size, device=like.device) // geometry.axes[axis].patch


def expand(tensor: Tensor, taps: AxisTaps, dim: int) -> Tensor:
    """Read an axis of ``cells`` entries at the taps: the product with ``A``.

    Args:
        tensor: Any shape with ``taps.cells`` entries along ``dim``.
        taps: Of a separable channel axis.
        dim: Axis of ``tensor``.

    Returns:
        The same shape but ``C`` entries along ``dim``; dtype kept.

    Examples:
        >>> taps = AxisTaps(torch.tensor([0, 1]), 3, torch.tensor([1, 2]), torch.tensor([0.5, 0.5]))
        >>> expand(torch.tensor([0.0, 10.0, 20.0]), taps, 0)
        tensor([ 5., 15.])
    """
    low = tensor.index_select(dim, taps.lower)
    if taps.frac is None or taps.upper is None:
        return low
    return torch.lerp(low, tensor.index_select(dim, taps.upper), _along(taps.frac, tensor, dim))


def fold(tensor: Tensor, taps: AxisTaps, dim: int) -> Tensor:
    """Scatter-add an axis of ``C`` entries onto its cells: the product with ``A^T``, the adjoint of :func:`expand`.

    Examples:
        >>> taps = AxisTaps(torch.tensor([0, 1]), 3, torch.tensor([1, 2]), torch.tensor([0.5, 0.5]))
        >>> fold(torch.tensor([2.0, 4.0]), taps, 0)
        tensor([1., 3., 2.])
    """
    shape = list(tensor.shape)
    shape[dim] = taps.cells
    out = tensor.new_zeros(shape)
    if taps.frac is None or taps.upper is None:
        return out.index_add(dim, taps.lower, tensor)
    share = _along(taps.frac, tensor, dim)
    upper = tensor * share
    return out.index_add(dim, taps.lower, tensor - upper).index_add(dim, taps.upper, upper)


def expand_kernel(tensor: Tensor, taps: AxisTaps, dim: int) -> Tensor:
    """Read a kernel axis, whose taps depend on the output channel.

    Args:
        tensor: ``(C_out, ..., cells, ...)`` with ``cells`` entries along ``dim``.
        taps: Of a separable kernel axis, ``(C_out, K)``.
        dim: Kernel axis of ``tensor``, at least 2.

    Returns:
        The same shape but ``K`` entries along ``dim``.
    """
    shape = [1] * tensor.ndim
    shape[0], shape[dim] = taps.lower.shape
    low = torch.take_along_dim(tensor, taps.lower.view(shape), dim)
    if taps.frac is None or taps.upper is None:
        return low
    high = torch.take_along_dim(tensor, taps.upper.view(shape), dim)
    return torch.lerp(low, high, taps.frac.to(tensor.dtype).reshape(shape))


def sample_patches(epitome: Tensor, taps: Sequence[AxisTaps | None], geometry: EpitomeGeometry) -> Tensor:
    """Sample the whole weight from the epitome.

    Args:
        epitome: ``geometry.epitome_shape``, any floating dtype.
        taps: One per weight axis; None reads the axis cell by cell.
        geometry: Shapes and scope.

    Returns:
        ``geometry.weight_shape``, dtype of ``epitome``; differentiable in ``epitome`` and in the starts behind ``taps``.

    Examples:
        >>> g = EpitomeGeometry((4, 1), (3, 1), patch_channels=(2, 1))
        >>> starts = torch.tensor([0.5, 1.0])
        >>> sample_patches(torch.tensor([[0.0], [10.0], [20.0]]), (axis_taps(starts, g, 0, True), None), g).flatten()
        tensor([ 5., 15., 10., 20.])
    """
    if geometry.scope == "joint" and any(t is not None for t in taps):
        return _sample_joint(epitome, taps, geometry)
    weight = epitome
    for axis in (1, 0):
        t = taps[axis]
        if t is not None:
            weight = expand(weight, t, axis)
    for axis, t in enumerate(taps[2:], start=2):
        if t is not None:
            weight = expand_kernel(weight, t, axis)
    return weight


def _sample_joint(epitome: Tensor, taps: Sequence[AxisTaps | None], geometry: EpitomeGeometry) -> Tensor:
    """Joint scope: every block has its own start tuple, so all axes are read at once, one gather per tap."""
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
    """Taps of one axis, shaped to broadcast over ``weight_shape``."""
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
    """The matrix ``A`` of a separable channel axis, for tests, fits and pictures; layers never build it.

    Returns:
        ``(C, cells)``, float; every row sums to 1.
    """
    dtype = torch.get_default_dtype() if taps.frac is None else taps.frac.dtype
    return expand(torch.eye(taps.cells, dtype=dtype, device=taps.lower.device), taps, 0)


def _along(frac: Tensor, tensor: Tensor, dim: int) -> Tensor:
    """The shares, in the tensor's dtype, shaped to broadcast along ``dim``."""
    shape = [1] * tensor.ndim
    shape[dim] = frac.shape[0]
    return frac.to(tensor.dtype).view(shape)
