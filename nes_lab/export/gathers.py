"""Folds and joint samplings for exported graphs, as gathers over small constant tables.

A fold of the input adds entries onto cells. Runtimes are slow at scattered additions, so here every cell gathers what is added onto
it: as many gathers as the cell that is read most often has readers, or slices where the reads are few contiguous runs. A joint weight
is gathered by an index that the graph makes of one number per patch: runtimes do that once, when they load the file.
"""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nes_lab.epitome.taps import AxisTaps
from nes_lab.nn.layer import EpitomeLayer

__all__ = ["Blend", "JointWeight", "Rounds"]


class Rounds(nn.Module):
    """A fold as gathers: in round ``t`` every cell takes the ``t``-th of the entries added onto it.

    Args:
        taps: Of a separable input axis.

    Examples:
        >>> fold = Rounds(AxisTaps(torch.tensor([0, 1]), 3, torch.tensor([1, 2]), torch.tensor([0.5, 0.5])))
        >>> fold(torch.tensor([2.0, 4.0]), 0)
        tensor([1., 3., 2.])
    """

    def __init__(self, taps: AxisTaps) -> None:
        super().__init__()
        readers: list[list[tuple[int, float]]] = [[] for _ in range(taps.cells)]
        for cells, share in taps.levels():
            parts = [1.0] * len(cells) if share is None else share.tolist()
            for channel, (cell, part) in enumerate(zip(cells.tolist(), parts, strict=True)):
                if part:
                    readers[cell].append((channel, part))
        self.count, self.cells = max(map(len, readers)), taps.cells
        slices = taps.slices or ()
        whole = all(length == taps.cells for _, _, length in slices)
        self.slices = slices if whole or len(slices) <= self.count else ()
        dtype, device = (torch.float32 if taps.frac is None else taps.frac.dtype), taps.lower.device
        for t in range(0 if self.slices else self.count):
            mine = [r[t] if t < len(r) else (0, 0.0) for r in readers]
            shares = torch.tensor([part for _, part in mine], dtype=dtype, device=device)
            index = torch.tensor([channel for channel, _ in mine], device=device)
            self.register_buffer(f"index_{t}", index, persistent=False)
            self.register_buffer(f"share_{t}", None if bool((shares == 1).all()) else shares, persistent=False)

    def forward(self, x: Tensor, dim: int) -> Tensor:
        """``A^T x`` along ``dim``, counted from the front."""
        total = None
        for part in self._by_slices(x, dim) if self.slices else self._by_rounds(x, dim):
            total = part if total is None else total + part
        assert total is not None  # an axis has at least one entry
        return total

    def _by_rounds(self, x: Tensor, dim: int) -> list[Tensor]:
        found = []
        for t in range(self.count):
            part, share = x.index_select(dim, getattr(self, f"index_{t}")), getattr(self, f"share_{t}")
            found.append(part if share is None else part * share.to(x.dtype).view(-1, *[1] * (x.ndim - 1 - dim)))
        return found

    def _by_slices(self, x: Tensor, dim: int) -> list[Tensor]:
        """Slices; where a run is shorter than the axis, zeros around it."""
        found = []
        for begin, cell, length in self.slices:
            around = [0, 0] * (x.ndim - 1 - dim) + [cell, self.cells - cell - length]
            part = x.narrow(dim, begin, length)
            found.append(part if length == self.cells else F.pad(part, around))
        return found


class Blend(nn.Module):
    """The expansion at fractional starts, its scale within: two gathers, each times a constant, and their sum.

    Args:
        taps: Of a separable output axis, fractional.
        scale: One factor per output channel, or None.

    Examples:
        >>> blend = Blend(AxisTaps(torch.tensor([0, 1]), 3, torch.tensor([1, 2]), torch.tensor([0.5, 0.5])), None)
        >>> blend(torch.tensor([0.0, 10.0, 20.0]), 0)
        tensor([ 5., 15.])
    """

    lower: Tensor
    upper: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, taps: AxisTaps, scale: Tensor | None) -> None:
        super().__init__()
        assert taps.frac is not None and taps.upper is not None  # the caller has asked
        share = taps.frac.detach()
        factor = 1.0 if scale is None else scale.to(share.dtype)
        constants = {"lower": taps.lower, "upper": taps.upper, "low": (1 - share) * factor, "high": share * factor}
        for name, value in constants.items():
            self.register_buffer(name, value.clone(), persistent=False)

    def forward(self, y: Tensor, dim: int) -> Tensor:
        """``scale * A y`` along ``dim``, counted from the front."""
        shape = (-1, *[1] * (y.ndim - 1 - dim))
        low, high = (share.to(y.dtype).view(shape) for share in (self.low, self.high))
        return y.index_select(dim, self.lower) * low + y.index_select(dim, self.upper) * high


