"""Turn the starts of a layer (positions of patches) into taps.

Taps are the epitome cells that each weight index reads, and the factor of each cell. They are cached until the starts
change.

Tests: tests/nn/test_layer.py
"""

from __future__ import annotations

from typing import Protocol

import torch
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

    def slices(self, axis: int) -> tuple[CellSlice, ...] | None:
        """Return the contiguous slices in which a weight axis reads the epitome: ``(first channel, first cell, length)`` each.

        In each slice, ``length`` neighboring channels read ``length`` neighboring cells, in order. Return None if there are no such
        slices (for example, if patches begin between two cells), or too many of them.
        """
        ...

    def stored_tables(self) -> list[Tensor | None]:
        """Return the tensors that hold the starts (positions of patches in the epitome).

        Cached taps (the epitome cells that each weight index reads) are valid until one of these tensors changes.
        """
        ...


class LayerTaps:
    """Builds a layer's taps from its starts (positions of patches in the epitome).

    Taps are the epitome cells that each weight index reads, and the factor of each cell.

    If no start needs a gradient, the taps are cached until the stored starts change.
    """

    def __init__(self) -> None:
        self._cache = InferenceCache()

    @staticmethod
    def build(holder: StartsHolder, starts: tuple[Tensor | None, ...]) -> Taps:
        """Build the taps of each weight axis; None for an axis without starts.

        Starts are the positions of patches in the epitome. Taps are the epitome cells that each index along the axis
        reads, and the factor of each cell.
        """
        fractional, geometry = holder.fractional, holder.geometry
        return [
            None if s is None else axis_taps(s, geometry, axis, fractional, holder.slices(axis))
            for axis, s in enumerate(starts)
        ]

    def get(self, holder: StartsHolder, starts: tuple[Tensor | None, ...]) -> Taps:
        """Return the taps of each weight axis for the given starts.

        Starts are the positions of patches in the epitome. Taps are the epitome cells that each index along the axis
        reads, and the factor of each cell. If the stored starts have not changed, the taps come from the cache.
        """
        if any(s is not None and s.requires_grad for s in starts):
            self._cache.clear()
            return self.build(holder, starts)
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return self.build(holder, starts)
        kept = self._cache.values(holder.stored_tables())
        if kept is None:
            return self.build(holder, starts)
        if not kept:
            kept["taps"] = self.build(holder, starts)
        return kept["taps"]
