"""Fit flat epitomes to the weights of a pretrained model. Each epitome is fitted once, to all layers that read it.

Tests: tests/fitting/test_flat_epitomes.py
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import cast

from torch import Tensor, nn

from nes_lab.epitome.routing_map import RoutingMap
from nes_lab.fitting.flat_start_search import search_flat_starts
from nes_lab.fitting.input_moments import Moments
from nes_lab.fitting.one_layer import correct_variance_
from nes_lab.fitting.row_scales import move_into_norm_
from nes_lab.fitting.search import why_not_searchable
from nes_lab.fitting.sequential_moments import SequentialMoments
from nes_lab.nn.flat_fit import fit_flat
from nes_lab.nn.init import relative_residual
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.records.fit_report import LayerFit

__all__ = ["fit_flat_epitome_"]

SURELY_BETTER = 0.5
"""The plan's starts are not fitted if the epitome has fewer cells than this share of the weights and every layer can be searched.

Searched starts were better in all such cases that were measured. It is not checked in each fit: they are compared only with random
cells at the plan's starts, and the plan's starts are fitted after all unless they beat these.
"""

KEPT_PLAN = "plan; the search found none better"
"""What the report says of the starts if a search was possible, but the plan's starts were as good."""


def fit_flat_epitome_(
    readers: Sequence[str],
    model: nn.Module,
    student: nn.Module,
    *,
    moments: Mapping[str, Moments],
    norm_of: Mapping[str, str],
    search_starts: bool,
    snap: bool,
    seed: int = 0,
) -> dict[str, LayerFit]:
    """Fit one flat epitome, and the factors of all layers that read it, to the dense weights of these layers.

    The squared error of the weights is minimized, also if ``moments`` are given. Then the mean of each layer's output is corrected
    in its bias or in the batch norm that follows. In a fit layer after layer, the error is that to the weight which predicts the
    outputs of the dense layer best from the inputs in the compressed network, and the variance is corrected too.

    Args:
        readers: Names of the layers that read the epitome.
        model: The dense model.
        student: The compressed model with random cells; it is changed.
        moments: Means and covariances of the inputs of layers, by name; empty if there are no calibration batches.
        norm_of: Name of each layer -> name of the batch norm that alone reads its output.
        search_starts: Search better starts too, in layers with the routing ``free``. They are kept if they are better than the plan's.
        snap: Round learned starts to integers permanently.
        seed: Seed of the search.

    Returns:
        The result of each layer, by name. The errors "before" are those of random cells with the best factors.
    """
    begun = time.perf_counter()
    layers = [cast(EpitomeLayer, student.get_submodule(name)) for name in readers]
    weights = [cast(Tensor, model.get_submodule(name).weight).detach().double() for name in readers]
    targets = [
        _target(moments, name, layer, weight, norm_of) for name, layer, weight in _each(readers, layers, weights)
    ]
    if snap:
        for layer in layers:
            layer.snap()
    maps = [layer.routing_map() for layer in layers]
    before = fit_flat(maps, targets, layers[0].epitome, rounds=0)
    _install_(layers, before.epitome, before.alphas)
    seconds = [_second(moments, name, layer, norm_of) for name, layer in zip(readers, layers, strict=True)]
    first = [_errors(*args) for args in zip(layers, weights, targets, seconds, strict=True)]
    why_not = [why_not_searchable(m, layer.routing_mode) for m, layer in zip(maps, layers, strict=True)]
    searches = search_starts and not all(why_not)
    share = len(layers[0].epitome) / sum(weight.numel() for weight in weights)
    skips = searches and not any(why_not) and share < SURELY_BETTER
    fitted = before if skips else fit_flat(maps, targets, layers[0].epitome)
    found = KEPT_PLAN
    if searches:
        moved, searched = search_flat_starts(maps, targets, layers[0].epitome, [not reason for reason in why_not], seed)
        if searched.errors[-1] < fitted.errors[-1]:
            fitted, found = searched, "searched"
            _move_(layers, moved)
        elif skips:
            fitted = fit_flat(maps, targets, layers[0].epitome)
    _install_(layers, fitted.epitome, fitted.alphas)
    results: dict[str, LayerFit] = {}
    of_each = zip(_each(readers, layers, weights), targets, seconds, first, why_not, strict=True)
    for (name, layer, weight), target, second, (residual, error), reason in of_each:
        norm = norm_of.get(name, "")
        after = _errors(layer, weight, target, second)
        _correct_output_(layer, weight, student.get_submodule(norm) if norm else None, moments.get(name))
        results[name] = LayerFit(
            name=name,
            routing=layer.routing_mode,
            scope=layer.geometry.scope,
            method="alternating least squares",
            starts=(reason or found) if search_starts else "plan",
            norm="",
            weight_energy=float(weight.square().sum()),
            residual_before=residual,
            residual_after=after[0],
            error_before=error,
            error_after=after[1],
            iterations=len(fitted.errors) - 1,
            seconds=(time.perf_counter() - begun) / len(readers),
        )
    return results


