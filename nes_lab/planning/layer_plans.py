"""Plan one layer for a given epitome shape, and join layer plans into a CompressionPlan.

Tests: tests/planning/test_planner.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import get_args

from nes_lab.errors import OptionError, check_choice
from nes_lab.execution.base import AxisState, LayerForm
from nes_lab.execution.registry import EXECUTIONS
from nes_lab.geometry.epitome_geometry import EpitomeGeometry, Scope
from nes_lab.geometry.flat_geometry import FLAT_PATCH_CHANNELS, make_geometry
from nes_lab.geometry.start_rules import routing_mode, sampled_axes
from nes_lab.geometry.stored_types import start_bytes
from nes_lab.planning.survey import Survey, SurveyedLayer
from nes_lab.records.budget import Budget
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.counts import Counts, total
from nes_lab.records.layer_plan import Epitome, KeptLayer, LayerCalls, LayerPlan
from nes_lab.records.options import EpitomeDtype, PlanOptions

__all__ = ["assemble", "plan_layer"]

LEARNED_PATCH_CHANNELS = 16
"""Patch length in channels if starts are learned and ``patch_channels`` is not given.

An axis on which epitome and weight are equally long is then one patch, which cannot move: it saves nothing, so its starts would only
cost time. With ``boundary="circular"`` even one patch can move, and patches have this length on both axes.
"""

BYPASSED_REASON = "its parent uses its weight and bypasses its forward"


def plan_layer(
    layer: SurveyedLayer,
    epitome_shape: tuple[int, ...],
    options: PlanOptions,
    why: str = "",
) -> LayerPlan:
    """Plan one layer for a given epitome shape, and count the params and multiply-adds of the layer.

    An execution plan is one way to compute the layer. Each possible execution plan has its own multiply-adds.

    Args:
        layer: The dense layer.
        epitome_shape: Shape of its epitome, in cells.
        options: Options of planning. The scope must be ``joint`` (starts per patch), ``separable`` (starts per axis) or ``flat``
            (windows of an epitome of one axis), not ``auto``.
        why: Sentence about the user's overrides, for messages; empty if there are none.

    Raises:
        GeometryError: If a patch does not fit in the epitome.
    """
    patch, dense = _patch(layer.weight_shape, epitome_shape, options), layer.dense
    scope = check_choice("scope", options.scope, get_args(Scope))
    geometry = make_geometry(layer.weight_shape, epitome_shape, patch, scope, options.boundary, options.windows)
    sampled, learned = sampled_axes(geometry, options.routing), routing_mode(options.routing).learned
    executions, unavailable = _executions(layer, geometry, sampled, learned and not options.snap)
    execution = "materialize" if layer.bypassed else "auto"
    stored = sum(prod(geometry.starts_shape(a)) for a in sampled) if learned else 0
    factors = prod(geometry.starts_shape(0)) if scope == "flat" else 0  # one per window
    fewer = prod(layer.weight_shape) - prod(epitome_shape)
    cell_bytes = layer.module.weight.element_size()  # type: ignore[union-attr]
    if options.epitome_dtype == "int8" and cell_bytes < 4:
        raise OptionError(
            f"epitome_dtype='int8' and a weight of {_dtype(layer, 'float')} in {layer.name!r}: rounded cells need float32 or float64 for "
            "training; make the network in float32"
        )
    epitome = Epitome.of(tuple(epitome_shape), _dtype(layer, options.epitome_dtype))
    stored_starts = _start_bytes(geometry, sampled, cell_bytes, options.snap) if learned else 0
    predicted = Counts(
        params=dense.params - fewer + factors + stored,
        madds=min(executions.values()),
        stored_bytes=dense.stored_bytes
        - (prod(layer.weight_shape) - factors) * cell_bytes
        + epitome.stored_bytes
        + stored_starts,
    )
    return LayerPlan(
        kind=layer.kind,
        weight_shape=layer.weight_shape,
        epitome_shape=epitome_shape,
        patch_channels=patch,
        routing=options.routing,
        scope=scope,
        boundary=options.boundary,
        execution=execution,
        seed=options.seed + layer.index,
        dense=dense,
        predicted=predicted,
        options=dict(options.layer_options or {}),
        executions=executions,
        unavailable=unavailable,
        why=why,
        calls=tuple(LayerCalls(shape, times) for shape, times in Counter(layer.calls).items()),
        windows=options.windows,
        epitome_dtype=options.epitome_dtype,
    )


def _dtype(layer: SurveyedLayer, epitome_dtype: EpitomeDtype) -> str:
    """Return the name of the type in which a file holds the epitome of a layer."""
    return "int8" if epitome_dtype == "int8" else str(layer.module.weight.dtype).removeprefix("torch.")  # type: ignore[union-attr]


def _start_bytes(geometry: EpitomeGeometry, sampled: Sequence[int], cell_bytes: int, snap: bool) -> int:
    """Return the bytes of learned starts in a file. Rounded ones are integers of the smallest type that holds them."""
    floats = 8 if cell_bytes == 8 else 4  # starts are float64 in a float64 layer, float32 in any other
    sizes = {axis: start_bytes(geometry.axes[axis].cells) if snap else floats for axis in sampled}
    return sum(prod(geometry.starts_shape(axis)) * size for axis, size in sizes.items())


def _patch(weight_shape: Sequence[int], epitome_shape: Sequence[int], options: PlanOptions) -> tuple[int, int]:
    """Return the lengths of a patch along output and input channels, in epitome cells."""
    if options.scope == "flat":
        length = options.patch_channels or FLAT_PATCH_CHANNELS
        pair = length if isinstance(length, tuple) else (length, length)
        return min(pair[0], weight_shape[0]), min(pair[1], weight_shape[1])
    whole = max(epitome_shape[:2])
    if options.patch_channels is None and routing_mode(options.routing).learned and options.boundary == "clamp":
        pairs = zip(weight_shape[:2], epitome_shape[:2], strict=True)
        length = tuple(whole if weight == cells else LEARNED_PATCH_CHANNELS for weight, cells in pairs)
    else:
        length = options.patch_channels or (LEARNED_PATCH_CHANNELS if routing_mode(options.routing).learned else whole)
    out, inner = length if isinstance(length, tuple) else (length, length)
    return min(out, epitome_shape[0]), min(inner, epitome_shape[1])


def _executions(
    layer: SurveyedLayer, geometry: EpitomeGeometry, sampled: Sequence[int], fractional: bool
) -> tuple[dict[str, int], dict[str, str]]:
    """Return the multiply-adds of a layer for each execution plan. An execution plan is one way to compute the layer.

    Args:
        layer: The dense layer.
        geometry: Shapes of its weight, epitome and patches.
        sampled: The axes that have starts (positions of patches in the epitome).
        fractional: True if starts can lie between two cells.

    Returns:
        Two dicts. The first maps each possible execution plan to its multiply-adds. The second maps each impossible one
        to the reason.
    """
    if layer.bypassed:
        return {"materialize": layer.dense.madds}, {
            name: BYPASSED_REASON for name in EXECUTIONS if name != "materialize"
        }
    moving: AxisState = "fractional" if fractional else "integer"
    states: list[AxisState] = [moving if a in sampled else "identity" for a in range(len(geometry.axes))]
    form = LayerForm(geometry, tuple(states), layer.op)
    refused = {name: execution.why_not(form) for name, execution in EXECUTIONS.items()}
    possible = [execution for name, execution in EXECUTIONS.items() if not refused[name]]
    madds = {execution.name: execution.cost(form, layer.positions).madds for execution in possible}
    return madds, {name: reason for name, reason in refused.items() if reason}


def assemble(
    survey: Survey, layer_plans: Mapping[int, LayerPlan], budget: Budget | None, origin: str, untouched: str
) -> CompressionPlan:
    """Join layer plans into a compression plan. All other layers stay dense, each with a reason.

    Args:
        survey: List of the layers of the model.
        layer_plans: Plan of each layer that is replaced, by the layer's index in ``survey``.
        budget: The budget that the plan was made for; None if there was none.
        origin: A text for the user that says how the plan was made.
        untouched: Reason to report for a layer that stays dense although it could be replaced.
    """
    layers = {layer.name: layer_plans[layer.index] for layer in survey.layers if layer.index in layer_plans}
    kept = {
        layer.name: KeptLayer(layer.kind, layer.weight_shape, layer.reason or untouched, layer.dense)
        for layer in survey.layers
        if layer.index not in layer_plans
    }
    plan = CompressionPlan(
        layers=layers,
        kept_layers=kept,
        dense=survey.dense,
        predicted=survey.dense,
        budget=budget,
        input_shape=survey.report.input_shape,
        order=tuple(layer.name for layer in survey.layers),
        origin=origin,
        notes=survey.notes,
        epitomes={
            layers[layer.name].reads or layer.name: Epitome.of(
                layers[layer.name].epitome_shape, _dtype(layer, layers[layer.name].epitome_dtype)
            )
            for layer in survey.layers
            if layer.name in layers
        },
        example_input=survey.example_input,
    )
    predicted = survey.dense + total(plan.layer_counts(name) - layer.dense for name, layer in layers.items())
    return replace(plan, predicted=predicted, notes=(*plan.notes, *plan.larger_epitomes()))
