"""Turn the starts of a layer (positions of patches) into taps.

Taps are the epitome cells that each weight index reads, and the factor of each cell. They are kept until the starts
change.

Tests: tests/nn/test_layer.py, tests/nn/test_inference_cache.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from nes_lab.epitome.axis_reading import AxisReading
from nes_lab.epitome.empty_copy import EmptyCopy
from nes_lab.epitome.learned_cells import LearnedCells, StartsLayout, StartsPrediction, StepStarts
from nes_lab.epitome.slices import CellSlice
from nes_lab.epitome.taps import AxisTaps, axis_taps
from nes_lab.execution.base import LayerOp, Taps
from nes_lab.execution.factored_step import FactoredStep
from nes_lab.execution.inference_cache import InferenceCache
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["LayerTaps", "LearnedStarts", "StartsHolder"]

Value = TypeVar("Value")


class LearnedStarts(NamedTuple):
    """Holds the learned starts of a layer in one step.

    Args:
        tensors: The tensors from which the starts come, and which gradients reach: one per axis that has starts, or one for all.
        values: The starts of all axes that have some, one axis after the other, in cells.
        clamped: True if the starts must still be clamped to the epitome; False: they lie inside, or they wrap around.
        prediction: How the starts were predicted from the layer's input, if ``tensors`` are those of the index learner.
    """

    tensors: tuple[Tensor, ...]
    values: np.ndarray
    clamped: bool
    prediction: StartsPrediction | None = None


class StartsHolder(Protocol):
    """Describes what :class:`LayerTaps` needs from the module that holds a layer's starts (positions of patches).

    From the starts, :class:`LayerTaps` computes which epitome cells each weight index reads.
    """

    geometry: EpitomeGeometry
    sampled: tuple[int, ...]
    fractional: bool
    stored: bool

    def slices(self, axis: int) -> tuple[CellSlice, ...] | None:
        """Return the contiguous slices in which a weight axis reads the epitome: ``(first channel, first cell, length)`` each.

        In each slice, ``length`` neighboring channels read ``length`` neighboring cells, in order. Return None if there are no such
        slices (for example, if patches begin between two cells), or too many of them.
        """
        ...

    def stored_tables(self) -> Sequence[Tensor]:
        """Return the tensors that hold the starts (positions of patches in the epitome).

        Kept taps (the epitome cells that each weight index reads) are valid until one of these tensors changes.
        """
        ...

    def current(self) -> tuple[Tensor | None, ...]:
        """Return the starts that inference uses, one tensor per weight axis; None for an axis without starts."""
        ...

    def learned_starts(self, x: Tensor) -> LearnedStarts:
        """Return the starts of one step with the layer's input ``x``. In training mode this may change the stored starts."""
        ...

    def clamp_stored(self, learned: LearnedStarts) -> LearnedStarts:
        """Clamp the stored starts in training mode, if some lie outside the epitome, and return the starts of the step again."""
        ...

    def from_tensors(self, tensors: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        """Return the starts of each weight axis from the tensors that :meth:`learned_starts` returned. Gradients reach them."""
        ...


class _Kept(EmptyCopy, dict[int, Value]):
    """Keeps values by number. A copied or unpickled one is empty."""


class LayerTaps:
    """Builds a layer's taps from its starts (positions of patches in the epitome).

    Taps are the epitome cells that each weight index reads, and the factor of each cell.

    Taps are kept as long as the stored starts do not change. Those of starts that a rule sets are valid for good.
    """

    def __init__(self) -> None:
        self.cache = InferenceCache()
        self._cells: _Kept[LearnedCells] = _Kept()  # at most one
        self._by_rule: _Kept[tuple[StartsHolder, LayerOp, torch.dtype, FactoredStep]] = _Kept()

    @staticmethod
    def build(holder: StartsHolder, starts: tuple[Tensor | None, ...], by_slices: bool = True) -> Taps:
        """Build the taps of each weight axis; None for an axis without starts.

        Taps are the epitome cells that each index along the axis reads, and the factor of each cell.

        Args:
            holder: Module that holds the starts.
            starts: Starts of each axis: the positions of patches in the epitome.
            by_slices: True to look for contiguous slices. The starts of frozen layers must be read for that, which waits for a GPU.
        """
        fractional, geometry = holder.fractional, holder.geometry
        return [
            None if s is None else axis_taps(s, geometry, axis, fractional, holder.slices(axis) if by_slices else None)
            for axis, s in enumerate(starts)
        ]

    def current(self, holder: StartsHolder) -> Taps:
        """Return the taps of each weight axis for the starts that inference uses, without gradients.

        Starts are the positions of patches in the epitome. Taps are the epitome cells that each index along the axis
        reads, and the factor of each cell. If the stored starts have not changed, the kept taps are returned.
        """
        tables, by_rule = holder.stored_tables(), not holder.stored  # nothing changes starts by a rule
        by_slices = by_rule or self.cache.trusting or all(table.is_cpu for table in tables)
        return self.cache.get("taps", tables, lambda: self.build(holder, holder.current(), by_slices), by_rule)

    def step(self, holder: StartsHolder, op: LayerOp, dtype: torch.dtype) -> FactoredStep:
        """Return how the channel axes are read in a step that does not change the starts, and in which no gradient reaches them.

        Args:
            holder: Module that holds the starts.
            op: The layer's convolution.
            dtype: Data type of the layer's input.
        """
        kept = self._by_rule.get(0)
        if kept is not None and kept[0] is holder and kept[1] is op and kept[2] is dtype:
            return kept[3]
        taps = self.current(holder)
        step = FactoredStep(op, _fixed(taps[0], dtype), _fixed(taps[1], dtype), lambda learned: (taps[0], taps[1]))
        if not holder.stored and all(t is None or t.lower.is_cpu for t in taps):  # nothing changes starts by a rule
            self._by_rule[0] = (holder, op, dtype, step)
        return step

    def learned_step(self, holder: StartsHolder, op: LayerOp, x: Tensor) -> tuple[FactoredStep, tuple[Tensor, ...]]:
        """Return how the channel axes are read in a step that learns the starts, and the tensors that hold them.

        Args:
            holder: Module that holds the starts.
            op: The layer's convolution.
            x: Input of the layer, with the positions that a stride never reads.
        """
        if not holder.sampled:
            return self.step(holder, op.read, x.dtype)._replace(drop=op.dropped), ()
        learned = holder.learned_starts(x)
        cells = self._cells.get(0)
        fractions = None if cells is None else cells.fractions(learned.values)
        if cells is None or fractions is None:
            learned = holder.clamp_stored(learned)
            cells, fractions = self._find_cells(holder, learned)
        readings = iter(cells.readings(fractions, _NUMPY[x.dtype]))
        axes = [next(readings) if axis in holder.sampled else None for axis in (0, 1)]

        def taps(tensors: Sequence[Tensor]) -> tuple[AxisTaps | None, AxisTaps | None]:
            made = self.build(holder, holder.from_tensors(tensors))
            return made[0], made[1]

        starts = StepStarts(cells, learned.values, learned.clamped, learned.prediction)
        return FactoredStep(op.read, axes[0], axes[1], taps, starts, op.dropped), learned.tensors

    def _find_cells(self, holder: StartsHolder, learned: LearnedStarts) -> tuple[LearnedCells, np.ndarray]:
        """Return the cells of a step's starts, and how far each start is above its lower cell. New cells are kept."""
        starts, cells = learned.values, self._cells.get(0)
        layout = StartsLayout(holder.geometry, holder.sampled, starts.dtype) if cells is None else cells.layout
        if layout.dtype != starts.dtype:
            layout = StartsLayout(holder.geometry, holder.sampled, starts.dtype)
        if learned.clamped:
            starts = np.minimum(np.maximum(starts, 0), layout.limits)
        fractions = None if cells is None else cells.fractions(starts)
        if cells is None or fractions is None:  # a start has left its cell
            cells = self._cells[0] = LearnedCells.of(starts, layout, learned.clamped)
            fractions = starts - cells.base
        return cells, fractions


_NUMPY = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}


def _fixed(taps: AxisTaps | None, dtype: torch.dtype) -> AxisReading | None:
    return None if taps is None else AxisReading.fixed(taps, dtype)
