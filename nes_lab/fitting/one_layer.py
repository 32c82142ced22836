"""Fit the epitome of one layer to the layer's trained weight, and correct the mean of the layer's output.

Tests: tests/fitting/test_fit.py and tests/fitting/test_sequential.py
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from torch import Tensor, nn

from nes_lab.fitting.input_moments import Moments
from nes_lab.fitting.row_scales import move_into_norm_
from nes_lab.fitting.search import fit_to_starts, why_not_searchable
from nes_lab.fitting.search import search_starts as search
from nes_lab.fitting.search_state import SearchOptions, SearchState
from nes_lab.fitting.sequential_moments import SequentialMoments
from nes_lab.nn.init import fit_epitome, fit_method, relative_residual
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.records.fit_report import LayerFit

__all__ = ["LayerTask", "correct_variance_", "fit_layer"]


@dataclass(frozen=True)
class LayerTask:
    """The options for fitting one layer of a model.

    Args:
        name: Module name of the layer.
        search_starts: Choose the starts (positions of patches in the epitome) too.
        row_scales: Allow a factor for each output channel.
        snap: Round stored starts to integers permanently.
        seed: Seed of the search.
        moments: Mean and covariance of the layer's inputs. With them, the error of the layer's output is minimized.
            None: the error of the layer's weight is minimized.
        norm: Name of the batch norm that can take the factors of the output channels; empty if there is none.
    """

    name: str
    search_starts: bool
    row_scales: bool
    snap: bool
    seed: int
    moments: Moments | None
    norm: str


def fit_layer(task: LayerTask, model: nn.Module, student: nn.Module) -> LayerFit:
    """Fit the epitome of one layer, write it into the layer, and correct the mean of the layer's output.

    Args:
        task: What to fit, and how.
        model: The dense model.
        student: The compressed model; the layer and the batch norm after it are changed.

    Returns:
        How close the sampled weight is to the dense weight, and the output to the output of the dense layer.
    """
    begun = time.perf_counter()
    dense, layer = model.get_submodule(task.name), student.get_submodule(task.name)
    assert isinstance(layer, EpitomeLayer)  # compress replaced the dense layer by an epitome layer
    weight: Tensor = dense.weight.detach().double()  # type: ignore[operator, union-attr, assignment]
    planned, why_not = layer.routing_map(), why_not_searchable(layer.routing_map(), layer.routing_mode)
    corrects_mean = bool(task.norm) or layer.bias is not None
    target, moment = (weight, None) if task.moments is None else task.moments.target(weight, corrects_mean)
    scaled = task.row_scales and bool(task.norm)
    if task.search_starts and not why_not:
        state = search(planned, target, scaled, moment, SearchOptions(fractional=not task.snap, seed=task.seed))
    else:
        if task.snap:
            layer.snap()
        state = fit_to_starts(layer.routing_map(), target, scaled, moment)
    state = _center_factors(state)
    _install(layer, state, task.snap)
    _correct_output(layer, weight, state, student.get_submodule(task.norm) if task.norm else None, task.moments)
    unscaled = fit_epitome(planned, weight)
    fitted = {"epitome": state.epitome, "row_scale": state.row_scale}
    return LayerFit(
        name=task.name,
        routing=layer.routing_mode,
        scope=layer.geometry.scope,
        method=fit_method(state.routing_map, moment),
        starts=(why_not or "searched") if task.search_starts else "plan",
        norm=task.norm if scaled else "",
        weight_energy=float(weight.square().sum()),
        residual_before=relative_residual(planned, weight, unscaled),
        residual_after=relative_residual(state.routing_map, weight, **fitted),
        error_before=None if moment is None else relative_residual(planned, target, unscaled, moment=moment),
        error_after=None if moment is None else relative_residual(state.routing_map, target, **fitted, moment=moment),
        iterations=len(state.residuals),
        seconds=time.perf_counter() - begun,
    )


def _center_factors(state: SearchState) -> SearchState:
    """Divide the factors of the output channels by their geometric mean, and multiply the epitome by this mean.

    The sampled weight stays the same.
    """
    if state.row_scale is None:
        return state
    # The epitome's cells become about as large as the weight's entries, which helps training.
    mean = state.row_scale.abs().log().mean().exp()
    return replace(state, epitome=state.epitome * mean, row_scale=state.row_scale / mean)


def _install(layer: EpitomeLayer, state: SearchState, snap: bool) -> None:
    """Write a fitted epitome and the starts (positions of patches) into a layer.

    With ``snap``, round the starts to integers.
    """
    layer.epitome.copy_(state.epitome)
    if layer.routing.searchable:
        for axis in layer.routing.sampled:
            starts = state.routing_map.starts[axis]
            assert starts is not None  # the routing map has starts for every sampled axis of the layer
            layer.routing.set_starts_(axis, starts)
    if snap:
        layer.snap()


def _correct_output(
    layer: EpitomeLayer, weight: Tensor, state: SearchState, norm: nn.Module | None, moments: Moments | None
) -> None:
    """Correct a layer's output after its epitome was fitted.

    The batch norm after the layer is changed: it undoes the factors of the output channels and corrects the mean of the
    output. After a sequential fit it also corrects the variance, which least squares make too small; the layers that are fitted later
    then get inputs of the usual size. Without a norm, the mean is corrected in the layer's bias.

    Args:
        layer: The epitome layer; its bias may change.
        weight: The dense weight.
        state: The fitted epitome and the factors.
        norm: The batch norm after the layer; None: there is no such norm.
        moments: Mean and covariance of the layer's inputs; None: the mean of the output is not corrected.
    """
    shift = None
    if moments is not None:
        dense_mean, fitted_mean = moments.output_mean(weight), layer.materialize().double().flatten(1) @ moments.mean
        shift = fitted_mean - (dense_mean if state.row_scale is None else dense_mean / state.row_scale)
    if norm is not None:
        move_into_norm_(norm, layer.bias, state.row_scale, shift)
        if isinstance(moments, SequentialMoments):
            correct_variance_(norm, moments.variance_ratio(weight, state.sampled().flatten(1)))
    elif layer.bias is not None and shift is not None:
        layer.bias.sub_(shift.to(layer.bias.dtype))


def correct_variance_(norm: nn.Module, ratio: Tensor) -> None:
    """Multiply the running variance of a batch norm, with its ``eps``, by a number for each channel."""
    variance: Tensor = norm.running_var  # type: ignore[assignment]
    eps: float = norm.eps  # type: ignore[assignment]
    variance.copy_(((variance.double() + eps) * ratio - eps).clamp_min(0))
