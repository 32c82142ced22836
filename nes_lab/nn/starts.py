"""Modules that hold a layer's starting indices: a fixed rule, parameters, or a frozen table.

The index learner is in :mod:`nes_lab.nn.index_learner`. To add a learned routing, write a subclass of :class:`Starts` with
``learned = True``, register it with :func:`learned_starts`, and describe it with
:func:`nes_lab.geometry.start_rules.learned_routing`.

Tests: tests/nn/test_layer.py, tests/geometry/test_start_rules.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from nes_lab.epitome.slices import CellSlice, axis_slices
from nes_lab.epitome.taps import clamp_starts, start_limits
from nes_lab.execution.base import AxisState
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.geometry.start_rules import routing_mode, rule_starts

__all__ = [
    "LEARNED_STARTS",
    "FixedStarts",
    "FreeStarts",
    "FrozenStarts",
    "LayerFacts",
    "Starts",
    "learned_starts",
    "make_starts",
    "start_name",
]

StartsClass = TypeVar("StartsClass", bound="type[Starts]")
LEARNED_STARTS: dict[str, type[Starts]] = {}
"""Learned routing -> the class that holds its starts; every other routing mode is a rule of :class:`FixedStarts`."""


def start_name(geometry: EpitomeGeometry, axis: int) -> str:
    """Return the name of an axis's starts in a state dict."""
    return f"starts_{geometry.axes[axis].name}"


@dataclass(frozen=True)
class LayerFacts:
    """Facts about a layer that its starts depend on.

    Args:
        geometry: Shapes, scope and boundary.
        channels: Input channels of the layer.
        spatial: Spatial axes of its input; 0 for a linear layer.
        seed: Seed of ``random``.
        options: ``reach``, ``squash``, ``momentum`` and ``learner``.
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
        """Return the dtype of learned starts: float64 in a float64 layer, float32 in any other."""
        dtype = torch.get_default_dtype() if self.dtype is None else self.dtype
        return torch.float64 if dtype == torch.float64 else torch.float32


def learned_starts(name: str) -> Callable[[StartsClass], StartsClass]:
    """Register the class that holds the starts of a learned routing."""

    def register(kind: StartsClass) -> StartsClass:
        LEARNED_STARTS[name] = kind
        return kind

    return register


def make_starts(routing: str, facts: LayerFacts) -> Starts:
    """Make the holder of a layer's starts.

    Raises:
        OptionError: If no routing mode has the name.
    """
    kind = LEARNED_STARTS[routing] if routing_mode(routing).learned else FixedStarts
    return kind.for_layer(routing, facts)


class Starts(nn.Module):
    """Base of the modules that hold starts.

    Floating-point starts stay in float32 or float64, whatever dtype the model is cast to: bfloat16 cannot represent a start of
    257.5 cells.

    Args:
        geometry: Shapes, scope and boundary.
        mode: Routing mode.
        seed: Seed of ``random``.
    """

    fractional = False
    """Whether a start may lie between two cells."""
    stored = False
    """Whether the starts are stored with the model; those of a rule are computed again."""
    learned = False
    """Whether training moves the starts."""
    averaged = False
    """Whether the stored starts are a moving average, so that there is a ``momentum``."""
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
        """Make the holder for a new layer."""
        raise NotImplementedError(f"{cls.__name__} is not made for a new layer")

    @property
    def axis_states(self) -> tuple[AxisState, ...]:
        """Per weight axis ``identity``, ``integer`` or ``fractional``."""
        return self._states[self.fractional]

    @property
    def state_name(self) -> str:
        """State of the starts, as saved models write it: ``rule``, a learned routing, ``frozen`` or ``snapped``."""
        return self.mode if self.learned else "rule"

    @property
    def searchable(self) -> bool:
        """Whether :func:`nes_lab.fit` may store starts that it has searched for."""
        return self.stored and not routing_mode(self.mode).not_searched

    def options(self) -> dict[str, Any]:
        """Further layer arguments that this routing was made with."""
        return {}

    def learner_params(self) -> int:
        """Number of parameters that are needed in training only."""
        return 0

    def table(self, axis: int) -> Tensor:
        """Return the stored starts of a sampled axis."""
        return getattr(self, start_name(self.geometry, axis))

    def tables(self) -> Iterator[tuple[int, Tensor]]:
        """Iterate over the sampled axes and their stored starts."""
        return ((axis, self.table(axis)) for axis in self.sampled)

    def stored_tables(self) -> list[Tensor | None]:
        """Return the stored starts without their axes. Called at every inference."""
        return [getattr(self, name) for name in self._names]

    def current(self) -> tuple[Tensor | None, ...]:
        """Return the starts per weight axis as inference uses them; integers where no start is fractional."""
        return tuple(self.read(axis) if axis in self.sampled else None for axis in range(len(self.geometry.axes)))

    def read(self, axis: int) -> Tensor:
        """Return the starts of one sampled axis, inside their limits."""
        return self.table(axis)

    def slices(self, axis: int) -> tuple[CellSlice, ...] | None:
        """Return the contiguous reads of a sampled axis; None where they are many, or known only to the GPU."""
        return None

    def forward(self, x: Tensor) -> tuple[Tensor | None, ...]:
        """Return the starts for this batch; in training this may change the stored starts."""
        return self.current()

    def stored_params(self) -> int:
        """Count the numbers that must be stored for inference."""
        return sum(t.numel() for _, t in self.tables()) if self.stored else 0

    def anchors(self, axis: int, dtype: torch.dtype, device: torch.device | str | None) -> Tensor:
        """Return the rule's starts as real numbers."""
        rule = rule_starts(self.geometry, self.mode, self.seed)[axis]
        return torch.as_tensor(rule).to(device=device, dtype=dtype)

    def inside(self, starts: Tensor, axis: int) -> Tensor:
        """Clamp starts to their limits. With the circular boundary return them unchanged."""
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
        """Compute buffers that no state dict holds again, as needed after ``to_empty()`` from the meta device."""

    def reset(self) -> None:
        """Set the starts back to their values after construction."""
        self.derive()

    def leave_meta(self, device: torch.device) -> None:
        """Move buffers that no state dict holds from the meta device to ``device``, after ``load_state_dict(assign=True)``."""
        if device.type == "meta":
            return
        for name in self._non_persistent_buffers_set:
            buffer = self._buffers[name]
            if buffer is not None and buffer.is_meta:
                self._buffers[name] = torch.empty_like(buffer, device=device)
        self.derive()

    def extra_repr(self) -> str:
        """Return mode and shapes of the tables for ``repr``."""
        return ", ".join([self.mode, *(f"{self.geometry.axes[a].name}={tuple(t.shape)}" for a, t in self.tables())])