def _each(
    readers: Sequence[str], layers: Sequence[EpitomeLayer], weights: Sequence[Tensor]
) -> list[tuple[str, EpitomeLayer, Tensor]]:
    return list(zip(readers, layers, weights, strict=True))


def _move_(layers: Sequence[EpitomeLayer], routing_maps: Sequence[RoutingMap]) -> None:
    """Write searched starts into the layers that can store them."""
    for layer, routing_map in zip(layers, routing_maps, strict=True):
        starts = routing_map.starts[0]
        if layer.routing.searchable and starts is not None:
            layer.routing.set_starts_(0, starts)


def _install_(layers: Sequence[EpitomeLayer], epitome: Tensor, alphas: Sequence[Tensor]) -> None:
    layers[0].epitome.copy_(epitome)
    for layer, alpha in zip(layers, alphas, strict=True):
        cast(Tensor, layer.alpha).copy_(alpha)


def _corrects_mean(name: str, layer: EpitomeLayer, norm_of: Mapping[str, str]) -> bool:
    return bool(norm_of.get(name)) or layer.bias is not None


def _target(
    moments: Mapping[str, Moments], name: str, layer: EpitomeLayer, weight: Tensor, norm_of: Mapping[str, str]
) -> Tensor:
    """Return the weight that a layer's sampled weight should come close to: the dense one, unless layers are fitted one by one."""
    return moments[name].target(weight, _corrects_mean(name, layer, norm_of))[0] if name in moments else weight


def _second(
    moments: Mapping[str, Moments], name: str, layer: EpitomeLayer, norm_of: Mapping[str, str]
) -> Tensor | None:
    """Return the matrix of second moments of a layer's inputs, without the mean if that is corrected; None if not measured."""
    if name not in moments:
        return None
    return moments[name].second(_corrects_mean(name, layer, norm_of)).to(layer.epitome.device)


def _errors(layer: EpitomeLayer, weight: Tensor, target: Tensor, moment: Tensor | None) -> tuple[float, float | None]:
    """Return the relative error of a layer's weight, and that of its output if the moments of its inputs are given."""
    routing_map = layer.routing_map()
    error = None if moment is None else relative_residual(routing_map, target, layer.epitome, moment=moment)
    return relative_residual(routing_map, weight, layer.epitome), error


def _correct_output_(layer: EpitomeLayer, weight: Tensor, norm: nn.Module | None, moments: Moments | None) -> None:
    """Let a layer's output have the mean that it had in the dense network, by its bias or by the batch norm that follows.

    After a fit layer after layer, the norm also corrects the variance.
    """
    if moments is None:
        return
    fitted = layer.materialize().double().flatten(1)
    shift = fitted @ moments.mean - moments.output_mean(weight)
    if norm is not None:
        move_into_norm_(norm, layer.bias, None, shift)
        if isinstance(moments, SequentialMoments):
            correct_variance_(norm, moments.variance_ratio(weight, fitted))
    elif layer.bias is not None:
        layer.bias.sub_(shift.to(layer.bias.dtype))
