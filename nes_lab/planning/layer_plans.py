"""Plans of single layers: the counts a layer will have for a given epitome, and all of them put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, get_args

from nes_lab.errors import OptionError, check_choice, check_int
from nes_lab.execution.base import AxisState, LayerForm
from nes_lab.execution.registry import EXECUTIONS
from nes_lab.geometry.epitome_geometry import Boundary, EpitomeGeometry, Scope
from nes_lab.geometry.start_rules import routing_mode, sampled_axes
from nes_lab.nn.index_learner import check_learner_options
from nes_lab.planning.survey import Survey, SurveyedLayer
from nes_lab.records.budget import Budget
from nes_lab.records.compression_plan import LAYER_OPTIONS, CompressionPlan, KeptLayer, LayerPlan
from nes_lab.records.counts import Counts, total

__all__ = ["EpitomeOptions", "assemble", "plan_layer"]

_LEARNED_PATCH = 16
_BYPASSED = "its parent uses its weight and bypasses its forward"


@dataclass(frozen=True)
class EpitomeOptions:
    """What all epitome layers of a plan share, but for overrides.

    Args:
        routing, scope, boundary: As the layers take them.
        patch_channels: Patch length along both channel axes, or one for each; None: the whole axis, or 16 where starts are learned.
        seed: Of ``random``; the layer's index is added.
        layer: Further keyword arguments of the layers, such as ``reach``.
    """

    routing: str = "tiled"
    scope: str = "separable"
    boundary: str = "clamp"
    patch_channels: int | tuple[int, int] | None = None
    seed: int = 0
    layer: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        routing_mode(self.routing)
        check_choice("scope", self.scope, get_args(Scope))
        check_choice("boundary", self.boundary, get_args(Boundary))
        _check_patch(self.patch_channels)
        check_int("seed", self.seed, 0)
        for name in self.layer or ():
            check_choice("layer_options", name, LAYER_OPTIONS)
        check_learner_options(**(self.layer or {}))

    def patch(self, epitome_shape: Sequence[int]) -> tuple[int, int]:
        """Patch of a layer, at most as long as its epitome."""
        learned = routing_mode(self.routing).learned
        length = self.patch_channels or (_LEARNED_PATCH if learned else max(epitome_shape[:2]))
        out, inner = length if isinstance(length, tuple) else (length, length)
        return min(out, epitome_shape[0]), min(inner, epitome_shape[1])


def _check_patch(value: object) -> None:
    if isinstance(value, tuple):
        if len(value) != 2:
            raise OptionError(f"patch_channels={value!r}; give one whole number, or a pair: (output, input) channels")
        for length in value:
            check_int("patch_channels", length, 1)
    elif value is not None:
        check_int("patch_channels", value, 1)


def plan_layer(
    layer: SurveyedLayer,
    index: int,
    epitome_shape: tuple[int, ...],
    dense: Counts,
    options: EpitomeOptions,
    why: str = "",
) -> LayerPlan:
    """Plan of one layer for a given epitome shape, with the counts it will have under every execution plan."""
    patch = options.patch(epitome_shape)
    geometry = EpitomeGeometry(layer.weight_shape, epitome_shape, patch, options.scope, options.boundary)
    sampled, learned = sampled_axes(geometry, options.routing), routing_mode(options.routing).learned
    executions, unavailable = _executions(layer, geometry, sampled, dense, learned)
    execution = "materialize" if layer.bypassed else "auto"
    stored = sum(prod(geometry.starts_shape(a)) for a in sampled) if learned else 0
    params = dense.params - prod(layer.weight_shape) + prod(epitome_shape) + stored
    return LayerPlan(
        kind=layer.kind,
        weight_shape=layer.weight_shape,
        epitome_shape=epitome_shape,
        patch_channels=patch,
        routing=options.routing,
        scope=options.scope,
        boundary=options.boundary,
        execution=execution,
        seed=options.seed + index,
        dense=dense,
        predicted=Counts(params, min(executions.values())),
        options=dict(options.layer or {}),
        executions=executions,
        unavailable=unavailable,
        why=why,
    )


def _executions(
    layer: SurveyedLayer, geometry: EpitomeGeometry, sampled: Sequence[int], dense: Counts, learned: bool
) -> tuple[dict[str, int], dict[str, str]]:
    """Multiply-adds under the execution plans that can run a layer, and why the others cannot."""
    if layer.bypassed:
        return {"materialize": dense.madds}, {name: _BYPASSED for name in EXECUTIONS if name != "materialize"}
    moving: AxisState = "fractional" if learned else "integer"
    states: list[AxisState] = [moving if a in sampled else "identity" for a in range(len(geometry.axes))]
    form = LayerForm(geometry, tuple(states), layer.op)
    refused = {name: execution.why_not(form) for name, execution in EXECUTIONS.items()}
    possible = [execution for name, execution in EXECUTIONS.items() if not refused[name]]
    madds = {execution.name: execution.cost(form, layer.positions).madds for execution in possible}
    return madds, {name: reason for name, reason in refused.items() if reason}


def assemble(
    found: Survey, chosen: Mapping[int, LayerPlan], budget: Budget | None, origin: str, untouched: str
) -> CompressionPlan:
    """A compression plan from the layers chosen, the rest kept with their reasons."""
    layers = {layer.name: chosen[i] for i, layer in enumerate(found.layers) if i in chosen}
    kept = {
        layer.name: KeptLayer(layer.kind, layer.weight_shape, layer.reason or untouched, layer.dense(found.report))
        for i, layer in enumerate(found.layers)
        if i not in chosen
    }
    return CompressionPlan(
        layers=layers,
        kept_layers=kept,
        dense=found.report.counts,
        predicted=found.report.counts + total(p.predicted - p.dense for p in layers.values()),
        budget=budget,
        input_shape=found.report.input_shape,
        order=tuple(layer.name for layer in found.layers),
        origin=origin,
    )