class JointWeight(nn.Module):
    """The weight of a layer with joint starts, gathered from its epitome.

    Args:
        layer: With joint scope and fixed starts.
    """

    patch_0: Tensor
    patch_1: Tensor

    def __init__(self, layer: EpitomeLayer) -> None:
        super().__init__()
        g = layer.geometry
        self.geometry, self.fractional = g, layer.routing.fractional
        self.sampled = layer.routing.sampled
        for axis, table in enumerate(layer.routing.current()):
            if table is None:
                continue
            lower, share = _split(table.detach(), layer, axis)
            self.register_buffer(f"lower_{axis}", lower, persistent=False)
            self.register_buffer(f"share_{axis}", share, persistent=False)
        device = layer.epitome.device
        for axis, a in enumerate(g.axes):
            within = torch.arange(a.size, device=device) % a.patch
            self.register_buffer(f"within_{axis}", within.view(_along(axis, g)), persistent=False)
        for axis in (0, 1):
            patch = torch.arange(g.axes[axis].size, device=device) // g.axes[axis].patch
            self.register_buffer(f"patch_{axis}", patch, persistent=False)

    def forward(self, epitome: Tensor) -> Tensor:
        """``T(E)``, of ``weight_shape``."""
        flat, total = epitome.flatten(), None
        for tops in product(*[(0, 1) if self.fractional and a in self.sampled else (0,) for a in range(epitome.ndim)]):
            part = flat.index_select(0, self._index(tops).flatten()).view(self.geometry.weight_shape)
            for axis, top in enumerate(tops):
                if self.fractional and axis in self.sampled:
                    share = self._spread(getattr(self, f"share_{axis}")).to(epitome.dtype)
                    part = part * (share if top else 1 - share)
            total = part if total is None else total + part
        assert total is not None  # every axis has at least one tap
        return total

    def _index(self, tops: tuple[int, ...]) -> Tensor:
        """Place of each weight's cell in the flat epitome."""
        g, index = self.geometry, None
        circular = g.boundary == "circular"
        for axis, (a, top) in enumerate(zip(g.axes, tops, strict=True)):
            if axis in self.sampled:
                cell = self._spread(getattr(self, f"lower_{axis}")) + getattr(self, f"within_{axis}") + top
                cell = cell % a.cells if circular else cell.clamp(max=a.cells - 1)
            else:
                cell = torch.arange(a.size, device=self.patch_0.device).view(_along(axis, g))
            index = cell if index is None else index * a.cells + cell
        assert index is not None  # a weight has axes
        return index.expand(g.weight_shape)

    def _spread(self, table: Tensor) -> Tensor:
        """From one number per patch to one per pair of channels."""
        spread = table.index_select(0, self.patch_0).index_select(1, self.patch_1)
        return spread.view(*spread.shape, *[1] * (len(self.geometry.axes) - 2))


def _along(axis: int, geometry: object) -> tuple[int, ...]:
    axes = geometry.axes  # type: ignore[attr-defined]
    return tuple(-1 if i == axis else 1 for i in range(len(axes)))


def _split(table: Tensor, layer: EpitomeLayer, axis: int) -> tuple[Tensor, Tensor | None]:
    """Whole cells and shares of the upper tap, one per patch, as :func:`nes_lab.epitome.taps.axis_taps` splits them."""
    g = layer.geometry
    if not layer.routing.fractional:
        return table.round().long(), None
    base = table.floor()
    if g.boundary == "clamp":
        limits = torch.as_tensor(g.limits(axis), device=table.device, dtype=table.dtype) - 1
        base = torch.minimum(base, limits).clamp_min(0)
    return base.long(), table - base
