"""Keep which cells the channels of a layer read while its starts are learned, and turn starts into factors and back into gradients.

Both channel axes of a layer are handled in one array, and the small tables are numpy arrays: a layer with few multiply-adds spends
most of its time in calls, and a numpy call takes less time than a torch call.

Tests: tests/execution/test_factored_step.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from nes_lab.epitome.axis_reading import AxisReading, AxisRows
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["LearnedCells", "StartsLayout", "StartsPrediction", "StepStarts"]


@dataclass(frozen=True)
class StartsLayout:
    """Says where the starts, channels and cells of each axis are if all channel axes of a layer are put one after the other.

    Args:
        geometry: Shapes of weight and epitome; the scope is separable.
        axes: Indices of the channel axes that have starts: 0, 1 or both.
        dtype: Data type of the starts.
    """

    geometry: EpitomeGeometry
    axes: tuple[int, ...]
    dtype: np.dtype

    @cached_property
    def circular(self) -> bool:
        """True if patches wrap around the end of the epitome."""
        return self.geometry.boundary == "circular"

    @cached_property
    def patches(self) -> list[slice]:
        """Where the patches of each axis are."""
        return _parts([self.geometry.axes[a].patches for a in self.axes])

    @cached_property
    def channels(self) -> list[slice]:
        """Where the channels of each axis are."""
        return _parts([self.geometry.axes[a].size for a in self.axes])

    @cached_property
    def cells(self) -> list[slice]:
        """Where the cells of each axis are."""
        return _parts([self.geometry.axes[a].cells for a in self.axes])

    @cached_property
    def limits(self) -> np.ndarray:
        """Largest start of each patch."""
        return np.concatenate([self.geometry.limits(a) for a in self.axes]).astype(self.dtype)

    @cached_property
    def below(self) -> float:
        """Largest number below 1."""
        return float(np.nextafter(self.dtype.type(1), self.dtype.type(0)))

    @cached_property
    def patch_of(self) -> np.ndarray:
        """Patch of each channel."""
        parts = zip(self.axes, self.patches, strict=True)
        return np.concatenate([self.geometry.axes[a].patch_of + part.start for a, part in parts])

    @cached_property
    def within(self) -> np.ndarray:
        """Distance of each channel from the beginning of its patch."""
        return np.concatenate([self.geometry.axes[a].within for a in self.axes])

    @cached_property
    def begins(self) -> np.ndarray:
        """First channel of each patch."""
        return np.flatnonzero(self.within == 0)

    @cached_property
    def first_cell(self) -> np.ndarray:
        """For each channel, the first cell of its axis."""
        return np.concatenate([np.full(_length(c), e.start) for c, e in zip(self.channels, self.cells, strict=True)])

    @cached_property
    def cell_count(self) -> np.ndarray:
        """For each channel, the number of cells of its axis."""
        return np.concatenate([np.full(_length(c), _length(e)) for c, e in zip(self.channels, self.cells, strict=True)])

    @cached_property
    def share_of(self) -> np.ndarray:
        """For each channel, the places of its two factors in an array of all factors of lower cells, then of upper cells."""
        return np.stack((self.patch_of, self.patch_of + len(self.begins)), -1).reshape(-1)

    @cached_property
    def fixed_tables(self) -> list[tuple[Tensor, Tensor]]:
        """For each axis, where the entries of each channel begin, and the channel of each entry, with the entries ordered by channel."""
        with torch.inference_mode(False), torch.no_grad():
            sizes = [_length(part) for part in self.channels]
            return [(torch.arange(0, 2 * n, 2), torch.arange(2 * n) // 2) for n in sizes]


def _length(part: slice) -> int:
    return part.stop - part.start


def _parts(counts: Sequence[int]) -> list[slice]:
    ends = np.cumsum(counts).tolist()
    return [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]


@dataclass(frozen=True)
class LearnedCells:
    """Keeps which cells the channels of a layer read, as long as no start leaves its cell. Then only the fractions are new.

    Args:
        layout: Where the starts, channels and cells of each axis are.
        base: Lower cell of each patch, before it wraps around with the circular boundary.
        highest: Largest fraction of each patch inside its cell: below 1, or no less than 1 at the upper end of the epitome.
        rows: The cells that the channels of each axis read.
        share_of: Places of all factors in an array of the factors of each patch: ordered by channel, then ordered by cell.
    """

    layout: StartsLayout
    base: np.ndarray
    highest: np.ndarray
    rows: list[AxisRows]
    share_of: np.ndarray

    @classmethod
    def of(cls, starts: np.ndarray, layout: StartsLayout, clamped: bool) -> LearnedCells:
        """Find the cells of given starts.

        Args:
            starts: One number per patch, inside the epitome if the boundary is ``clamp``.
            layout: Where the starts, channels and cells of each axis are.
            clamped: True if starts above the upper end of the epitome must be noticed, because they are clamped then. False: only
                rounding puts a start there.
        """
        base = np.floor(starts)
        finite = np.isfinite(base)
        if np.count_nonzero(finite) < len(finite):  # NaN stays in the fraction, so that the weight becomes NaN
            base[~finite] = 0
        highest = np.empty_like(base)
        highest.fill(layout.below)
        if not layout.circular:
            np.maximum(np.minimum(base, layout.limits - 1), 0, out=base)
            np.copyto(highest, layout.limits - base if clamped else np.inf, where=base >= layout.limits - 1)
        entries = np.empty((len(layout.within), 2), np.int64)
        lower = base.astype(np.int64)[layout.patch_of] + layout.within
        if layout.circular:
            lower %= layout.cell_count
            entries[:, 1] = (lower + 1) % layout.cell_count
        else:
            entries[:, 1] = np.minimum(lower + 1, layout.cell_count - 1)
        entries[:, 0] = lower
        rows, order = _rows(entries, layout)
        return cls(layout, base, highest, rows, np.concatenate((layout.share_of, layout.share_of[order])))

    def fractions(self, starts: np.ndarray) -> np.ndarray | None:
        """Return how far each start is above its lower cell; None if a start has left its cell."""
        if starts.dtype != self.base.dtype:
            return None
        fractions = starts - self.base
        inside = (fractions >= 0) & (fractions <= self.highest)  # False for NaN
        return fractions if np.count_nonzero(inside) == len(inside) else None

    def readings(self, fractions: np.ndarray, dtype: np.dtype) -> list[AxisReading]:
        """Return how each axis is read if each start lies ``fractions`` above its lower cell.

        Args:
            fractions: One number per patch.
            dtype: Data type of the tensors that are folded and expanded.
        """
        patches = len(fractions)
        factors = np.empty(2 * patches, dtype)
        factors[patches:] = fractions
        np.subtract(1, fractions, out=factors[:patches], casting="same_kind")
        shares, half = factors.take(self.share_of), len(self.share_of) // 2
        readings = []
        for rows, part in zip(self.rows, self.layout.channels, strict=True):
            begin, end = 2 * part.start, 2 * part.stop
            readings.append(AxisReading(rows, shares[begin:end], shares[begin + half : end + half]))
        return readings


def _rows(entries: np.ndarray, layout: StartsLayout) -> tuple[list[AxisRows], np.ndarray]:
    """Return the sampling matrix of each axis and its transpose, and the entries of all axes ordered by cell.

    Args:
        entries: The two cells that each channel reads, numbered separately for each axis; shape ``(channels, 2)``.
        layout: Where the channels and cells of each axis are.
    """
    count = layout.cells[-1].stop
    joined = (entries + layout.first_cell[:, None]).reshape(-1)
    # stable: sums have the same order on every device; numpy sorts integers of 16 bits by their digits
    order = np.argsort(joined.astype(np.uint16) if count <= 1 << 16 else joined, kind="stable")
    ends = np.cumsum(np.bincount(joined, minlength=count))
    begins, cell, channel = np.concatenate(([0], ends[:-1])), entries.reshape(-1), order >> 1
    rows = []
    for part, cells, (begin_of, channel_of) in zip(layout.channels, layout.cells, layout.fixed_tables, strict=True):
        span = slice(2 * part.start, 2 * part.stop)
        of_axis, cell_begins = channel[span] - part.start, begins[cells] - span.start
        by_cell = torch.from_numpy(of_axis), torch.from_numpy(cell_begins)
        rows.append(
            AxisRows(torch.from_numpy(cell[span]), *by_cell, begin_of, channel_of, _length(part), _length(cells), 2)
        )
    return rows, order


class StartsPrediction(Protocol):
    """Describes how starts that an index learner predicts pass gradients on: to its tensors and to the layer's input."""

    def gradients(self, of_starts: np.ndarray, learner: Sequence[Tensor]) -> tuple[list[Tensor], np.ndarray]:
        """Return the gradients of the index learner's tensors, and an array for :meth:`add_to_input_`."""
        ...

    def add_to_input_(self, of_input: Tensor, of_hidden: np.ndarray, learner: Sequence[Tensor]) -> None:
        """Add the gradient that reaches the layer's input through the prediction to its gradient."""
        ...

    def differentiable(self, x: Tensor, learner: Sequence[Tensor]) -> Tensor:
        """Compute the starts of all axes, as one tensor, by differentiable operations."""
        ...


