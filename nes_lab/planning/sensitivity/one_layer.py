"""Measure one epitome size in one layer while all other layers stay dense.

Two things are measured: the residual (error of the sampled weight, relative to the dense weight) and how much the model's
loss grows.

Tests: tests/planning/sensitivity/test_measure.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, prod

import torch
from torch import Tensor

from nes_lab.epitome.routing_map import RoutingMap
from nes_lab.fitting.search import SearchOptions, SearchState, search_starts, why_not_searchable
from nes_lab.geometry.start_rules import rule_starts
from nes_lab.nn.init import fit_epitome, relative_residual
from nes_lab.planning.sensitivity.calibration_loss import CalibrationLoss
from nes_lab.planning.survey import SurveyedLayer
from nes_lab.records.layer_plan import LayerPlan
from nes_lab.records.sensitivity_report import SensitivityPoint

__all__ = ["measure_point"]

MAX_LOSS_INCREASE = 1e6
"""Loss increase to record if the loss is not finite."""


def measure_point(
    layer: SurveyedLayer,
    plan: LayerPlan,
    calibration_loss: CalibrationLoss | None,
    dense_loss: float | None,
    norms: Mapping[str, str] | None,
) -> SensitivityPoint:
    """Fit an epitome of the planned shape to a layer's weight, and measure how good the sampled weight is.

    Two things are measured: the residual (error of the sampled weight, relative to the dense weight) and how much the model's
    loss grows with the sampled weight.

    Args:
        layer: The dense layer, with its weight.
        plan: Plan of the layer. It gives the shape, routing and patches of the epitome.
        calibration_loss: Computes the model's loss with another weight in this layer; None measures the residual only.
        dense_loss: Loss of the dense model; None if there is no calibration data.
        norms: Dict from layer name to the name of the batch norm after it. If given, better starts (positions of
            patches in the epitome) are searched, and layers in the dict may get a factor for each output channel. None
            keeps the starts of the plan.
    """
    weight: Tensor = layer.module.weight.detach()  # type: ignore[assignment, union-attr]
    rule = rule_starts(plan.geometry, plan.routing, plan.seed)
    starts = tuple(None if s is None else torch.from_numpy(s).to(weight.device) for s in rule)
    routing_map = RoutingMap(plan.geometry, starts, plan.routing)
    with torch.inference_mode(False), torch.no_grad():
        row_scales = None if norms is None else bool(norms.get(layer.name))
        fitted = _fit(routing_map, weight, plan.routing, row_scales)
        residual = relative_residual(fitted.routing_map, weight, fitted.epitome, row_scale=fitted.row_scale)
        increase = None
        if calibration_loss is not None and dense_loss is not None:
            increase = calibration_loss.loss_with(weight, _sampled_weight(fitted, weight)) - dense_loss
            increase = increase if isfinite(increase) else MAX_LOSS_INCREASE
    ratio = prod(plan.epitome_shape) / prod(plan.weight_shape)
    return SensitivityPoint(plan.epitome_shape, ratio, residual, increase)


def _fit(routing_map: RoutingMap, weight: Tensor, routing: str, row_scales: bool | None) -> SearchState:
    """Fit an epitome to a weight, with a search for better starts (positions of patches) if the options ask for one.

    Args:
        routing_map: The starts of the layer.
        weight: The weight to approximate.
        routing: The layer's routing, such as ``"free"``.
        row_scales: Allow a factor for each output channel. None: the starts are not searched, and there are no factors.
    """
    if row_scales is None or why_not_searchable(routing_map, routing):
        return SearchState(weight, routing_map, fit_epitome(routing_map, weight))
    return search_starts(routing_map, weight, row_scales, options=SearchOptions(fractional=False))


def _sampled_weight(fitted: SearchState, weight: Tensor) -> Tensor:
    sampled = fitted.routing_map.materialize(fitted.epitome)
    if fitted.row_scale is not None:
        sampled = sampled * fitted.row_scale.view(-1, *[1] * (weight.ndim - 1))
    return sampled.to(weight.dtype)
