"""Hold starts that training no longer changes.

Tests: tests/nn/test_layer.py
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nes_lab.epitome.slices import CellSlice, axis_slices
from nes_lab.geometry.stored_types import start_type
from nes_lab.nn.starts import Starts, anchor_name, offset_name, start_name

__all__ = ["FrozenStarts"]


class FrozenStarts(Starts):
    """Holds starts (positions of patches in the epitome) that training no longer changes.

    The layer's methods ``freeze()`` and ``snap()`` make this module.

    Args:
        source: Module whose current starts are kept.
        snap: True to round the starts to integers, so that each weight reads one cell.
    """

    stored = True

    def __init__(self, source: Starts, snap: bool = False) -> None:
        super().__init__(source.geometry, source.mode, source.seed)
        self.fractional = not snap
        for axis, table in enumerate(source.current()):
            if table is None:
                continue
            kept = table.detach().to(
                source.table(axis).dtype, copy=True
            )  # rounded starts are read as int64, and kept as floats
            self.register_buffer(start_name(self.geometry, axis), kept.round() if snap else kept)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load starts from a state dict.

        A state dict of a layer with ``free`` routing may hold anchors and offsets instead. Their sums are the starts.
        """
        for axis in self.sampled:
            offsets = state_dict.pop(prefix + offset_name(self.geometry, axis), None)
            anchors = state_dict.pop(prefix + anchor_name(self.geometry, axis), None)
            if offsets is not None:
                anchors = self.anchors(axis, offsets.dtype, offsets.device) if anchors is None else anchors
                state_dict[prefix + start_name(self.geometry, axis)] = anchors + offsets
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @property
    def state_name(self) -> str:
        """Word that says in a saved model how the starts (positions of patches in the epitome) were set.

        It is ``snapped`` if they were rounded, otherwise ``frozen``.
        """
        return "frozen" if self.fractional else "snapped"

    def slices(self, axis: int) -> tuple[CellSlice, ...] | None:
        """Return the contiguous slices in which a weight axis reads the epitome: ``(first channel, first cell, length)`` each.

        In each slice, ``length`` neighboring channels read ``length`` neighboring cells, in order. Return None if there are no such
        slices (for example, if patches begin between two cells), or too many of them.
        """
        # while torch.compile traces, the values of the starts are not read: the CPU would have to wait for the GPU
        table = self.table(axis)
        if self.fractional or torch.compiler.is_compiling() or type(table) is not Tensor or table.is_meta:
            return None
        return axis_slices(table.detach().cpu().round().long().numpy(), self.geometry, axis)

    def stored_integers(self) -> dict[str, dict[str, Tensor]]:
        """Return what a file stores instead of the rounded starts: integers of the smallest type that holds them, by name.

        The result is empty if starts can lie between two cells.
        """
        if self.fractional:
            return {}
        return {
            (name := start_name(self.geometry, axis)): {
                name: (self.read(axis) % self.geometry.axes[axis].cells).to(
                    getattr(torch, start_type(self.geometry.axes[axis].cells))
                )
            }
            for axis, _ in self.tables()
        }

    def read(self, axis: int) -> Tensor:
        """Return the starts (positions of patches in the epitome) of one weight axis, as integers if they were rounded."""
        table = self.inside(self.table(axis), axis)
        return table if self.fractional else table.round().long()
