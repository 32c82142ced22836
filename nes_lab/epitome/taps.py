"""Turn starts into taps: the epitome cells that each index along a weight axis reads, and the share of each cell.

A start is the position in the epitome, in cells, at which a patch of the weight begins. A share is the factor of a cell when two
cells are blended.

Source: Zhou et al., ICLR 2020, arXiv:1907.05642; how the gradients of starts are defined is this project's choice.

Tests: tests/epitome/test_sampling.py
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from nes_lab.epitome import compiled_taps
from nes_lab.epitome.compiled_taps import compiles_taps
from nes_lab.epitome.constants import constant
from nes_lab.epitome.flat_windows import window_cells
from nes_lab.epitome.slices import CellSlice
from nes_lab.epitome.transforms import transforming
from nes_lab.geometry.epitome_geometry import Axis, EpitomeGeometry

__all__ = ["AxisTaps", "RowTable", "axis_taps", "clamp_starts", "start_cells", "start_limits"]


@dataclass(frozen=True)
class AxisTaps:
    """Holds the epitome cells that each index along a weight axis reads.

    With integer starts each index reads one cell. With fractional starts it blends two neighboring cells, a lower and an upper.

    Args:
        lower: Lower or only cell, int64. With separable scope the shape is ``(C,)`` for a channel axis of ``C`` channels, and
            ``(C_out, K)`` for a kernel axis of ``K`` positions. With joint scope it is ``(C_out, C_in)`` for a channel axis and
            ``(C_out, C_in, K)`` for a kernel axis. With a flat epitome it is ``(R_out, R_in, windows, L)``, one per entry of a
            window.
        cells: Number of cells of the epitome axis.
        upper: Upper cell, shape of ``lower``; None if all starts are integers.
        frac: Factor of the upper cell in the blend, in [0, 1], shape of ``lower``; None if all starts are integers.
        slices: The cells of a channel axis as contiguous slices ``(first channel, first cell, length)``. None if there are too
            many slices, or if they were not computed.
        alpha: Only for a flat epitome: factor of each window, ``(R_out, R_in, windows)``.
    """

    lower: Tensor
    cells: int
    upper: Tensor | None = None
    frac: Tensor | None = None
    slices: tuple[CellSlice, ...] | None = None
    alpha: Tensor | None = None

    @property
    def fractional(self) -> bool:
        """True if each index along the weight axis blends two epitome cells."""
        return self.frac is not None

    def levels(self) -> list[tuple[Tensor, Tensor | None]]:
        """Return the epitome cells that are read, and their shares: the factors by which they are multiplied.

        The result is a sequence of pairs ``(cells, share)``. With integer starts there is one pair. With fractional starts
        there is one pair for the lower cells and one for the upper cells. A share of None means 1.
        """
        if self.frac is None or self.upper is None:
            return [(self.lower, None)]
        return [(self.lower, 1 - self.frac), (self.upper, self.frac)]

    def rows(self) -> RowTable:
        """Return the sampling matrix of a channel axis and its transpose, as compressed sparse rows (CSR).

        The matrix turns epitome cells into channels.
        """
        return _row_table(self) if torch.compiler.is_compiling() else self._rows

    @cached_property
    def _rows(self) -> RowTable:
        with torch.inference_mode(False), torch.no_grad():  # training may use it later
            return _row_table(self)

    def shares(self) -> Tensor | None:
        """Return the factors by which channels multiply the cells that they read, ordered by channel; None if all are 1.

        They are the non-zero entries of the sampling matrix, which turns epitome cells into channels.
        """
        if self.frac is None or self.frac.requires_grad or torch.compiler.is_compiling():
            return _shares(self)
        return self._fixed_shares

    @cached_property
    def _fixed_shares(self) -> Tensor | None:
        with torch.inference_mode(False), torch.no_grad():  # training may use it later
            return _shares(self)

    @cached_property
    def shares_by_cell(self) -> Tensor | None:
        """Factors by which channels multiply the cells that they read, ordered by cell; None if all are 1.

        They are the non-zero entries of the sampling matrix, which turns epitome cells into channels.
        """
        shares = self.shares()
        with torch.inference_mode(False), torch.no_grad():  # training may use it later
            return None if shares is None else shares.detach()[self.rows().order]


def _shares(taps: AxisTaps) -> Tensor | None:
    if taps.frac is not None and taps.frac.ndim == 1 and compiles_taps(taps.frac):
        return compiled_taps.pair_shares(taps.frac)
    return None if taps.frac is None else torch.stack((1 - taps.frac, taps.frac), -1).flatten()


@dataclass(frozen=True)
class RowTable:
    """Holds a sampling matrix and its transpose as compressed sparse rows (CSR).

    The matrix has one row per channel and one column per epitome cell. There are ``C`` channels, and each row has ``per_row``
    entries.

    Args:
        cell: Cell (column) of each entry, with the entries ordered by channel; shape ``(C * per_row,)``.
        offsets: Index of each channel's first entry, then the number of all entries; shape ``(C + 1,)``.
        order: Indices of the entries, ordered by cell; shape ``(C * per_row,)``.
        channel: Channel (row) of each entry, with the entries ordered by cell; shape ``(C * per_row,)``.
        cell_offsets: Position in ``order`` of each cell's first entry, then the number of all entries; shape ``(cells + 1,)``.
        per_row: Number of entries per row: 1 if patches begin at whole cells, 2 if they begin between two cells.
    """

    cell: Tensor
    offsets: Tensor
    order: Tensor
    channel: Tensor
    cell_offsets: Tensor
    per_row: int

    @cached_property
    def cell_begins(self) -> Tensor:
        """Position in ``order`` of each cell's first entry; shape ``(cells,)``."""
        return self.cell_offsets[:-1]

    @cached_property
    def begins(self) -> Tensor:
        """Index of each channel's first entry; shape ``(C,)``."""
        return self.offsets[:-1]


