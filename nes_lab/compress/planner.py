"""Choosing epitome shapes for a budget: the strategy ``uniform``.

One ratio for all layers, rounded per layer. Rounding all layers at once would overshoot, so the layers take their rounding
steps one at a time, ordered by the ratio at which they fall due, then by module order; the first state that meets every
budget is taken. Steps that would raise a layer's params or multiply-adds are joined with later ones, so that along the
way neither total ever rises: more budget never means fewer params.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from nes_lab.compress.budget import Budget
from nes_lab.compress.compression_plan import LAYER_OPTIONS, CompressionPlan, Counts, KeptLayer, LayerPlan
from nes_lab.compress.survey import Survey, SurveyedLayer, survey
from nes_lab.cost.report import short
from nes_lab.epitome.geometry import BOUNDARIES, SCOPES, EpitomeGeometry
from nes_lab.epitome.routing import LEARNED_MODES, ROUTING_MODES, sampled_axes
from nes_lab.errors import BudgetError, OptionError, one_of
from nes_lab.execution.base import AxisState
from nes_lab.execution.registry import cheapest_plan
from nes_lab.nn.index_learner import check_learner_options

__all__ = ["STRATEGIES", "WIRINGS", "EpitomeOptions", "plan_for_budget", "plan_layer"]

STRATEGIES = ("uniform",)
WIRINGS = ("both_axes", "input_axis", "output_axis", "narrow_axis")
_LEARNED_PATCH = 16


@dataclass(frozen=True)
class EpitomeOptions:
    """What all epitome layers of a plan share.

    Args:
        routing, scope, boundary: As the layers take them.
        patch_channels: Patch length along both channel axes; None: the whole axis, or 16 where starts are learned.
        seed: Of ``random``; the layer's index is added.
        layer: Further keyword arguments of the layers, such as ``reach``.
    """

    routing: str = "tiled"
    scope: str = "separable"
    boundary: str = "clamp"
    patch_channels: int | None = None
    seed: int = 0
    layer: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        one_of("routing", self.routing, ROUTING_MODES)
        one_of("scope", self.scope, SCOPES)
        one_of("boundary", self.boundary, BOUNDARIES)
        _whole("patch_channels", self.patch_channels if self.patch_channels is not None else 1, 1)
        _whole("seed", self.seed, 0)
        for name in self.layer or ():
            one_of("layer_options", name, LAYER_OPTIONS)
        check_learner_options(**(self.layer or {}))

    def patch(self, epitome_shape: Sequence[int]) -> tuple[int, int]:
        """Patch of a layer, at most as long as its epitome."""
        learned = self.routing in LEARNED_MODES
        length = self.patch_channels or (_LEARNED_PATCH if learned else max(epitome_shape[:2]))
        return min(length, epitome_shape[0]), min(length, epitome_shape[1])


@dataclass(frozen=True)
class _Step:
    """A layer's next state on its way down: due at ``ratio``."""

    ratio: float
    layer: int
    plan: LayerPlan


