"""Choosing each layer's epitome shape for a budget: the strategies ``uniform`` and ``sensitivity``.

Either strategy puts the rounding steps of all layers in one order, and the first state that meets every budget is taken; see
:mod:`nes_lab.planning.ladder`. ``uniform`` orders them by one ratio for all layers, ``sensitivity`` by what each is found to cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from torch import nn

from nes_lab.errors import BudgetError, OptionError, check_choice, check_int
from nes_lab.geometry.start_rules import routing_mode
from nes_lab.planning.ladder import Ladder, axes_of, layer_steps, uniform_steps
from nes_lab.planning.layer_plans import EpitomeOptions, assemble, plan_layer
from nes_lab.planning.overrides import choices
from nes_lab.planning.survey import Survey, survey
from nes_lab.progress_bar import OnProgress
from nes_lab.records.budget import Budget
from nes_lab.records.compression_plan import CompressionPlan, LayerPlan
from nes_lab.records.counts import Counts
from nes_lab.records.options import ScopeOption, Strategy, Wiring
from nes_lab.records.sensitivity_report import SensitivityReport
from nes_lab.renamed import progress_or_callback, renamed_arguments
from nes_lab.text import format_number

__all__ = [
    "EpitomeOptions",
    "Wishes",
    "assemble",
    "look_over",
    "plan_for_budget",
    "plan_layer",
]

_TIGHT = 0.98
_HOLDERS = 3


@renamed_arguments(progress=progress_or_callback)
def plan_for_budget(
    model: nn.Module,
    budget: Budget,
    example_input: Any,
    *,
    include: Sequence[str] | str | None = None,
    exclude: Sequence[str] | str | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    routing: str = "tiled",
    scope: str = "separable",
    boundary: str = "clamp",
    patch_channels: int | None = None,
    round_to: int = 8,
    wiring: str = "both_axes",
    min_channels: int = 1,
    strategy: str = "uniform",
    sensitivity: SensitivityReport | None = None,
    seed: int = 0,
    layer_options: Mapping[str, Any] | None = None,
    seconds: float = 60.0,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> CompressionPlan:
    """Choose epitome shapes so that a model meets a budget.

    The predicted counts equal those that :func:`nes_lab.count` reports after :func:`nes_lab.compress`. A limit on time is measured
    on this device: see :mod:`nes_lab.planning.latency`.

    Args:
        model: The dense model; it is not changed.
        budget: Limits on params, multiply-adds and measured time; the plan meets all of them.
        example_input: Input of one forward pass, as :func:`nes_lab.count` takes it. Its batch and size set the multiply-adds and
            the time.
        include: Name patterns (``blocks.*.conv_pw``) or types (``Linear``, ``conv2d``) of the layers to replace; by default all that
            can be. A layer whose name matches is replaced even if it stays dense by default (depthwise convolutions,
            squeeze-excite, and the stem and classifier that the model declares). An entry is a type if it matches no name.
        exclude: Name patterns or types of layers that stay dense.
        overrides: Settings for single layers by name pattern or type, such as ``{"head*": {"ratio": 0.5}}``. Settings are
            ``ratio`` (epitome / weight), ``epitome_shape``, ``keep`` (dense), ``routing``, ``scope``, ``boundary``,
            ``patch_channels`` and ``wiring``. Later patterns win. A layer with a ratio or shape is replaced even if it stays dense
            by default.
        routing: Who sets the starting indices: ``"tiled"`` (0, b, 2b, ... for patches of length b, wrapping around), ``"stride"``
            (evenly spaced from the first to the last cell), ``"random"`` (drawn uniformly from the layer's seed), ``"free"``
            (parameters learned by gradient descent, beginning at the tiling) or ``"learner"`` (predicted from the layer's input by
            a small network, and averaged over training steps).
        scope: Whether each axis or each patch has its own starts: ``"separable"`` (per axis, so that multiply-adds fall with
            params), ``"joint"`` (per patch: only params fall, and the weight keeps its full rank) or ``"auto"`` (separable if
            multiply-adds or time must fall, or if both give the same weight; otherwise joint).
        boundary: What happens at the end of an epitome axis: ``"clamp"`` (patches stay inside the epitome) or ``"circular"``
            (patches continue at the beginning of the axis).
        patch_channels: Channels sampled in one piece; by default the whole epitome axis, or 16 where starts are learned.
        round_to: Epitome channels are multiples of this; give 1 or 2 for tiny networks.
        wiring: Which channel axes shrink: ``"both_axes"`` (output and input channels, which keeps most rank for the same
            multiply-adds), ``"input_axis"``, ``"output_axis"`` or ``"narrow_axis"`` (in each layer the axis that costs less to
            fold or expand, which runs fastest and loses most rank).
        min_channels: Layers with fewer input or output channels stay dense, as thin layers gain no time, unless include names them.
        strategy: Which layers shrink most: ``"uniform"`` (none, one ratio for all layers) or ``"sensitivity"`` (layers that
            shrinking hurts least). For a fixed scope, strategy and set of limits, more budget never means fewer params.
        sensitivity: Report of :func:`nes_lab.measure_sensitivity`; None measures it here, by the residuals of the fit.
        seed: Seed of random routing.
        layer_options: More arguments of the epitome layers, such as ``{"reach": 2.0}`` of the index learner.
        seconds: About how many seconds a search for a limit on time may take.
        progress: Show a bar on standard error.
        on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` at each piece of work; None: nobody is.

    Raises:
        BudgetError: If the budget cannot be met; names the least that can be reached and the layers that hold it.
        OptionError: If an option is not among its choices, or a pattern matches no layer.
        PlanError: If the sensitivities were measured on another model or for other epitomes.

    Examples:
        >>> model, x = nn.Sequential(nn.Conv2d(64, 128, 1), nn.Conv2d(128, 64, 1)), torch.randn(1, 64, 8, 8)
        >>> plan = plan_for_budget(model, Budget(madds="50%"), x)
        >>> plan.predicted.madds / plan.dense.madds <= 0.5
        True
    """
    check_choice("strategy", strategy, get_args(Strategy))
    if not isinstance(budget, Budget):
        raise BudgetError(f"budget={budget!r}; give nes_lab.Budget(params=..., madds=..., latency_ms=...)")
    if sensitivity is not None and strategy != "sensitivity":
        raise OptionError(f"sensitivity is given and strategy={strategy!r}; it goes with strategy='sensitivity'")
    options = EpitomeOptions(routing, "separable", boundary, patch_channels, seed, layer_options)
    wishes = Wishes(options, scope, round_to, wiring, min_channels, include, exclude, overrides)
    ladder = look_over(model, example_input, wishes, budget)
    if strategy == "sensitivity":
        from nes_lab.planning.sensitivity.measure import sensitive

        ladder = sensitive(model, ladder, wishes, budget, sensitivity, progress, on_progress)
    plan = _first_within(ladder, budget, wishes, strategy)
    if budget.latency_ms is None:
        return plan
    from nes_lab.planning.latency import meet_latency

    def at(rung: int) -> CompressionPlan:
        return _plan(ladder, rung, budget, wishes, strategy)

    begin = _rung(ladder, budget, wishes)
    return meet_latency(
        model,
        example_input,
        at,
        begin,
        len(ladder.steps),
        budget,
        seconds=seconds,
        progress=progress,
        on_progress=on_progress,
    )


@dataclass(frozen=True)
class Wishes:
    """What a user asks of a plan beside its budget; arguments as :func:`plan_for_budget` takes them."""

    options: EpitomeOptions
    scope: str = "separable"
    round_to: int = 8
    wiring: str = "both_axes"
    min_channels: int = 1
    include: Sequence[str] | str | None = None
    exclude: Sequence[str] | str | None = None
    overrides: Mapping[str, Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        check_choice("wiring", self.wiring, get_args(Wiring))
        check_choice("scope", self.scope, get_args(ScopeOption))
        check_int("round_to", self.round_to, 1)
        check_int("min_channels", self.min_channels, 1)

    def words(self, scope: str) -> str:
        """The options that decide what can be reached, for messages."""
        parts = [f"round_to={self.round_to}", f"scope={scope!r}"]
        parts += [f"wiring={self.wiring!r}"] if self.wiring != "both_axes" else []
        parts += [f"min_channels={self.min_channels}"] if self.min_channels != 1 else []
        return ", ".join(parts)


def look_over(model: nn.Module, example_input: Any, wishes: Wishes, budget: Budget | None = None) -> Ladder:
    """Survey a model and line up the steps of every layer that may be replaced, in the order of ``uniform``.

    Raises:
        BudgetError: If there is no layer to replace.
        OptionError: If an option is not among its choices, or a pattern matches no layer.
    """
    found = survey(model, example_input, wishes.include, wishes.exclude)
    _keep_thin(found, wishes.min_channels)
    scope = _binding_scope(found, budget, wishes.options.routing) if wishes.scope == "auto" else wishes.scope
    options = replace(wishes.options, scope=scope)
    chosen = choices(found, wishes.overrides, options, wishes.wiring, wishes.round_to)
    if not found.layers:
        raise BudgetError(f"{type(model).__name__} has no convolution or linear layer that an epitome could replace")
    steps = [
        layer_steps(i, found.layers[i], found, c.options, wishes.round_to, axes_of(found.layers[i], c.wiring), c.why)
        for i, c in chosen.items()
        if c.fixed is None
    ]
    return Ladder(found, uniform_steps(steps), {i: c.fixed for i, c in chosen.items() if c.fixed is not None}, scope)


def _binding_scope(found: Survey, budget: Budget | None, routing: str) -> str:
    """``separable`` when multiply-adds or time must fall, ``joint`` when only the params must.

    The rules ``tiled`` and ``stride`` give a block the same start in either scope: the same weight, which ``separable`` runs cheaper.
    """
    if budget is None or budget.latency_ms is not None or routing_mode(routing).separable:
        return "separable"
    madds_limit = budget.limits(found.report.counts).get("madds")
    return "joint" if madds_limit is None or madds_limit >= found.report.madds else "separable"


def _keep_thin(found: Survey, min_channels: int) -> None:
    """Leave layers dense that have too few channels on a side and were not asked for by name."""
    for layer in found.layers:
        if not layer.reason and not layer.asked:
            fewest = min(layer.weight_shape[0], layer.weight_shape[1] * layer.op.groups)
            layer.reason = f"{fewest} channels, below min_channels={min_channels}" if fewest < min_channels else ""


def _first_within(ladder: Ladder, budget: Budget, wishes: Wishes, strategy: str) -> CompressionPlan:
    rung = _rung(ladder, budget, wishes)
    return _with_notes(_plan(ladder, rung, budget, wishes, strategy), ladder, rung, wishes.round_to)


def _rung(ladder: Ladder, budget: Budget, wishes: Wishes) -> int:
    """Return the first rung that meets the limits on counted quantities."""
    limits = budget.limits(ladder.found.report.counts)
    rung = ladder.first_within(limits)
    if rung is None:
        raise _infeasible(ladder, limits, wishes.words(ladder.scope))
    return rung


def _plan(ladder: Ladder, rung: int, budget: Budget, wishes: Wishes, strategy: str) -> CompressionPlan:
    origin = f"{strategy}, routing={wishes.options.routing}, " + wishes.words(ladder.scope).replace("'", "")
    return assemble(ladder.found, ladder.state(rung), budget, origin, untouched="the budget is met without it")


def _infeasible(ladder: Ladder, limits: Mapping[str, float], how: str) -> BudgetError:
    found, least, state = ladder.found, ladder.totals[-1], ladder.state(len(ladder.steps))
    parts = []
    for what, limit in limits.items():
        reached = getattr(least, what)
        if reached <= limit:
            continue
        parts.append(
            f"{what}={format_number(limit)} cannot be met: the least reachable is {format_number(reached)} ({reached:,}, "
            f"{reached / getattr(found.report, what):.1%} of dense) with {how}; most of it is held by {_holders(found, state, what)}"
        )
    return BudgetError(". ".join(parts), least=least)


def _holders(found: Survey, state: Mapping[int, LayerPlan], what: str) -> str:
    """The layers that cost most in a state, and why those are dense that are."""
    counts: list[Counts] = [
        state[i].predicted if i in state else layer.dense(found.report) for i, layer in enumerate(found.layers)
    ]
    rows = [(getattr(c, what), layer.name, layer.reason) for c, layer in zip(counts, found.layers, strict=True)]
    most = sorted(rows, reverse=True)[:_HOLDERS]
    return "; ".join(f"{name} {format_number(n)}" + (f" (dense: {why})" if why else "") for n, name, why in most)


def _with_notes(plan: CompressionPlan, ladder: Ladder, rung: int, round_to: int) -> CompressionPlan:
    """Say how much of the tighter limit is used, and which rounding leaves more than 2 % of it."""
    assert plan.budget is not None  # a plan for a budget
    limits = plan.budget.limits(plan.dense)
    used = [(getattr(plan.predicted, what) / limit, what) for what, limit in limits.items() if limit]
    if not used:
        return plan
    share, what = max(used)
    note = f"uses {share:.1%} of the {what} budget"
    if share < _TIGHT and rung:
        last = ladder.steps[rung - 1]
        name = ladder.found.layers[last.layer].name
        note += f"; the step of {name} to an epitome of {last.plan.epitome_shape} (channels in multiples of {round_to}) prevents more"
    elif share < _TIGHT:
        note += (
            "; the dense model already meets the budget"
            if not ladder.fixed
            else "; the overrides alone meet the budget"
        )
    return replace(plan, notes=(*plan.notes, note))
