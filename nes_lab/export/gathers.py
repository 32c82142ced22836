"""Compute parts of an epitome layer by gathers with small constant index tables, for exported graphs.

A layer with the option ``scope="separable"`` first folds its input: for each epitome cell, it adds up the input channels whose
weights are sampled from this cell. Most runtimes are slow at adding entries to given positions (scatter), but fast at reading
entries from given positions (gather). Here the sums are therefore made of gathers, or of a few contiguous slices.

A layer with ``scope="joint"`` does not fold its input. The graph gathers the layer's weight from the epitome instead.

Tests: tests/export/test_graph.py
"""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nes_lab.epitome.taps import AxisTaps
from nes_lab.nn.layer import EpitomeLayer

__all__ = ["BlendedExpansion", "JointWeight", "FoldByGathers"]


class FoldByGathers(nn.Module):
    """Module that folds the input of an epitome layer: for each epitome cell, it adds up the channels that read this cell.

    A channel reads a cell if the channel's weights are sampled from the cell. If a patch begins between two cells, each
    of its channels reads two cells, and a part of the channel is added to each.

    Args:
        taps: For each input channel, the epitome cells that it reads, and the part of the channel that each cell gets.
            The layer has separable scope (starts per axis).

    Shape:
        - along ``dim`` the input has one entry per input channel, the output one entry per cell of the epitome's input axis

    In the example, half of channel 0 is added to each of cells 0 and 1, and half of channel 1 to each of cells 1 and 2.

    Examples:
        >>> fold = FoldByGathers(AxisTaps(torch.tensor([0, 1]), 3, torch.tensor([1, 2]), torch.tensor([0.5, 0.5])))
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
        complete = all(length == taps.cells for _, _, length in slices)
        self.slices = slices if complete or len(slices) <= self.count else ()
        dtype, device = (torch.float32 if taps.frac is None else taps.frac.dtype), taps.lower.device
        for t in range(0 if self.slices else self.count):
            entries = [r[t] if t < len(r) else (0, 0.0) for r in readers]
            shares = torch.tensor([part for _, part in entries], dtype=dtype, device=device)
            index = torch.tensor([channel for channel, _ in entries], device=device)
            self.register_buffer(f"index_{t}", index, persistent=False)
            self.register_buffer(f"share_{t}", None if bool((shares == 1).all()) else shares, persistent=False)

    def forward(self, x: Tensor, dim: int) -> Tensor:
        """Return the folded input: along ``dim``, its entry ``i`` is the sum of the input channels that read epitome cell ``i``.

        Args:
            x: Input of the layer.
            dim: The axis to fold, counted from the front (not negative).
        """
        total = None
        for part in self._by_slices(x, dim) if self.slices else self._by_rounds(x, dim):
            total = part if total is None else total + part
        assert total is not None  # an axis has at least one entry
        return total

    def _by_rounds(self, x: Tensor, dim: int) -> list[Tensor]:
        parts = []
        for t in range(self.count):
            part, share = x.index_select(dim, getattr(self, f"index_{t}")), getattr(self, f"share_{t}")
            parts.append(part if share is None else part * share.to(x.dtype).view(-1, *[1] * (x.ndim - 1 - dim)))
        return parts

    def _by_slices(self, x: Tensor, dim: int) -> list[Tensor]:
        """Return tensors whose sum is the folded input of the layer. The caller adds them up.

        Each tensor is a slice of the input, padded with zeros to one entry per epitome cell.
        """
        parts = []
        for begin, cell, length in self.slices:
            around = [0, 0] * (x.ndim - 1 - dim) + [cell, self.cells - cell - length]
            part = x.narrow(dim, begin, length)
            parts.append(part if length == self.cells else F.pad(part, around))
        return parts


class BlendedExpansion(nn.Module):
    """Module that computes the output channels of an epitome layer from one output per epitome cell.

    Each output channel lies between two epitome cells. Its output is the weighted mean of the outputs of the two cells,
    multiplied by the channel's scale.

    Args:
        taps: For each output channel, the two epitome cells that it reads, and their shares in the mean. The layer has
            separable scope (starts per axis).
        scale: One factor per output channel; None: outputs are not scaled.

    In the example, output channel 0 is the mean of cells 0 and 1, and output channel 1 the mean of cells 1 and 2.

    Examples:
        >>> blend = BlendedExpansion(AxisTaps(torch.tensor([0, 1]), 3, torch.tensor([1, 2]), torch.tensor([0.5, 0.5])), None)
        >>> blend(torch.tensor([0.0, 10.0, 20.0]), 0)
        tensor([ 5., 15.])
    """

    lower: Tensor
    upper: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, taps: AxisTaps, scale: Tensor | None) -> None:
        super().__init__()
        assert taps.frac is not None and taps.upper is not None  # the caller has checked it
        share = taps.frac.detach()
        factor = 1.0 if scale is None else scale.to(share.dtype)
        constants = {"lower": taps.lower, "upper": taps.upper, "low": (1 - share) * factor, "high": share * factor}
        for name, value in constants.items():
            self.register_buffer(name, value.clone(), persistent=False)

    def forward(self, y: Tensor, dim: int) -> Tensor:
        """Return the output channels, computed from one output per epitome cell.

        Each output channel is a weighted mean of the outputs of the two cells that it reads, multiplied by the channel's scale.

        Args:
            y: One output per epitome cell along ``dim``.
            dim: The axis of the channels, counted from the front (not negative).
        """
        shape = (-1, *[1] * (y.ndim - 1 - dim))
        low, high = (share.to(y.dtype).view(shape) for share in (self.low, self.high))
        return y.index_select(dim, self.lower) * low + y.index_select(dim, self.upper) * high


class JointWeight(nn.Module):
    """Module that gathers the weight of a layer with joint scope from the layer's epitome.

    With joint scope, each pair of a block of output channels and a block of input channels has its own starts
    (positions in the epitome).

    Args:
        layer: An epitome layer with joint scope, whose starts are no longer learned.
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
        """Return the layer's weight, sampled from the epitome."""
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
        """Return which cell of the flattened epitome each entry of the weight reads.

        Args:
            tops: 0 or 1 for each axis. If a patch begins between two cells, 0 takes the lower cell and 1 the upper
                cell. If patches begin at whole cells, it is 0.
        """
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
        """Repeat a table of one value per patch, so that it has one value for each pair of an output and an input channel.

        A pair of channels gets the value of the patch to which it belongs.
        """
        spread = table.index_select(0, self.patch_0).index_select(1, self.patch_1)
        return spread.view(*spread.shape, *[1] * (len(self.geometry.axes) - 2))


def _along(axis: int, geometry: object) -> tuple[int, ...]:
    axes = geometry.axes  # type: ignore[attr-defined]
    return tuple(-1 if i == axis else 1 for i in range(len(axes)))


def _split(table: Tensor, layer: EpitomeLayer, axis: int) -> tuple[Tensor, Tensor | None]:
    """Split the starts of a weight axis into whole cells and the rest.

    The rest, from 0 to 1, says how far a start lies between its cell and the next one. It is None if the layer's starts are
    always integers.
    """
    g = layer.geometry
    if not layer.routing.fractional:
        return table.round().long(), None
    base = table.floor()
    if g.boundary == "clamp":
        limits = torch.as_tensor(g.limits(axis), device=table.device, dtype=table.dtype) - 1
        base = torch.minimum(base, limits).clamp_min(0)
    return base.long(), table - base