def plan_for_budget(
    model: nn.Module,
    budget: Budget,
    example_input: Any,
    *,
    include: Sequence[str] | str | None = None,
    exclude: Sequence[str] | str | None = None,
    routing: str = "tiled",
    scope: str = "separable",
    boundary: str = "clamp",
    patch_channels: int | None = None,
    round_to: int = 8,
    wiring: str = "both_axes",
    min_channels: int = 1,
    strategy: str = "uniform",
    seed: int = 0,
    layer_options: Mapping[str, Any] | None = None,
) -> CompressionPlan:
    """Choose epitome shapes so that a model meets a budget.

    The counts predicted are those that :func:`nes_lab.count` finds after :func:`nes_lab.compress`.

    Args:
        model: Left as it was.
        budget: Limits on params and multiply-adds; both hold.
        example_input: As :func:`nes_lab.count` takes it; its batch and size set the multiply-adds.
        include: Name patterns; only these layers are replaced, also ones that stay dense by default (depthwise
            convolutions, squeeze-excite, declared stem and classifier).
        exclude: Name patterns that stay dense.
        routing: Who sets the starts.
        scope: ``"separable"``: multiply-adds fall with params; ``"joint"``: only params fall, the weight keeps its full rank;
            ``"auto"``: separable where multiply-adds must fall, else joint.
        boundary: ``"clamp"`` or ``"circular"``.
        patch_channels: Patch length; None: the whole epitome axis, or 16 where starts are learned.
        round_to: Epitome channels are multiples of this; 1 or 2 for tiny networks.
        wiring: Which channel axes shrink: ``"both_axes"`` keeps most rank for its multiply-adds; ``"input_axis"``, ``"output_axis"``;
            ``"narrow_axis"``: in each layer the one along which fewer numbers are folded or expanded, which runs fastest and
            costs most rank.
        min_channels: Layers with fewer channels on either side stay dense: thin layers gain no time, as their cost is the reading
            and writing of activations. Names in ``include`` are taken all the same.
        strategy: ``"uniform"``.
        seed: Of ``random`` routing.
        layer_options: Further arguments of the layers, such as ``{"reach": 2.0}``.

    Raises:
        BudgetError: If the budget cannot be met; names the least that can be reached and the layers that hold it.
        OptionError: If an option is not among its choices, or a pattern matches no layer.

    Examples:
        >>> model, x = nn.Sequential(nn.Conv2d(64, 128, 1), nn.Conv2d(128, 64, 1)), torch.randn(1, 64, 8, 8)
        >>> plan = plan_for_budget(model, Budget(madds="50%"), x)
        >>> plan.predicted.madds / plan.dense.madds <= 0.5
        True
    """
    one_of("strategy", strategy, STRATEGIES)
    one_of("wiring", wiring, WIRINGS)
    if not isinstance(budget, Budget):
        raise BudgetError(f"budget={budget!r}; give nes_lab.Budget(params=..., madds=...)")
    _whole("round_to", round_to, 1)
    _whole("min_channels", min_channels, 1)
    one_of("scope", scope, (*SCOPES, "auto"))
    found = survey(model, example_input, include, exclude)
    _keep_thin(found, min_channels if include is None else 1)
    if not found.layers:
        raise BudgetError(f"{type(model).__name__} has no convolution or linear layer that an epitome could replace")
    scope = _binding_scope(found, budget) if scope == "auto" else scope
    options = EpitomeOptions(routing, scope, boundary, patch_channels, seed, layer_options)
    steps = [
        s
        for i, layer in enumerate(found.layers)
        if not layer.reason
        for s in _steps(i, layer, found, options, round_to, _axes(layer, wiring))
    ]
    steps.sort(key=lambda s: (-s.ratio, s.layer))
    how = "" if wiring == "both_axes" else f", wiring={wiring!r}"
    how += "" if min_channels == 1 else f", min_channels={min_channels}"
    chosen, last = _descend(found, steps, budget, f"round_to={round_to}, scope={scope!r}{how}")
    origin = f"{strategy}, routing={routing}, scope={scope}, round_to={round_to}" + how.replace("'", "")
    plan = assemble(found, chosen, budget, origin, untouched="the budget is met without it")
    return _with_notes(plan, budget, last, round_to)


def _whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionError(f"{name}={value!r}; give a whole number of at least {least}")


def _binding_scope(found: Survey, budget: Budget) -> str:
    """``separable`` when the multiply-adds must fall, ``joint`` when only the params must."""
    madds_limit = budget.absolute(found.report.params, found.report.madds)[1]
    return "joint" if madds_limit is None or madds_limit >= found.report.madds else "separable"


def plan_layer(
    layer: SurveyedLayer, index: int, epitome_shape: tuple[int, ...], dense: Counts, options: EpitomeOptions
) -> LayerPlan:
    """Plan of one layer for a given epitome shape, with the counts it will have."""
    patch = options.patch(epitome_shape)
    geometry = EpitomeGeometry(layer.weight_shape, epitome_shape, patch, options.scope, options.boundary)
    sampled = sampled_axes(geometry, options.routing)
    learned = options.routing in LEARNED_MODES
    states: tuple[AxisState, ...] = tuple(
        ("fractional" if learned else "integer") if a in sampled else "identity" for a in range(len(epitome_shape))
    )
    if layer.bypassed:
        execution, madds = "materialize", dense.madds
    else:
        execution, madds = "auto", cheapest_plan(geometry, states, layer.op, layer.positions)[1].madds
    stored = sum(int(np.prod(geometry.starts_shape(a))) for a in sampled) if learned else 0
    before = int(np.prod(layer.weight_shape))
    params = dense.params - before + int(np.prod(epitome_shape)) + stored
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
        predicted=Counts(params, madds),
        options=dict(options.layer or {}),
    )


def _keep_thin(found: Survey, min_channels: int) -> None:
    """Leave layers dense that have too few channels on a side."""
    for layer in found.layers:
        if not layer.reason:
            fewest = min(layer.weight_shape[0], layer.weight_shape[1] * layer.op.groups)
            layer.reason = f"{fewest} channels, below min_channels={min_channels}" if fewest < min_channels else ""