class StepStarts(NamedTuple):
    """Holds the starts of all channel axes in one step, and how their gradient reaches the tensors that they come from.

    Args:
        cells: The cells, which are kept from step to step.
        values: Starts, before they were clamped to the epitome if ``clamped`` is True.
        clamped: True if starts are clamped to the epitome. At a bound, a gradient passes only if gradient descent would move the
            start inside.
        prediction: How the starts were predicted; None: the starts of each axis come from a tensor of their own.
    """

    cells: LearnedCells
    values: np.ndarray
    clamped: bool
    prediction: StartsPrediction | None = None

    def gradient(self, of_shares: Sequence[np.ndarray | None]) -> np.ndarray | None:
        """Turn the gradients of the factors of each axis into that of the starts of all axes. None means 0."""
        layout = self.cells.layout
        given = next((found for found in of_shares if found is not None), None)
        if given is None:
            return None
        parts = [
            np.zeros(2 * _length(channels), given.dtype) if found is None else found
            for found, channels in zip(of_shares, layout.channels, strict=True)
        ]
        both = parts[0] if len(parts) == 1 else np.concatenate(parts)
        found = np.add.reduceat(both[1::2] - both[::2], layout.begins)
        if self.clamped:
            np.minimum(found, 0, out=found, where=self.values <= 0)
            np.maximum(found, 0, out=found, where=self.values >= layout.limits)
        return found
