"""Turn the starts of a layer (positions of patches) into taps.

Taps are the epitome cells that each weight index reads, and the factor of each cell. They are kept until the starts
change.

Tests: tests/nn/test_layer.py, tests/nn/test_inference_cache.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from nes_lab.epitome.slices import CellSlice
from nes_lab.epitome.taps import axis_taps
from nes_lab.execution.base import Taps
from nes_lab.execution.inference_cache import InferenceCache
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = ["LayerTaps", "StartsHolder"]


class StartsHolder(Protocol):
    """Describes what :class:`LayerTaps` needs from the module that holds a layer's starts (positions of patches).

    From the starts, :class:`LayerTaps` computes which epitome cells each weight index reads.
    """

    geometry: EpitomeGeometry
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


class LayerTaps:
    """Builds a layer's taps from its starts (positions of patches in the epitome).

    Taps are the epitome cells that each weight index reads, and the factor of each cell.

    Taps are kept as long as the stored starts do not change. Those of starts that a rule sets are valid for good.
    """

    def __init__(self) -> None:
        self.cache = InferenceCache()

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
