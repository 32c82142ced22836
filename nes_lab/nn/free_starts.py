"""Hold starts as parameters: for each start a learned offset from a fixed position, the anchor.

Weight decay draws parameters toward 0. An offset of 0 leaves the patch at its anchor. A parameter that held the start itself
would be drawn to cell 0 of the epitome.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nes_lab.epitome.compiled_taps import clamp_offsets_, compiles_taps
from nes_lab.epitome.taps import start_limits
from nes_lab.execution.layer_taps import LearnedStarts
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.nn.starts import LayerFacts, Starts, anchor_name, learned_starts, offset_name, start_name

__all__ = ["FreeStarts"]


class _ComputedStarts:
    """Attribute that returns the starts of one weight axis under the name of an earlier version, such as ``starts_out``.

    Reading it gives a warning. It cannot be set.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def _advice(self, axis: int) -> str:
        return (
            f"{self.name} is computed from anchors and offsets; to set starts, call routing.set_starts_({axis}, starts)"
        )

    def _axis(self, starts: FreeStarts) -> int:
        axes = {start_name(starts.geometry, axis): axis for axis in starts.sampled}
        if self.name not in axes:
            raise AttributeError(f"{type(starts).__name__} has no attribute {self.name!r}: this axis has no starts")
        return axes[self.name]

    def __get__(self, starts: FreeStarts | None, owner: type) -> Any:
        if starts is None:
            return self
        axis = self._axis(starts)
        warnings.warn(self._advice(axis), FutureWarning, stacklevel=2)
        with torch.inference_mode():  # torch refuses to write into a tensor made in inference mode
            return starts.read(axis)

    def __set__(self, starts: FreeStarts, value: Any) -> None:
        raise AttributeError(self._advice(self._axis(starts)))