def _own(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(recurse=False)
    yield from module.named_buffers(recurse=False)


class FixedStarts(Starts):
    """Starts set by a fixed rule: integers that are not stored with the model."""

    def __init__(
        self, geometry: EpitomeGeometry, mode: str, seed: int = 0, device: torch.device | str | None = None
    ) -> None:
        super().__init__(geometry, mode, seed)
        rule = rule_starts(geometry, mode, seed)
        for axis in self.sampled:
            self.register_buffer(start_name(geometry, axis), torch.as_tensor(rule[axis]).to(device), persistent=False)
        self._slices = [None if table is None else axis_slices(table, geometry, a) for a, table in enumerate(rule)]

    @classmethod
    def for_layer(cls, routing: str, facts: LayerFacts) -> FixedStarts:
        """Make the holder for a new layer."""
        return cls(facts.geometry, routing, facts.seed, facts.device)

    def slices(self, axis: int) -> tuple[CellSlice, ...] | None:
        """Return the contiguous reads of the rule's starts, which never change."""
        return self._slices[axis]

    def derive(self) -> None:
        """Write the rule's starts into the buffers."""
        rule = rule_starts(self.geometry, self.mode, self.seed)
        for axis, table in self.tables():
            table.copy_(torch.as_tensor(rule[axis]))


@learned_starts("free")
class FreeStarts(Starts):
    """Starts that are parameters, in cells, and begin at the integer tiling."""

    fractional = stored = learned = True

    def __init__(self, geometry: EpitomeGeometry, dtype: torch.dtype, device: torch.device | str | None = None) -> None:
        super().__init__(geometry, "free")
        for axis in self.sampled:
            anchors = self.anchors(axis, dtype, device)
            self.register_parameter(start_name(geometry, axis), nn.Parameter(anchors))

    @classmethod
    def for_layer(cls, routing: str, facts: LayerFacts) -> FreeStarts:
        """Make the holder for a new layer."""
        return cls(facts.geometry, facts.starts_dtype, facts.device)

    def reset(self) -> None:
        """Set the starts back to the integer tiling."""
        with torch.no_grad():
            for axis, table in self.tables():
                table.copy_(self.anchors(axis, table.dtype, table.device))

    def read(self, axis: int) -> Tensor:
        """Return the parameter, clamped to its limits."""
        return self.inside(self.table(axis), axis)

    def forward(self, x: Tensor) -> tuple[Tensor | None, ...]:
        """Return the starts for this batch; in training the stored ones are first moved back inside their limits."""
        if self.training and self.geometry.boundary == "clamp":
            with torch.no_grad():
                for axis, table in self.tables():
                    table.copy_(torch.minimum(table.clamp_min(0), start_limits(self.geometry, axis, table)))
        return self.current()


class FrozenStarts(Starts):
    """A table of starts that training no longer changes, made by ``freeze()`` and ``snap()``.

    Args:
        source: The module whose current starts are kept.
        snap: Round them to integers, so that each weight reads one cell.
    """

    stored = True

    def __init__(self, source: Starts, snap: bool = False) -> None:
        super().__init__(source.geometry, source.mode, source.seed)
        self.fractional = not snap
        for axis, table in enumerate(source.current()):
            if table is None:
                continue
            kept = table.detach().clone()
            self.register_buffer(start_name(self.geometry, axis), kept.round() if snap else kept)

    @property
    def state_name(self) -> str:
        """``frozen``, or ``snapped`` where the starts were rounded."""
        return "frozen" if self.fractional else "snapped"

    def slices(self, axis: int) -> tuple[CellSlice, ...] | None:
        """Return the contiguous slices of the snapped starts, or None.

        None while compiling, because reading the table would synchronize with the GPU.
        """
        table = self.table(axis)
        if self.fractional or torch.compiler.is_compiling() or type(table) is not Tensor or table.is_meta:
            return None
        return axis_slices(table.detach().cpu().round().long().numpy(), self.geometry, axis)

    def read(self, axis: int) -> Tensor:
        """Return the table, as integers if snapped."""
        table = self.inside(self.table(axis), axis)
        return table if self.fractional else table.round().long()
