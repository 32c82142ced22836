"""Choose the sizes of flat epitomes, which layers can share, for a budget on params or stored bytes.

The epitomes of a plan have exactly as many cells as the budget leaves room for: no channels are rounded. All epitomes shrink by the
same ratio of cells to weights, but none below one patch of the layers that read it.

Tests: tests/planning/test_flat_plan.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import floor, prod
from typing import Any

from torch import nn

from nes_lab.errors import BudgetError, OptionError
from nes_lab.geometry.start_rules import check_flat_routing
from nes_lab.planning.layer_plans import assemble, plan_layer
from nes_lab.planning.overrides import LayerSettings, settings_by_layer
from nes_lab.planning.sharing import shared_names
from nes_lab.planning.survey import Survey, SurveyedLayer, run_and_list, with_reasons
from nes_lab.records.budget import Budget
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.cost_report import gaps_text
from nes_lab.records.counts import Counts
from nes_lab.records.counts import total as sum_counts
from nes_lab.records.layer_plan import Epitome, LayerPlan
from nes_lab.records.options import PlanOptions
from nes_lab.records.reachable import Reachable
from nes_lab.text import format_number, format_room, format_share, list_some

__all__ = ["FlatLayers", "flat_layers", "flat_plan", "flat_plan_of_survey", "flat_region"]

SETTINGS = ("keep", "patch_channels", "routing")
"""Settings of ``overrides`` that a layer with a flat epitome can have."""

FULL_MADDS = (
    "a flat epitome (share, windows) saves params, not multiply-adds: each weight is sampled completely, so the network takes as many "
    "as the dense one"
)


@dataclass(frozen=True)
class FlatLayers:
    """The layers that get flat epitomes, and which epitome each of them reads.

    Args:
        survey: List of the layers of the model, with reasons.
        layers: The layers that are replaced, in module order.
        names: Name of the epitome that each of them reads.
        plans: Plan of each of them with an epitome of as many cells as one patch has numbers, the fewest possible.
        options: Options of planning.
    """

    survey: Survey
    layers: tuple[SurveyedLayer, ...]
    names: tuple[str, ...]
    plans: tuple[LayerPlan, ...]
    options: PlanOptions

    @cached_property
    def weights(self) -> dict[str, int]:
        """Name of each epitome -> number of weights that are sampled from it."""
        weights = dict.fromkeys(self.names, 0)
        for name, layer in zip(self.names, self.layers, strict=True):
            weights[name] += prod(layer.weight_shape)
        return weights

    @cached_property
    def fewest_cells(self) -> dict[str, int]:
        """Name of each epitome -> numbers of the largest patch that is read from it, the fewest cells that it can have."""
        fewest = dict.fromkeys(self.names, 1)
        for name, plan in zip(self.names, self.plans, strict=True):
            fewest[name] = max(fewest[name], plan.epitome_shape[0])
        return fewest

    @cached_property
    def dtypes(self) -> dict[str, str]:
        """Name of each epitome -> dtype of its cells."""
        plan = self.plan(self.fewest_cells, None)
        return {name: epitome.dtype for name, epitome in plan.epitomes.items()}

    @cached_property
    def other(self) -> Counts:
        """Counts of the compressed network without the cells of its epitomes."""
        return self.least - self._of_cells(self.fewest_cells)

    def _of_cells(self, cells: Mapping[str, int]) -> Counts:
        return sum_counts(Epitome.of((count,), self.dtypes[name]).counts for name, count in cells.items())

    def largest(self, limits: Mapping[str, float]) -> dict[str, int] | None:
        """Return the cells of each epitome in the largest network that meets all limits; None if even the smallest does not.

        Args:
            limits: Name of each limited quantity -> the largest number of it.
        """

        def meets(cells: Mapping[str, int]) -> bool:
            counts = self.other + self._of_cells(cells)
            return all(getattr(counts, name) <= limit for name, limit in limits.items())

        few, many = sum(self.fewest_cells.values()), sum(self.weights.values()) + sum(self.fewest_cells.values()) + 1
        if not meets(self.fewest_cells):
            return None
        while many - few > 1:  # the limits are met with ``few`` cells, and not with ``many``
            middle = (few + many) // 2
            few, many = (middle, many) if meets(self.cells(middle)) else (few, middle)
        return self.cells(few)

    def cells(self, total: int) -> dict[str, int]:
        """Distribute a number of cells: each epitome gets the same share of its weights, but not too few for its patches.

        Args:
            total: Number of all cells, at least as many as the epitomes need.
        """
        chosen = dict(self.fewest_cells)
        free = set(chosen)
        while True:
            room = total - sum(chosen[name] for name in chosen if name not in free)
            ratio = room / max(sum(self.weights[name] for name in free), 1)
            small = {name for name in free if floor(ratio * self.weights[name]) < self.fewest_cells[name]}
            if not small:
                break
            free -= small
        chosen |= {name: floor(ratio * self.weights[name]) for name in free}
        for name in sorted(free, key=lambda name: -self.weights[name]):
            chosen[name] += 1 if sum(chosen.values()) < total else 0
        return chosen

    def plan(self, cells: Mapping[str, int], budget: Budget | None) -> CompressionPlan:
        """Return the plan with the given number of cells of each epitome."""
        shared = self.options.share != "layer"
        plans = {
            layer.index: replace(
                plan_layer(layer, (cells[name],), _own(self.options, plan)), reads=name if shared else "", why=plan.why
            )
            for layer, name, plan in zip(self.layers, self.names, self.plans, strict=True)
        }
        origin = f"{_described(self.options)}, routing={self.options.routing}"
        plan = assemble(self.survey, plans, budget, origin, untouched="the budget is met without it")
        gaps = gaps_text(self.survey.report.not_counted)
        notes = (*plan.notes, *([f"not counted: {gaps}"] if gaps else []))
        return replace(plan, snap=self.options.snap, notes=notes)

    @cached_property
    def least(self) -> Counts:
        """Counts of the smallest network that can be reached."""
        return self.plan(self.fewest_cells, None).predicted


def flat_plan(model: nn.Module, budget: Budget, example_input: Any, options: PlanOptions) -> CompressionPlan:
    """Make the plan for a budget with flat epitomes.

    Args:
        model: The dense model; it is not changed.
        budget: The budget. It can limit params and stored bytes; other limits are met only if the dense network meets them.
        example_input: Input of one forward pass: a tensor, a tuple of arguments or a dict of keyword arguments.
        options: Options of planning, with the scope ``flat``.

    Raises:
        BudgetError: If the budget cannot be met.
        OptionError: If an option does not go with flat epitomes, or a pattern matches no layer.
    """
    return flat_plan_of_survey(run_and_list(model, example_input), model, budget, options)


def flat_plan_of_survey(surveyed: Survey, model: nn.Module, budget: Budget, options: PlanOptions) -> CompressionPlan:
    """Make the plan for a budget, for a model that was surveyed before. See :func:`flat_plan`.

    Args:
        surveyed: The layers of the model, from :func:`nes_lab.planning.survey.run_and_list`.
        model: The dense model; it is not changed.
        budget: The budget.
        options: Options of planning, with the scope ``flat``.

    Raises:
        BudgetError: If the budget cannot be met.
        OptionError: If an option does not go with flat epitomes, or a pattern matches no layer.
    """
    flat = flat_layers(surveyed, model, options)
    limits = budget.limits(surveyed.dense)
    _check_costs(budget, limits, surveyed.dense)
    if all(limit >= getattr(surveyed.dense, name) for name, limit in limits.items()):
        plan = replace(flat, layers=(), names=(), plans=()).plan({}, budget)
        return replace(plan, notes=(*plan.notes, "the dense model already meets the budget"))
    cells = flat.largest(limits)
    if cells is None:
        raise _unreachable(flat, limits)
    plan = flat.plan(cells, budget)
    return replace(plan, notes=(*plan.notes, *_notes(plan, limits)))


def flat_layers(surveyed: Survey, model: nn.Module, options: PlanOptions) -> FlatLayers:
    """List the layers that get flat epitomes, and which epitome each of them reads.

    A layer whose factors and starts would be as many numbers as its weight stays dense.

    Args:
        surveyed: The layers of the model.
        model: The dense model; it is not changed.
        options: Options of planning, with the scope ``flat``.

    Raises:
        BudgetError: If the model has no layer that an epitome could replace.
        OptionError: If an option does not go with flat epitomes, or a pattern matches no layer.
    """
    _check_options(options)
    surveyed = with_reasons(surveyed, model, options)
    settings = settings_by_layer(surveyed.layers, options.overrides)
    for layer_settings in settings.values():
        _check_settings(layer_settings)
    kept: list[SurveyedLayer] = []
    plans: dict[int, LayerPlan] = {}
    for layer in surveyed.layers:
        own = settings.get(layer.name)
        plan = None if layer.reason else _smallest(layer, own.options(options) if own else options, own)
        if plan is not None and plan.predicted.params >= layer.dense.params + plan.epitome_shape[0]:
            reason = "the factors and starts of its patches would be as many numbers as its weight"
            kept.append(replace(layer, reason=reason))
            continue
        kept.append(layer)
        if plan is not None:
            plans[layer.index] = plan
    layers = tuple(layer for layer in kept if layer.index in plans)
    if not layers:
        raise BudgetError(f"{type(model).__name__} has no layer that a flat epitome could replace")
    return FlatLayers(
        survey=replace(surveyed, layers=tuple(kept)),
        layers=layers,
        names=tuple(shared_names(options.share, layers)),
        plans=tuple(plans[layer.index] for layer in layers),
        options=options,
    )


def flat_region(flat: FlatLayers) -> Reachable:
    """Return which params the network can have. Its multiply-adds are always those of the dense network.

    Args:
        flat: The layers that get flat epitomes.
    """
    dense, least = flat.survey.dense, flat.least
    madds, fewest, most = float(dense.madds), float(least.params), float(dense.params)
    return Reachable(dense, least, (madds,), (fewest,), (most,), (madds, madds), (most, fewest))


def _smallest(layer: SurveyedLayer, options: PlanOptions, settings: LayerSettings | None) -> LayerPlan:
    """Plan a layer with an epitome of one patch."""
    whole = plan_layer(layer, (prod(layer.weight_shape) * 4,), options, settings.why if settings else "")
    return plan_layer(layer, (prod(whole.geometry.patch_shape),), options, whole.why)


def _own(options: PlanOptions, plan: LayerPlan) -> PlanOptions:
    return replace(options, routing=plan.routing, patch_channels=plan.patch_channels)


def _described(options: PlanOptions) -> str:
    return f"share={options.share}, windows={options.windows}"


def _check_options(options: PlanOptions) -> None:
    check_flat_routing("flat", options.routing)
    if options.strategy != "uniform":
        raise OptionError(
            f"strategy={options.strategy!r} does not go with a flat epitome (share, windows); all layers have one ratio of cells to "
            "weights, strategy='uniform'"
        )


def _check_settings(settings: LayerSettings) -> None:
    wrong = next((name for name in settings.values if name not in SETTINGS), None)
    if wrong is not None:
        raise OptionError(
            f"overrides[{settings.patterns}] sets {wrong!r}, which does not go with a flat epitome (share, windows); it may set "
            f"{', '.join(SETTINGS)}"
        )
    check_flat_routing("flat", settings.values.get("routing", ""))


def _check_costs(budget: Budget, limits: Mapping[str, float], dense: Counts) -> None:
    """Refuse limits that only a network with fewer multiply-adds could meet."""
    if budget.latency_ms is not None:
        raise BudgetError(f"latency_ms={budget.latency_ms!r} cannot be met: {FULL_MADDS}. Leave out share and windows")
    if limits.get("madds", dense.madds) < dense.madds:
        raise BudgetError(
            f"madds={format_number(limits['madds'])} cannot be met: {FULL_MADDS} ({format_number(dense.madds)}). Leave out share and "
            "windows, or limit params or stored_bytes"
        )


def _unreachable(flat: FlatLayers, limits: Mapping[str, float]) -> BudgetError:
    least, dense = flat.least, flat.survey.dense
    factors = sum(prod(plan.geometry.starts_shape(0)) for plan in flat.plans)
    name, limit = next((name, limit) for name, limit in limits.items() if getattr(least, name) > limit)
    reached = getattr(least, name)
    return BudgetError(
        f"{name}={format_number(limit)} cannot be met: the least reachable is {format_number(reached)} ({reached:,}, "
        f"{format_share(reached / getattr(dense, name))} of dense) with {_described(flat.options)}. It has {format_number(factors)} "
        "factors of windows; larger patch_channels or fewer windows need fewer",
        least=least,
        dense=dense,
    )


def _notes(plan: CompressionPlan, limits: Mapping[str, float]) -> Sequence[str]:
    weights = sum(prod(layer.weight_shape) * layer.windows for layer in plan.layers.values())
    cells = sum(epitome.params for epitome in plan.epitomes.values())
    share, name = max((getattr(plan.predicted, name) / limit, name) for name, limit in limits.items())
    name = {"madds": "MAdds", "stored_bytes": "bytes"}.get(name, name)
    first = [readers[0] for readers in plan.readers.values() if len(readers) > 1]
    shared = [f"the cells that layers share are counted in the first layer that reads them: {list_some(first)}"]
    return (
        *(shared if first else []),
        f"{len(plan.epitomes)} flat epitome{'s' if len(plan.epitomes) != 1 else ''} with {cells:,} cells; each cell is read "
        f"{weights / cells:.1f} times on average",
        f"under the {name} budget by {format_room(share)}",
    )