def _axes(layer: SurveyedLayer, wiring: str) -> tuple[int, ...]:
    """The channel axes of a layer that may shrink."""
    if wiring == "narrow_axis":
        c_out, c_in = layer.weight_shape[:2]
        read, written = layer.positions
        return (0,) if c_out * written <= c_in * layer.op.groups * read else (1,)
    return {"both_axes": (0, 1), "input_axis": (1,), "output_axis": (0,)}[wiring]


def _steps(
    index: int, layer: SurveyedLayer, found: Survey, options: EpitomeOptions, round_to: int, axes: Sequence[int]
) -> Iterator[_Step]:
    """A layer's states on the way down, each no dearer than the one before in params and in multiply-adds."""
    dense = layer.dense(found.report)
    shape = list(layer.weight_shape)
    falls = [(ratio, axis, size) for axis in axes for ratio, size in _roundings(shape[axis], round_to)]
    best = dense
    for ratio, axis, size in sorted(falls, key=lambda fall: (-fall[0], fall[1])):
        shape[axis] = size
        plan = plan_layer(layer, index, tuple(shape), dense, options)
        now = plan.predicted
        if now.params <= best.params and now.madds <= best.madds and now != best:
            best = now
            yield _Step(ratio, index, plan)


def _roundings(size: int, round_to: int) -> Iterator[tuple[float, int]]:
    """Sizes below ``size`` that are multiples of ``round_to``, each with the ratio at which rounding arrives there."""
    above = size
    for below in range((size - 1) // round_to * round_to, 0, -round_to):
        yield (above + below) / (2 * size), below
        above = below


def _descend(found: Survey, steps: list[_Step], budget: Budget, how: str) -> tuple[dict[int, LayerPlan], _Step | None]:
    """Take steps until every limit is met; the state per layer, and the last step taken."""
    params_limit, madds_limit = budget.absolute(found.report.params, found.report.madds)
    params, madds = found.report.params, found.report.madds
    state: dict[int, LayerPlan] = {}

    def met() -> bool:
        return (params_limit is None or params <= params_limit) and (madds_limit is None or madds <= madds_limit)

    last = None
    for step in steps:
        if met():
            break
        before = state[step.layer].predicted if step.layer in state else step.plan.dense
        params += step.plan.predicted.params - before.params
        madds += step.plan.predicted.madds - before.madds
        state[step.layer], last = step.plan, step
    if not met():
        raise _infeasible(found, state, Counts(params, madds), (params_limit, madds_limit), how)
    return state, last


def _infeasible(
    found: Survey, state: dict[int, LayerPlan], least: Counts, limits: tuple[float | None, float | None], how: str
) -> BudgetError:
    parts = []
    for what, limit in zip(("params", "madds"), limits, strict=True):
        reached = getattr(least, what)
        if limit is None or reached <= limit:
            continue
        dense = getattr(found.report, what)
        held = sorted(
            (
                (
                    getattr(state[i].predicted if i in state else layer.dense(found.report), what),
                    layer.name,
                    layer.reason,
                )
                for i, layer in enumerate(found.layers)
            ),
            reverse=True,
        )[:3]
        holders = "; ".join(f"{name} {short(n)}" + (f" (dense: {why})" if why else "") for n, name, why in held)
        parts.append(
            f"{what}={short(limit)} cannot be met: the least reachable is {short(reached)} ({reached:,}, {reached / dense:.1%} of dense) "
            f"with {how}; most of it is held by {holders}"
        )
    return BudgetError(". ".join(parts))


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
    saved = [(p.dense.params - p.predicted.params, p.dense.madds - p.predicted.madds) for p in layers.values()]
    predicted = Counts(found.report.params - sum(s[0] for s in saved), found.report.madds - sum(s[1] for s in saved))
    return CompressionPlan(
        layers=layers,
        kept_layers=kept,
        dense=Counts(found.report.params, found.report.madds),
        predicted=predicted,
        budget=budget,
        input_shape=found.report.input_shape,
        order=tuple(layer.name for layer in found.layers),
        origin=origin,
    )


def _with_notes(plan: CompressionPlan, budget: Budget, last: _Step | None, round_to: int) -> CompressionPlan:
    """Say how much of the binding limit is used, and which rounding leaves more than 2 % of it."""
    limits = budget.absolute(plan.dense.params, plan.dense.madds)
    used = [
        (getattr(plan.predicted, w) / limit, w) for w, limit in zip(("params", "madds"), limits, strict=True) if limit
    ]
    share, what = max(used)
    note = f"uses {share:.1%} of the {what} budget"
    if share < 0.98 and last is not None:
        name = list(plan.order)[last.layer]
        note += f"; the step of {name} to an epitome of {last.plan.epitome_shape} (channels in multiples of {round_to}) prevents more"
    elif share < 0.98:
        note += "; the dense model already meets the budget"
    return replace(plan, notes=(note,))