def _row_table(taps: AxisTaps) -> RowTable:
    if taps.upper is not None and taps.lower.ndim == 1 and compiles_taps(taps.lower):
        return RowTable(*compiled_taps.row_table(taps.lower, taps.upper, taps.cells), per_row=2)
    per_row = 1 if taps.upper is None else 2
    cell = taps.lower if taps.upper is None else torch.stack((taps.lower, taps.upper), -1).flatten()
    sorted_cells, order = torch.sort(cell, stable=True)  # stable: sums have the same order on every device
    cell_offsets = torch.searchsorted(sorted_cells, constant(cell, _numbers, taps.cells + 1, 1))
    offsets = constant(cell, _numbers, cell.shape[0] // per_row + 1, per_row)
    return RowTable(cell, offsets, order, order // per_row, cell_offsets, per_row)


def _numbers(count: int, step: int, device: torch.device) -> Tensor:
    return torch.arange(0, count * step, step, device=device)


class _ClampStarts(torch.autograd.Function):
    """Clamps starts (positions of patches in the epitome) to their lower and upper bounds.

    At a bound, a gradient passes only if gradient descent would move the start inside.
    """

    @staticmethod
    def forward(ctx: Any, starts: Tensor, upper: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(starts <= 0, starts >= upper)
        # not torch.clamp: its gradient at the bound differs between versions of torch
        return torch.minimum(starts.clamp_min(0), upper)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return _unblocked(grad, *ctx.saved_tensors), None


class _ClampInTransform(torch.autograd.Function):
    """Clamps starts to their bounds inside transforms of ``torch.func``, such as ``torch.func.vmap``.

    Outside of transforms :class:`_ClampStarts` is used, because it is faster.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(starts: Tensor, upper: Tensor) -> Tensor:
        return torch.minimum(starts.clamp_min(0), upper)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        starts, upper = ctx.saved_tensors
        return _unblocked(grad, starts <= 0, starts >= upper), None


def _unblocked(grad: Tensor, at_lower: Tensor, at_upper: Tensor) -> Tensor:
    blocked = (at_lower & (grad >= 0)) | (at_upper & (grad <= 0))
    return grad.masked_fill(blocked, 0)


def clamp_starts(starts: Tensor, upper: Tensor) -> Tensor:
    """Clamp starts to ``[0, upper]``. At a bound, a gradient passes only if gradient descent would move the start inside.

    A start beyond a bound is treated like a start at the bound. If ``upper`` is 0, the gradient is 0.

    Args:
        starts: Real-valued starts (positions of patches in the epitome), in cells, of any shape.
        upper: Largest allowed value of each start, of the same shape.

    Examples:
        >>> s = torch.tensor([0.0, 3.0], requires_grad=True)
        >>> clamp_starts(s, torch.tensor([3.0, 3.0])).sum().backward()  # descent would lower both; the first is 0 already
        >>> s.grad
        tensor([0., 1.])
    """
    if compiles_taps(starts):
        return compiled_taps.clamp_compiled(starts, upper)
    clamp = _ClampInTransform if transforming() else _ClampStarts
    return clamp.apply(starts, upper)  # type: ignore[no-any-return]


def start_limits(geometry: EpitomeGeometry, axis: int, like: Tensor) -> Tensor:
    """Return the largest allowed start (position in the epitome) of each patch, as a tensor.

    The values are those of ``geometry.limits(axis)``. The dtype and the device are those of the tensor ``like``.
    """
    if axis < 2 and geometry.scope == "separable" and compiles_taps(like):
        a = geometry.axes[axis]
        return compiled_taps.limits_compiled(like.detach(), a.size, a.patch, a.cells)
    # computed by torch operations, which compilers can trace
    return constant(like, _limits, geometry, axis, like.dtype, 0)


def _limits(geometry: EpitomeGeometry, axis: int, dtype: torch.dtype, less: int, device: torch.device) -> Tensor:
    a = geometry.axes[axis]
    if axis >= 2:
        limits = torch.full((geometry.patch_grid[0],), a.cells - a.size - less, dtype=dtype, device=device)
    else:
        begin = torch.arange(a.patches, device=device) * a.patch
        limits = (a.cells - less - (a.size - begin).clamp_max(a.patch)).to(dtype)
    if geometry.scope == "separable":
        return limits
    return (limits.unsqueeze(0) if axis == 1 else limits.unsqueeze(1)).expand(geometry.patch_grid)


def axis_taps(
    starts: Tensor, geometry: EpitomeGeometry, axis: int, fractional: bool, slices: tuple[CellSlice, ...] | None = None
) -> AxisTaps:
    """Turn the starts of a weight axis into taps: the cells that each index along the axis reads, and the factor of each cell.

    Args:
        starts: Position of each patch in the epitome, in cells, of shape ``geometry.starts_shape(axis)``. With the clamp boundary
            every patch must already lie inside the epitome.
        geometry: Shapes of weight and epitome, scope and boundary.
        axis: Index of the weight axis.
        fractional: False for integer starts: each index reads one cell. True: each index blends two cells, and gradients reach
            the starts.
        slices: Contiguous slices of an axis with integer starts, from :func:`~nes_lab.epitome.slices.axis_slices`; None if they
            were not computed.
    """
    a = geometry.axes[axis]
    circular = geometry.boundary == "circular"
    if fractional and axis < 2 and geometry.scope == "separable" and compiles_taps(starts):
        lower, upper, frac = compiled_taps.channel_taps(starts, a.size, a.patch, a.cells, circular)
        return AxisTaps(lower, a.cells, upper, frac)
    base = start_cells(starts, geometry, axis) if fractional else starts.detach().round()
    lower = _spread(base.long(), geometry, axis, local=True)
    if circular:
        lower = lower % a.cells
    if not fractional:
        return AxisTaps(lower, a.cells, slices=slices)
    upper = (lower + 1) % a.cells if circular else (lower + 1).clamp_max(a.cells - 1)
    frac = _spread(starts - base, geometry, axis, local=False).expand(lower.shape)
    return AxisTaps(lower, a.cells, upper, frac)


def start_cells(starts: Tensor, geometry: EpitomeGeometry, axis: int) -> Tensor:
    """Return the lower of the two cells between which each start lies, as floating-point numbers.

    Args:
        starts: Position of each patch in the epitome, in cells, of shape ``geometry.starts_shape(axis)``.
        geometry: Shapes of weight and epitome, scope and boundary.
        axis: Index of the weight axis.
    """
    # a NaN must not become the number of a cell; it stays in the share, so that the weight becomes NaN
    base = starts.detach().floor().nan_to_num(0, 0, 0)
    if geometry.boundary == "circular":
        return base
    return torch.minimum(base, constant(base, _limits, geometry, axis, base.dtype, 1)).clamp_min(0)


def _spread(table: Tensor, geometry: EpitomeGeometry, axis: int, local: bool) -> Tensor:
    """Repeat a table of one value per patch, so that each index along a weight axis has the value of its patch.

    Args:
        table: One value per patch, in the shape of the table of starts.
        geometry: Shapes of weight and epitome, and scope.
        axis: Index of the weight axis.
        local: True: add to each value how far its index is from the beginning of the patch.
    """
    if geometry.scope == "flat":
        return window_cells(table, geometry) if local else table.unsqueeze(-1)
    if geometry.scope == "joint":
        table = table.index_select(0, constant(table, _patch_of, geometry.axes[0]))
        table = table.index_select(1, constant(table, _patch_of, geometry.axes[1]))
    else:
        table = table.index_select(0, constant(table, _patch_of, geometry.axes[geometry.owner(axis)]))
    if axis >= 2:
        return table.unsqueeze(-1) + (constant(table, _within, geometry.axes[axis]) if local else 0)
    if not local:
        return table
    within = constant(table, _within, geometry.axes[axis])
    return table + (within.unsqueeze(-1) if geometry.scope == "joint" and axis == 0 else within)


def _patch_of(axis: Axis, device: torch.device) -> Tensor:
    return torch.arange(axis.size, device=device) // axis.patch


def _within(axis: Axis, device: torch.device) -> Tensor:
    return torch.arange(axis.size, device=device) % axis.patch
