"""Define the base class of the modules that hold a layer's starts (starting indices), and register those that are learned.

Starts that a rule sets are in :mod:`nes_lab.nn.fixed_starts`, starts that are no longer learned in :mod:`nes_lab.nn.frozen_starts`.
Starts that are learned as parameters are in :mod:`nes_lab.nn.free_starts`. Starts that are predicted from the input are in
:mod:`nes_lab.nn.index_learner`. To add a learned routing, write a subclass of
:class:`Starts` with ``learned = True``, register it with :func:`learned_starts`, and describe it with
:func:`nes_lab.geometry.start_rules.learned_routing`.

Tests: tests/nn/test_layer.py, tests/geometry/test_start_rules.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from nes_lab.epitome.array_views import ArrayViews
from nes_lab.epitome.slices import CellSlice
from nes_lab.epitome.taps import clamp_starts, start_limits
from nes_lab.execution.base import AxisState
from nes_lab.execution.layer_taps import LearnedStarts
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.geometry.start_rules import routing_mode, rule_starts

__all__ = [
    "LEARNED_STARTS",
    "LayerFacts",
    "Starts",
    "anchor_name",
    "learned_starts",
    "offset_name",
    "start_name",
]

StartsClass = TypeVar("StartsClass", bound="type[Starts]")
LEARNED_STARTS: dict[str, type[Starts]] = {}
"""Class that holds the starts of each learned routing. All other routing modes are rules and use :class:`FixedStarts`."""


def start_name(geometry: EpitomeGeometry, axis: int) -> str:
    """Return the name of the starts (positions of patches) of one weight axis in a state dict, such as ``starts_out``."""
    return f"starts_{geometry.axes[axis].name}"


def offset_name(geometry: EpitomeGeometry, axis: int) -> str:
    """Return the name in a state dict of the learned offsets of one weight axis.

    A start is the sum of its anchor, which is fixed, and its offset.
    """
    return f"start_offsets_{geometry.axes[axis].name}"


def anchor_name(geometry: EpitomeGeometry, axis: int) -> str:
    """Return the name in a state dict of the anchors of one weight axis.

    A start is the sum of its anchor, which is fixed, and its learned offset.
    """
    return f"start_anchors_{geometry.axes[axis].name}"


@dataclass(frozen=True)
class LayerFacts:
    """Holds the properties of a layer that are needed to make the module that holds its starts (positions of patches).

    :func:`make_starts` makes this module.

    Args:
        geometry: Shapes of the weight, the epitome and the patches, and the layer's ``scope`` and ``boundary``.
        channels: Number of input channels of the layer.
        spatial: Number of spatial axes of the layer's input; 0 for a linear layer.
        seed: Seed of ``random`` routing.
        options: Values of the layer's arguments ``reach``, ``squash``, ``momentum`` and ``learner``, by name.
        device: Device of the layer; None: torch's default.
        dtype: dtype of the layer; None: torch's default.
    """

    geometry: EpitomeGeometry
    channels: int
    spatial: int
    seed: int
    options: dict[str, Any]
    device: torch.device | str | None
    dtype: torch.dtype | None

    @property
    def starts_dtype(self) -> torch.dtype:
        """Data type of learned starts (positions of patches): float64 in a float64 layer, float32 in any other."""
        dtype = torch.get_default_dtype() if self.dtype is None else self.dtype
        return torch.float64 if dtype == torch.float64 else torch.float32


def learned_starts(name: str) -> Callable[[StartsClass], StartsClass]:
    """Return a decorator that registers a class for a learned routing, which is one way to train starts.

    Starts are the positions of patches in the epitome. The class holds the starts of layers with this routing.

    Args:
        name: Name of the routing.
    """

    def register(kind: StartsClass) -> StartsClass:
        LEARNED_STARTS[name] = kind
        return kind

    return register


class Starts(nn.Module):
    """Base class of the modules that hold a layer's starts: the positions of patches in the epitome.

    Floating-point starts stay in float32 or float64 even if the model is cast to another dtype. The dtype bfloat16, for
    example, cannot represent a start of 257.5 cells.

    Args:
        geometry: Shapes of the weight, the epitome and the patches, and the layer's ``scope`` and ``boundary``.
        mode: Name of the routing mode, which says how the starts are set, such as ``tiled``.
        seed: Seed of ``random`` routing.
    """

    fractional = False
    """True if a start can lie between two cells."""
    stored = False
    """True if the starts are stored with the model. Starts set by a rule are not stored; they are computed again."""
    learned = False
    """True if training moves the starts."""
    averaged = False
    """True if the stored starts are a moving average; then there is a ``momentum``."""
    momentum: float

    def __init__(self, geometry: EpitomeGeometry, mode: str, seed: int = 0) -> None:
        super().__init__()
        self.geometry, self.mode, self.seed = geometry, mode, seed
        rule = rule_starts(geometry, mode, seed)
        self.sampled = tuple(axis for axis, table in enumerate(rule) if table is not None)
        self._names = [start_name(geometry, axis) for axis in self.sampled]
        self._states: dict[bool, tuple[AxisState, ...]] = {
            False: self._moving("integer"),
            True: self._moving("fractional"),
        }

    def _moving(self, state: AxisState) -> tuple[AxisState, ...]:
        return tuple(state if axis in self.sampled else "identity" for axis in range(len(self.geometry.axes)))

    @classmethod
    def for_layer(cls, routing: str, facts: LayerFacts) -> Starts:
        """Make the module that holds the starts (positions of patches in the epitome) of a new layer."""
        raise NotImplementedError(f"{cls.__name__} is not made for a new layer")

    @property
    def axis_states(self) -> tuple[AxisState, ...]:
        """Words that say how each weight axis is read from the epitome: ``identity``, ``integer`` or ``fractional``.

        - ``identity``: each index reads the cell of the same index
        - ``integer``: each index reads one cell, because patches begin at whole cells
        - ``fractional``: each index reads two neighboring cells and blends them
        """
        return self._states[self.fractional]

    @property
    def state_name(self) -> str:
        """Word that says in a saved model how the starts (positions of patches in the epitome) were set.

        - ``rule``: by a fixed rule
        - the name of a learned routing, such as ``free``: by training
        - ``frozen``: by training, after which the layer's method ``freeze()`` was called
        - ``snapped``: rounded to integers
        """
        return self.mode if self.learned else "rule"

    @property
    def searchable(self) -> bool:
        """True if :func:`nes_lab.fit` may search for better starts (positions of patches) and store them in this module."""
        return self.stored and not routing_mode(self.mode).not_searched

    def options(self) -> dict[str, Any]:
        """Return the layer's arguments that only this routing (way to set starts) uses, by name; empty for most routings."""
        return {}

    def learner_params(self) -> int:
        """Count the parameters of the network that predicts the starts; 0 if there is no such network."""
        return 0

    def table(self, axis: int) -> Tensor:
        """Return the tensor that holds the starts of one weight axis.

        With ``free`` routing, a start is the sum of its anchor, which is fixed, and its learned offset. The tensor of
        the offsets is then returned.
        """
        return getattr(self, start_name(self.geometry, axis))

    def set_starts_(self, axis: int, starts: Tensor) -> None:
        """Set the starts (positions of patches in the epitome) of one weight axis, in cells.

        Args:
            axis: Index of the weight axis.
            starts: The new starts, of the shape ``geometry.starts_shape(axis)``.
        """
        with torch.no_grad():
            self.table(axis).copy_(starts)

    def tables(self) -> Iterator[tuple[int, Tensor]]:
        """Iterate over the weight axes that have starts (positions of patches in the epitome).

        Yields pairs: the index of the axis, and the tensor that holds its starts (see :meth:`table`).
        """
        return ((axis, self.table(axis)) for axis in self.sampled)

    def stored_tables(self) -> list[Tensor]:
        """Return all tensors from which the starts (positions of patches in the epitome) are computed, as a list."""
        # every forward pass calls this method, so it must be fast
        return [getattr(self, name) for name in self._names]

    def current(self) -> tuple[Tensor | None, ...]:
        """Return the starts (positions of patches) that inference uses, one tensor per weight axis.

        An axis without starts has None; each index along it reads the cell of the same index.
        """
        return tuple(self.read(axis) if axis in self.sampled else None for axis in range(len(self.geometry.axes)))

    def read(self, axis: int) -> Tensor:
        """Return the starts (positions of patches in the epitome) that inference uses for one weight axis.

        A subclass may clamp or round the stored starts.
        """
        return self.table(axis)

    def slices(self, axis: int) -> tuple[CellSlice, ...] | None:
        """Return the contiguous slices in which a weight axis reads the epitome: ``(first channel, first cell, length)`` each.

        In each slice, ``length`` neighboring channels read ``length`` neighboring cells, in order. Return None if there are no such
        slices (for example, if patches begin between two cells), or too many of them.
        """
        return None

    def forward(self, x: Tensor) -> tuple[Tensor | None, ...]:
        """Return the starts (positions of patches) of each weight axis for the layer's input ``x``.

        An axis without starts has None. In training mode this may change the stored starts.
        """
        return self.current()

    def _array(self, name: str, tensor: Tensor | None = None) -> np.ndarray:
        """Return a tensor as a numpy array that shares its memory. Do not write into it.

        Args:
            name: Name of the tensor.
            tensor: The tensor; None: it is this module's attribute of this name.
        """
        views = vars(self).get("_views")
        if views is None:
            views = self._views = ArrayViews()
        return views.of(name, getattr(self, name) if tensor is None else tensor)

    def _joined_limits(self, dtype: np.dtype) -> np.ndarray:
        """Return the largest start of each patch, one weight axis after the other, as a numpy array. Do not write into it."""
        kept = vars(self).setdefault("_kept_limits", {})
        limits = kept.get(dtype)
        if limits is None:
            limits = kept[dtype] = np.concatenate([self.geometry.limits(a) for a in self.sampled]).astype(dtype)
        return limits

    def learned_starts(self, x: Tensor) -> LearnedStarts:
        """Return the starts (positions of patches in the epitome) of one training step, for :mod:`nes_lab.execution.layer_taps`.

        Args:
            x: Input of the layer.
        """
        raise NotImplementedError(f"the starts of {type(self).__name__} are not learned")

    def clamp_stored(self, learned: LearnedStarts) -> LearnedStarts:
        """Clamp the stored starts in training mode, if some lie outside the epitome, and return the starts of the step again.

        Args:
            learned: The starts of the step. Starts that cannot lie outside are returned unchanged.
        """
        return learned

    def from_tensors(self, tensors: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        """Return the starts of each weight axis from the tensors that :meth:`learned_starts` returned. Gradients reach them.

        Args:
            tensors: The tensors, or others of the same shapes.
        """
        raise NotImplementedError(f"the starts of {type(self).__name__} are not learned")

    def stored_params(self) -> int:
        """Count the starts (positions of patches) that must be stored for inference; 0 if a fixed rule sets the starts."""
        return sum(t.numel() for _, t in self.tables()) if self.stored else 0

    def anchors(self, axis: int, dtype: torch.dtype, device: torch.device | str | None) -> Tensor:
        """Return the starts (positions of patches in the epitome) that a fixed rule gives for one weight axis.

        They are floating-point numbers. The rule is the one that the layer's ``routing`` names. If the starts are
        learned, the rule is ``tiled``.
        """
        rule = rule_starts(self.geometry, self.mode, self.seed)[axis]
        return torch.as_tensor(rule).to(device=device, dtype=dtype)

    def inside(self, starts: Tensor, axis: int) -> Tensor:
        """Clamp starts so that patches stay inside the epitome.

        With the circular boundary, where patches wrap around the end of the epitome, starts are not clamped.
        """
        if self.geometry.boundary == "circular":
            return starts
        return clamp_starts(starts, start_limits(self.geometry, axis, starts))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Starts:
        kept = {name: t.detach() for name, t in _own(self) if t.is_floating_point()}
        super()._apply(fn, recurse)
        for name, tensor in _own(self):
            if name in kept and tensor.is_floating_point() and tensor.itemsize < 4:
                tensor.data = kept[name].to(tensor.device)
        self.derive()
        return self

    def derive(self) -> None:
        """Compute the values of the buffers that are not part of a state dict.

        This is needed, for example, after ``to_empty()``, which leaves tensors without values.
        """

    def reset(self) -> None:
        """Set the starts (positions of patches in the epitome) back to those of a new layer."""
        self.derive()

    def leave_meta(self, device: torch.device) -> None:
        """Move the buffers that are not part of a state dict from the meta device to ``device``, and compute their values.

        This is needed after ``load_state_dict(assign=True)``, which replaces only the tensors of the state dict.
        """
        if device.type == "meta":
            return
        for name in self._non_persistent_buffers_set:
            buffer = self._buffers[name]
            if buffer is not None and buffer.is_meta:
                self._buffers[name] = torch.empty_like(buffer, device=device)
        self.derive()

    def extra_repr(self) -> str:
        """Return the routing mode and the shape of each axis's starts (positions of patches), as text for ``repr``."""
        return ", ".join([self.mode, *(f"{self.geometry.axes[a].name}={tuple(t.shape)}" for a, t in self.tables())])


def _own(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(recurse=False)
    yield from module.named_buffers(recurse=False)
