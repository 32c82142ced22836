"""What one epitome costs in one layer, all others dense: its residual, and the loss it adds."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, prod

import torch
from torch import Tensor

from nes_lab.epitome.routing_map import RoutingMap
from nes_lab.fitting.search import SearchOptions, SearchState, search_starts, why_not_searchable
from nes_lab.geometry.start_rules import rule_starts
from nes_lab.nn.init import fit_epitome, relative_residual
from nes_lab.planning.sensitivity.calibration_loss import Judge
from nes_lab.planning.survey import SurveyedLayer
from nes_lab.records.compression_plan import LayerPlan
from nes_lab.records.sensitivity_report import SensitivityPoint

__all__ = ["measure_point"]

_MOST_LOSS = 1e6  # what a loss that is not finite counts as


def measure_point(
    layer: SurveyedLayer, plan: LayerPlan, judge: Judge | None, dense: float | None, readers: Mapping[str, str] | None
) -> SensitivityPoint:
    """Fit an epitome of the plan's shape to the layer's weight, and measure it.

    Args:
        layer: With a weight of numbers.
        plan: Shape, routing, patches.
        judge: Tells the loss with the sampled weight in place; None: residual only.
        dense: The loss without.
        readers: Batch norms that take factors of rows, by layer: the starts are then searched for; None: they are the plan's.
    """
    weight: Tensor = layer.module.weight.detach()  # type: ignore[assignment, union-attr]
    rule = rule_starts(plan.geometry, plan.routing, plan.seed)
    starts = tuple(None if s is None else torch.from_numpy(s).to(weight.device) for s in rule)
    routing_map = RoutingMap(plan.geometry, starts, plan.routing)
    with torch.no_grad():
        found = _found(routing_map, weight, plan.routing, None if readers is None else bool(readers.get(layer.name)))
        residual = relative_residual(found.routing_map, weight, found.epitome, row_scale=found.row_scale)
        more = None
        if judge is not None and dense is not None:
            more = judge.loss_with(weight, _sampled(found, weight)) - dense
            more = more if isfinite(more) else _MOST_LOSS
    ratio = prod(plan.epitome_shape) / prod(plan.weight_shape)
    return SensitivityPoint(plan.epitome_shape, ratio, residual, more)


def _found(routing_map: RoutingMap, weight: Tensor, routing: str, scaled: bool | None) -> SearchState:
    if scaled is None or why_not_searchable(routing_map, routing):
        return SearchState(weight, routing_map, fit_epitome(routing_map, weight))
    return search_starts(routing_map, weight, scaled, options=SearchOptions(fractional=False))


def _sampled(found: SearchState, weight: Tensor) -> Tensor:
    sampled = found.routing_map.materialize(found.epitome)
    if found.row_scale is not None:
        sampled = sampled * found.row_scale.view(-1, *[1] * (weight.ndim - 1))
    return sampled.to(weight.dtype)
