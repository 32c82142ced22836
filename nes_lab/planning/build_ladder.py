"""Build the ladder of a model: survey its layers, apply options and overrides, and join the sizes of all layers into one list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

from torch import nn

from nes_lab.errors import BudgetError, OptionError
from nes_lab.geometry.start_rules import routing_mode
from nes_lab.nn.index_learner import check_learner_options
from nes_lab.planning.ladder import Ladder, layer_steps, steps_of_layers, uniform_steps
from nes_lab.planning.layer_plans import plan_layer
from nes_lab.planning.overrides import LayerSettings, settings_by_layer
from nes_lab.planning.speed import speed_options
from nes_lab.planning.survey import Survey, SurveyedLayer, run_and_list, with_reasons
from nes_lab.progress_bar import OnProgress
from nes_lab.records.budget import Budget
from nes_lab.records.cost_report import NotCounted, gaps_text
from nes_lab.records.counts import QUANTITIES
from nes_lab.records.layer_plan import LayerPlan
from nes_lab.records.options import PlanOptions

__all__ = ["build_ladder", "ladder_of_survey", "resolved_scope"]


def build_ladder(model: nn.Module, example_input: Any, options: PlanOptions, budget: Budget | None = None) -> Ladder:
    """Build the ladder of a model: the list of all sizes it can shrink to, from dense to smallest.

    Each step of the ladder shrinks one layer. The steps are in the order of the strategy ``uniform``.

    Args:
        model: The dense model; it is not changed.
        example_input: Input of one forward pass: a tensor, a tuple of arguments or a dict of keyword arguments.
        options: Options of planning.
        budget: The budget. It decides if ``scope="auto"`` becomes ``joint`` or ``separable``. None: ``auto`` becomes
            ``separable``.

    Raises:
        BudgetError: If the model has no layer that an epitome could replace, or the budget limits a quantity that cannot be counted.
        OptionError: If an option is wrong, or a pattern matches no layer.
    """
    return ladder_of_survey(run_and_list(model, example_input), model, options, budget)


def ladder_of_survey(
    surveyed: Survey,
    model: nn.Module,
    options: PlanOptions,
    budget: Budget | None = None,
    on_progress: OnProgress | None = None,
) -> Ladder:
    """Build the ladder of a model that was surveyed before. See :func:`build_ladder`.

    Args:
        surveyed: The layers of the model, from :func:`nes_lab.planning.survey.run_and_list`.
        model: The dense model; it is not changed.
        options: Options of planning.
        budget: The budget, as in :func:`build_ladder`.
        on_progress: Called before each layer; None for no calls.

    Raises:
        BudgetError: If nothing can be replaced or counted, as in :func:`build_ladder`.
        OptionError: If an option is wrong, or a pattern matches no layer.
    """
    if options.scope == "flat":
        raise OptionError("scope='flat' (share, windows) has no ladder; make the plan with nes_lab.plan_for_budget")
    check_learner_options(**(options.layer_options or {}))
    surveyed = with_reasons(surveyed, model, options)
    gaps = surveyed.report.not_counted
    if not surveyed.layers:
        named = f"; not counted: {gaps_text(gaps)}" if gaps else ""
        raise BudgetError(
            f"{type(model).__name__} has no convolution or linear layer that an epitome could replace{named}"
        )
    _check_counted(gaps, budget)
    options = replace(options, scope=resolved_scope(surveyed, budget, options))
    settings = settings_by_layer(surveyed.layers, options.overrides)
    shrinking: list[tuple[SurveyedLayer, PlanOptions, str]] = []
    fixed: dict[int, LayerPlan] = {}
    for layer in surveyed.layers:
        layer_settings = settings.get(layer.name)
        if layer_settings and layer_settings.sets_size:
            fixed[layer.index] = _fixed_plan(layer, layer_settings, options)
        elif not layer.reason:
            own, why = (layer_settings.options(options), layer_settings.why) if layer_settings else (options, "")
            if options.strategy == "speed":
                own = speed_options(layer, own)
            shrinking.append((layer, own, why))
    return Ladder(surveyed, uniform_steps(steps_of_layers(shrinking, on_progress)), fixed, options)


def _check_counted(gaps: Sequence[NotCounted], budget: Budget | None) -> None:
    """Raise a ``BudgetError`` if a budget limits a quantity that could not be counted."""
    for quantity in QUANTITIES:
        limit = getattr(budget, quantity, None)
        named = gaps_text([gap for gap in gaps if gap.quantity == quantity])
        if limit is not None and named:
            raise BudgetError(f"{quantity}={limit!r} cannot be checked, as not all are counted: {named}")


def resolved_scope(surveyed: Survey, budget: Budget | None, options: PlanOptions) -> Any:
    """Choose ``joint`` or ``separable`` if the option ``scope`` is ``auto``; otherwise return the option.

    With ``joint``, each patch has its own starts (positions in the epitome). With ``separable``, each axis has its own
    starts. ``auto`` becomes ``joint`` if the budget limits only params or bytes. It becomes ``separable`` if multiply-adds or
    time must fall, or if both scopes give the same weight.
    """
    if options.scope != "auto":
        return options.scope
    if budget is None or budget.latency_ms is not None or routing_mode(options.routing).separable:
        return "separable"
    madds_limit = budget.limits(surveyed.dense).get("madds")
    return "joint" if madds_limit is None or madds_limit >= surveyed.dense.madds else "separable"


def _fixed_plan(layer: SurveyedLayer, settings: LayerSettings, options: PlanOptions) -> LayerPlan:
    """Plan a layer whose size the user sets with the option ``overrides``."""
    if layer.reason:
        raise OptionError(
            f"overrides[{settings.patterns}] asks for {layer.name!r}, which must stay dense: {layer.reason}"
        )
    own, values = settings.options(options), settings.values
    shape = values["epitome_shape"] if "epitome_shape" in values else _shape_for_ratio(layer, values["ratio"], own)
    _check_epitome_shape(layer, shape)
    return plan_layer(layer, shape, own, settings.why)


def _check_epitome_shape(layer: SurveyedLayer, shape: Sequence[int]) -> None:
    weight = layer.weight_shape
    if len(shape) != len(weight) or any(e > w for e, w in zip(shape[:2], weight, strict=False)):
        raise OptionError(
            f"overrides: epitome_shape={shape} for {layer.name!r} should have as many axes as its weight {weight}, and no more channels"
        )


def _shape_for_ratio(layer: SurveyedLayer, ratio: float, options: PlanOptions) -> tuple[int, ...]:
    """Return the largest epitome shape with at most ``ratio`` times as many cells as the layer has weights."""
    weight = layer.weight_shape
    shapes = [weight, *(plan.epitome_shape for plan in layer_steps(layer, options).plans)]
    small_enough = [shape for shape in shapes if prod(shape) <= ratio * prod(weight)]
    if not small_enough:
        least = prod(shapes[-1]) / prod(weight)
        raise OptionError(
            f"overrides: ratio={ratio!r} for {layer.name!r} cannot be met: the smallest ratio is {least:.4g}, an epitome of "
            f"{shapes[-1]} for its weight {weight}, with channels in multiples of {options.round_to}"
        )
    return small_enough[0]