@learned_starts("free")
class FreeStarts(Starts):
    """Holds starts as parameters that training learns.

    Before training, the patches lie side by side, as with ``tiled`` routing.

    A start is the sum of its anchor, which is fixed, and its learned offset, both in cells:

    - Offsets are parameters, named ``start_offsets_<axis>``. They begin at 0.
    - Anchors are buffers, named ``start_anchors_<axis>``. At first they are the starts of ``tiled`` routing. They are then
      left out of state dicts, because they can be computed again. Anchors are stored in state dicts if they were set by
      :meth:`set_starts_`, by a search (:func:`nes_lab.fit`), or from a file.

    ``load_state_dict`` restores the saved starts exactly. It also reads the keys ``starts_<axis>`` of earlier versions, of
    frozen layers and of :func:`nes_lab.save_pretrained`. Their values are starts in cells. These become the anchors, and
    the offsets become 0.
    """

    fractional = stored = learned = True
    starts_out, starts_in = _ComputedStarts(), _ComputedStarts()
    starts_k0, starts_k1, starts_k2 = _ComputedStarts(), _ComputedStarts(), _ComputedStarts()

    def __init__(self, geometry: EpitomeGeometry, dtype: torch.dtype, device: torch.device | str | None = None) -> None:
        super().__init__(geometry, "free")
        for axis in self.sampled:
            anchors = self.anchors(axis, dtype, device)
            self.register_parameter(offset_name(geometry, axis), nn.Parameter(torch.zeros_like(anchors)))
            self.register_buffer(anchor_name(geometry, axis), anchors, persistent=False)
        self._names = [name for axis in self.sampled for name in self._pair(axis)]

    @classmethod
    def for_layer(cls, routing: str, facts: LayerFacts) -> FreeStarts:
        """Make the module that holds the starts (positions of patches in the epitome) of a new layer, as parameters."""
        return cls(facts.geometry, facts.starts_dtype, facts.device)

    def _pair(self, axis: int) -> tuple[str, str]:
        return offset_name(self.geometry, axis), anchor_name(self.geometry, axis)

    def table(self, axis: int) -> Tensor:
        """Return the parameter that holds the learned offsets of one weight axis.

        A start is the sum of its anchor, which is fixed, and its offset.
        """
        return getattr(self, offset_name(self.geometry, axis))

    def anchor(self, axis: int) -> Tensor:
        """Return the anchors of one weight axis. A start is the sum of its anchor, which is fixed, and its learned offset."""
        return getattr(self, anchor_name(self.geometry, axis))

    def unclamped(self, axis: int) -> Tensor:
        """Return the starts of one weight axis. Each is the sum of its anchor, which is fixed, and its learned offset.

        The starts are not clamped, so patches may reach outside the epitome.
        """
        return self.anchor(axis) + self.table(axis)

    def set_starts_(self, axis: int, starts: Tensor) -> None:
        """Set the starts (positions of patches in the epitome) of one weight axis, in cells.

        A start is the sum of its anchor, which is fixed, and its learned offset. The given starts become the anchors,
        and the offsets become 0.
        """
        with torch.no_grad():
            self.anchor(axis).copy_(starts)
            self.table(axis).zero_()
        self._store_anchor(axis, True)

    def hold_(self, axis: int, starts: Tensor, offsets: nn.Parameter) -> None:
        """Replace the tensors that hold the anchors and the offsets of one weight axis.

        A start is the sum of its anchor, which is fixed, and its learned offset. The module keeps the given tensors and
        does not copy them.

        Args:
            axis: Index of the weight axis.
            starts: The new anchors, in cells.
            offsets: The new offsets, in cells.
        """
        for name, tensor in zip(self._pair(axis), (offsets, starts), strict=True):
            setattr(self, name, tensor)
        self._store_anchor(axis, True)

    def _store_anchor(self, axis: int, stored: bool) -> None:
        """Set whether state dicts hold the anchors of a weight axis.

        A start is the sum of its anchor, which is fixed, and its learned offset. Anchors that the rule ``tiled`` gives
        need not be stored.
        """
        change = self._non_persistent_buffers_set.discard if stored else self._non_persistent_buffers_set.add
        change(anchor_name(self.geometry, axis))

    def _by_rule(self, axis: int) -> bool:
        return anchor_name(self.geometry, axis) in self._non_persistent_buffers_set

    def derive(self) -> None:
        """Compute the starts of the rule ``tiled`` again, and store them in the anchors that come from this rule.

        A start is the sum of its anchor, which is fixed, and its learned offset.
        """
        with torch.no_grad():
            for axis in filter(self._by_rule, self.sampled):
                anchor = self.anchor(axis)
                anchor.copy_(self.anchors(axis, anchor.dtype, anchor.device))

    def reset(self) -> None:
        """Set the starts (positions of patches in the epitome) back to their values before training.

        These are the starts of ``tiled`` routing.
        """
        for axis, table in self.tables():
            self._store_anchor(axis, False)
            with torch.no_grad():
                table.zero_()
        self.derive()

    def read(self, axis: int) -> Tensor:
        """Return the starts of one weight axis, clamped so that patches stay inside the epitome.

        With the circular boundary, where patches wrap around the end of the epitome, starts are not clamped.
        """
        return self.inside(self.unclamped(axis), axis)

    def forward(self, x: Tensor) -> tuple[Tensor | None, ...]:
        """Return the starts of each weight axis; None for an axis without starts.

        A start is the sum of its anchor, which is fixed, and its learned offset. In training mode, the stored offsets
        are first clamped so that patches stay inside the epitome. With the circular boundary, where patches wrap around
        the end of the epitome, offsets are not clamped.
        """
        if self.training and self.geometry.boundary == "clamp" and not torch.jit.is_tracing():  # it ignores no_grad
            for axis in self.sampled:
                self._clamp_offsets(axis)
        return self.current()

    def _clamp_offsets(self, axis: int) -> None:
        """Clamp the stored offsets of one weight axis so that patches stay inside the epitome."""
        with torch.no_grad():
            anchor, table = self.anchor(axis), self.table(axis)
            limits = start_limits(self.geometry, axis, table)
            if compiles_taps(table):
                clamp_offsets_(table, anchor, limits)
            else:
                table.clamp_(-anchor, limits - anchor)

    def learned_starts(self, x: Tensor) -> LearnedStarts:
        """Return the starts of one training step. They may lie outside the epitome until :meth:`clamp_stored` was called.

        Args:
            x: Input of the layer; it does not matter here.
        """
        return self._learned_starts()

    def _learned_starts(self) -> LearnedStarts:
        tables, values, names, held = [], [], self._names, self._parameters
        for offsets, anchors in zip(names[::2], names[1::2], strict=True):
            table = held.get(offsets)  # it takes less time than an attribute
            tables.append(getattr(self, offsets) if table is None else table)
            values.append(self._array(anchors, self._buffers.get(anchors)) + self._array(offsets, tables[-1]))
        joined = values[0] if len(values) == 1 else np.concatenate(values)
        return LearnedStarts(tuple(tables), joined, self.geometry.boundary == "clamp")

    def clamp_stored(self, learned: LearnedStarts) -> LearnedStarts:
        """Clamp the stored offsets in training mode, if some starts lie outside the epitome. Return the starts of the step again."""
        if not (self.training and learned.clamped):
            return learned
        limits = self._joined_limits(learned.values.dtype)
        inside, begin = (learned.values >= 0) & (learned.values <= limits), 0
        if np.count_nonzero(inside) == len(inside):
            return learned
        for axis, table in self.tables():
            part = slice(begin, begin + len(table))
            begin = part.stop
            if not inside[part].all():
                offsets, anchors = self._pair(axis)
                anchor = self._array(anchors)
                clamped = np.minimum(np.maximum(self._array(offsets), -anchor), limits[part] - anchor)
                with torch.no_grad():
                    table.copy_(torch.from_numpy(clamped))
        return self._learned_starts()

    def from_tensors(self, tensors: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        """Return the starts of each weight axis from given offsets. Gradients reach the offsets.

        Args:
            tensors: The offsets of each axis that has starts.
        """
        starts: list[Tensor | None] = [None] * len(self.geometry.axes)
        for axis, table in zip(self.sampled, tensors, strict=True):
            starts[axis] = self.inside(self.anchor(axis) + table, axis)
        return tuple(starts)

    def __dir__(self) -> list[str]:
        """List the names of the attributes, except the names ``starts_<axis>`` of an earlier version.

        ``torch.jit.trace`` reads every listed attribute. Reading one of the old names would give a warning.
        """
        return [name for name in super().__dir__() if not name.startswith("starts_")]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for axis in self.sampled:
            offsets, anchor = (prefix + name for name in self._pair(axis))
            absolute = state_dict.pop(prefix + start_name(self.geometry, axis), None)
            if absolute is not None:
                state_dict[anchor], state_dict[offsets] = absolute, torch.zeros_like(absolute)
            if offsets in state_dict:
                self._store_anchor(axis, anchor in state_dict)
        self.derive()
        super()._load_from_state_dict(state_dict, prefix, *rest)
