"""The layers of a compression plan: each layer that is replaced, its epitome and its calls; and each layer that stays dense.

Tests: tests/records/test_compression_plan.py
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import prod
from typing import Any, cast

from nes_lab.errors import PlanError, closest
from nes_lab.geometry.epitome_geometry import Boundary, EpitomeGeometry, Scope
from nes_lab.geometry.flat_geometry import make_geometry
from nes_lab.geometry.stored_types import int8_bytes
from nes_lab.records.counts import QUANTITIES, Counts
from nes_lab.records.options import EpitomeDtype, ExecutionOption, LearnerOptions
from nes_lab.records.plan_table import layer_table
from nes_lab.records.record import Part
from nes_lab.renamed import warn_renamed
from nes_lab.text import format_shape

__all__ = ["Epitome", "KeptLayer", "LayerCalls", "LayerPlan"]


@dataclass(frozen=True)
class Epitome(Part):
    """An epitome (stored tensor) of a compression plan. One or several layers sample their weights from it.

    Args:
        shape: Shape of the epitome in PyTorch's axis order, in cells.
        dtype: Type of the epitome's numbers, such as ``"float32"``. It is empty in plans of older versions, which do not record
            it.
        params: Number of cells of the epitome (numbers that it stores).
        stored_bytes: Bytes of the epitome in a file; 0 if the dtype is not known.

    Examples:
        >>> Epitome.of((32, 64), "float32")
        Epitome(shape=(32, 64), dtype='float32', params=2048, stored_bytes=8192)
    """

    shape: tuple[int, ...]
    dtype: str
    params: int
    stored_bytes: int

    @classmethod
    def of(cls, shape: tuple[int, ...], dtype: str = "") -> Epitome:
        """Make the description of an epitome in a compression plan, from the epitome's shape and dtype.

        Args:
            shape: Shape of the epitome, in cells.
            dtype: Name of the dtype of its numbers; empty if it is not known.
        """
        if dtype == "int8":
            return cls(shape, dtype, prod(shape), int8_bytes(shape))
        bits = re.search(r"[0-9]+", dtype)
        return cls(shape, dtype, prod(shape), prod(shape) * int(bits[0]) // 8 if bits else 0)

    @property
    def counts(self) -> Counts:
        """Params and stored bytes of the epitome. Its multiply-adds are 0, because they count for the layers that read the epitome."""
        return Counts(self.params, 0, self.stored_bytes)


@dataclass(frozen=True)
class LayerCalls(Part):
    """Says how often one forward pass calls a layer with inputs of one shape.

    Args:
        input_shape: Shape of the layer's input.
        times: Number of calls.
    """

    input_shape: tuple[int, ...]
    times: int


@dataclass(frozen=True, repr=False)
class LayerPlan(Part):
    """The plan for replacing one layer by an epitome layer: shapes, options and counts.

    Args:
        kind: Kind of the layer, such as ``conv1d``, ``conv2d`` or ``linear``.
        weight_shape, epitome_shape: Shapes of the weight and the epitome in PyTorch's axis order.
        patch_channels: Lengths of a patch (block of the weight) along output and input channels.
        routing, scope, boundary, execution, seed: Options of the epitome layer.
        dense, predicted: Counts (params, multiply-adds, bytes) of the layer before and after compression.
        options: Options of the index learner (the network that predicts starts), such as ``reach``; empty for the defaults.
        executions: Name of each possible execution plan (way to compute the layer) -> its multiply-adds. Empty in plans of
            older versions.
        unavailable: Name of each execution plan that cannot compute this layer -> the reason.
        why: Settings of the user for this layer that replace the general ones, as text; empty if there are none.
        reads: Name of the epitome from which the layer samples its weight, as in :attr:`CompressionPlan.epitomes`. Empty if the
            epitome has the name of the layer.
        calls: Calls of the dense layer in one forward pass; empty if its parent uses its weight without calling it. None in
            plans of older versions.
        windows: Number of windows whose weighted sum is a patch; more than 1 only with a flat epitome.
        epitome_dtype: ``"int8"`` if the epitome is rounded to integers of 8 bits; ``"float"`` if it has the network's type.

    Raises:
        PlanError: If ``options`` has an unknown name; the message names it.

    Examples:
        >>> import torch, nes_lab
        >>> model, x = torch.nn.Sequential(torch.nn.Linear(64, 64)), torch.zeros(1, 64)
        >>> layer = nes_lab.plan_for_budget(model, nes_lab.Budget(params="60%"), x).layers["0"]
        >>> layer.epitome_shape, round(layer.ratio, 3), layer.resolved_execution
        ((48, 48), 0.569, 'factored')
    """

    kind: str
    weight_shape: tuple[int, ...]
    epitome_shape: tuple[int, ...]
    patch_channels: tuple[int, int]
    routing: str
    scope: Scope
    boundary: Boundary
    execution: ExecutionOption
    seed: int
    dense: Counts
    predicted: Counts
    options: Mapping[str, Any] = field(default_factory=dict)
    executions: Mapping[str, int] = field(default_factory=dict)
    unavailable: Mapping[str, str] = field(default_factory=dict)
    why: str = ""
    reads: str = ""
    calls: tuple[LayerCalls, ...] | None = None
    windows: int = 1
    epitome_dtype: EpitomeDtype = "float"

    def __post_init__(self) -> None:
        for name in self.options:
            if name not in (known := LearnerOptions.names()):
                raise PlanError(
                    f"layer option {name!r} is not known; choose among {', '.join(known)}.{closest(name, known)}"
                )

    def __repr__(self) -> str:
        shapes = f"weight {format_shape(self.weight_shape)} from epitome {format_shape(self.epitome_shape)}"
        counts = ", ".join(
            f"{n} {getattr(self.predicted, n):,} of {getattr(self.dense, n):,}" for n in ("params", "madds")
        )
        return f"LayerPlan: {self.kind}, {shapes}, {self.routing}; {counts}"

    def _repr_html_(self) -> str:
        counts = {name: getattr(self.predicted, name) for name in QUANTITIES}
        dense = {f"{name}_dense": getattr(self.dense, name) for name in QUANTITIES}
        row = {**asdict(self), **counts, **dense, "ratio": self.ratio, "execution": self.resolved_execution}
        table = layer_table([row], before=[repr(self)])
        return replace(table, columns=[c for c in table.columns if c.key not in ("name", "reason")]).html()

    @property
    def geometry(self) -> EpitomeGeometry:
        """Shapes of the layer's weight, epitome and patches, with the options ``scope`` and ``boundary``.

        Raises:
            GeometryError: If a patch does not fit into the epitome.
        """
        shapes = (self.weight_shape, self.epitome_shape, self.patch_channels)
        return make_geometry(*shapes, self.scope, self.boundary, windows=self.windows)

    @property
    def ratio(self) -> float:
        """Params of the layer after compression, divided by its params before compression."""
        return self.predicted.params / self.dense.params

    @property
    def resolved_execution(self) -> ExecutionOption:
        """Name of the execution plan (way to compute the layer) that the layer uses.

        The option ``auto`` means the execution plan with the fewest multiply-adds. In plans of older versions the result stays
        ``auto``, because these plans do not record the multiply-adds.
        """
        if self.execution != "auto" or not self.executions:
            return self.execution
        # the first one if several are equal, as the layer chooses too
        return cast(ExecutionOption, min(self.executions, key=lambda name: self.executions[name]))

    @property
    def runs(self) -> ExecutionOption:
        """Old name of :attr:`resolved_execution`: the execution plan (way to compute the layer) that the layer uses."""
        warn_renamed("LayerPlan.runs", "LayerPlan.resolved_execution")
        return self.resolved_execution

    def with_execution(self, execution: ExecutionOption) -> LayerPlan:
        """Return a copy of this layer's plan with another execution plan (way to compute the layer).

        The multiply-adds are those of the new execution plan.

        Raises:
            PlanError: If the execution plan is not known or cannot run this layer; the message says why.
        """
        if execution in self.unavailable:
            usable = ", ".join(("auto", *self.executions))
            raise PlanError(
                f"execution={execution!r} cannot run this layer: {self.unavailable[execution]}; available: {usable}"
            )
        if self.executions and execution not in ("auto", *self.executions):
            known = ("auto", *self.executions, *self.unavailable)
            raise PlanError(
                f"execution={execution!r} is not known; choose one of {', '.join(known)}.{closest(execution, known)}"
            )
        changed = replace(self, execution=execution)
        madds = self.executions.get(changed.resolved_execution, self.predicted.madds)
        return replace(changed, predicted=replace(self.predicted, madds=madds))

    def layer_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments with which the epitome layer is constructed."""
        return {
            "epitome_shape": self.epitome_shape,
            "patch_channels": self.patch_channels,
            "routing": self.routing,
            "scope": self.scope,
            "boundary": self.boundary,
            "execution": self.execution,
            "seed": self.seed,
            "windows": self.windows,
            "epitome_dtype": self.epitome_dtype,
            **self.options,
        }


@dataclass(frozen=True)
class KeptLayer(Part):
    """A layer that a compression plan leaves dense: the reason why, and the counts of the layer."""

    kind: str
    weight_shape: tuple[int, ...]
    reason: str
    dense: Counts
