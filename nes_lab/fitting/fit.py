"""Compress a pretrained model and fit the epitomes to the model's weights."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.errors import OptionError, check_choice, check_int, warn_user
from nes_lab.fitting.agreement import Agreement, keep_first, measure_agreement
from nes_lab.fitting.calibration_batches import calibration_batches
from nes_lab.fitting.flat_epitomes import fit_flat_epitome_
from nes_lab.fitting.input_moments import Moments, input_moments
from nes_lab.fitting.norm_statistics import reestimate_norms_
from nes_lab.fitting.row_scales import move_into_norm_, scaling_norms
from nes_lab.fitting.search import fit_to_starts, why_not_searchable
from nes_lab.fitting.search import search_starts as search
from nes_lab.fitting.search_state import SearchOptions, SearchState
from nes_lab.geometry.start_rules import routing_mode
from nes_lab.nn.init import fit_epitome, fit_method, relative_residual
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.progress_bar import OnProgress, progress_reporter
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.fit_report import FitReport, LayerFit
from nes_lab.renamed import progress_or_callback, renamed_arguments
from nes_lab.surgery.replace import replace_layers
from nes_lab.surgery.verify import why_not_verified

__all__ = ["fit", "plan_or_search"]

Model = TypeVar("Model", bound=nn.Module)


def plan_or_search(starts: str) -> dict[str, bool]:
    """Translate the argument ``starts`` of older versions (``"plan"`` or ``"search"``) to the argument ``search_starts``.

    :func:`~nes_lab.renamed.renamed_arguments` calls this function.

    Raises:
        OptionError: If ``starts`` is neither ``"plan"`` nor ``"search"``.

    Examples:
        >>> plan_or_search("search")
        {'search_starts': True}
    """
    return {"search_starts": check_choice("starts", starts, ("plan", "search")) == "search"}


@renamed_arguments(progress=progress_or_callback, starts=plan_or_search)
def fit(
    model: Model,
    plan: CompressionPlan,
    *,
    search_starts: bool = False,
    calibration: Any = None,
    norms: Any = None,
    row_scales: bool = True,
    snap: bool | None = None,
    seed: int = 0,
    example_input: Any = None,
    verify: bool = True,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> tuple[Model, FitReport]:
    """Compress a pretrained model, and fit the epitome of each layer to the layer's trained weight.

    Starts are the positions where the patches of a weight begin in the epitome. By default the starts of the plan are
    kept. The best epitome for these starts is then found by least squares, in closed form.

    A flat epitome (``share``, ``windows``) is fitted once to the weights of all layers that read it. The factors of its windows and
    its cells are fitted in turn, until the error no longer falls.

    ``search_starts=True`` also chooses the starts, in layers with the routing ``free``. With ``patch_channels=1`` the
    search groups similar channels. The result comes much closer to the weight than any fixed rule. A chosen start is an
    integer or lies between two cells. It can still be trained afterwards.

    Output channels that share cells may differ by a factor, positive or negative. This is possible if only a batch norm
    reads the layer's output. The factors are moved into the norm's statistics and weight, so nothing more is stored.

    Args:
        model: The dense model; it is not changed.
        plan: The compression plan, made by :func:`nes_lab.plan_for_budget` or :func:`nes_lab.preset`.
        search_starts: Choose the starts too. This needs the routing ``free``. In layers with another routing only the
            epitome is fitted, and the report says so.
        calibration: Batches of inputs on the model's device: a data loader, or a list of tensors, ``(inputs, labels)``
            or dicts of arguments. For a model with several arguments, ``((a, b), labels)``. The dense model runs on these
            batches once, to measure the inputs of each layer. Then the squared error of each layer's *output* is
            minimized. The mean of the output is corrected in the bias or the batch norm. None: the squared error of each
            layer's weight is minimized.
        norms: Batches on which the statistics of all batch norms are measured again at the end
            (:func:`nes_lab.reestimate_norms`). None: the statistics are not measured again.
        row_scales: Allow a factor for each output channel, as described above.
        snap: Round learned starts to integers permanently. Such starts cost no multiply-adds and cannot be trained. None: as
            the plan says (``plan_for_budget(..., snap=True)``). True for another plan leaves a part of a budget of
            multiply-adds unused, and gives a warning.
        seed: Seed of the search, and of the sample drawn from the calibration batches.
        example_input: Input of the run that compares the result with the plan: a tensor, a tuple of arguments or a dict of keyword
            arguments. None: an input is made from the description in the plan.
        verify: Run the result once, and compare with the plan how often each replaced layer is called, params and multiply-adds.
            The report's ``verified`` and ``not_verified`` say if this was possible.
        progress: Show a progress bar on standard error.
        on_progress: Function called with a :class:`~nes_lab.progress_bar.ProgressEvent` after each step; None: nothing is called.

    Returns:
        The compressed model, and a report. The compressed model has the class of ``model``. If ``model`` is a single
        layer, it becomes an epitome layer. Its attribute ``nes_lab_plan`` is the plan.

        The report gives for each layer the residual before and after the fit: the
        error of the sampled weight relative to the dense weight. It also says if starts were searched, and names the
        batch norm that stores the factors of the output channels. With ``calibration`` or ``norms`` it compares the outputs of
        the fitted and the dense network, and says if the network must be trained before it is used.

    Raises:
        PlanError: If the plan was made for another model, a weight contains NaN, or the result does not do what the plan says.
        OptionError: If an option has a wrong value, ``snap`` is False for a plan with integer starts, the model is on the meta
            device, or a batch is not an input of the model.

    Examples:
        >>> import torch, nes_lab
        >>> from torch import nn
        >>> model, x = nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32)), torch.randn(64, 32)
        >>> plan = nes_lab.plan_for_budget(model, nes_lab.Budget(params="60%"), x[:1], routing="free", patch_channels=1)
        >>> student, report = nes_lab.fit(model, plan, search_starts=True, norms=[x])
        >>> report.layers[0].starts, report.layers[0].norm, report.residual < report.residual_before
        ('searched', '1', True)

    Source: Zhou et al., ICLR 2020, arXiv:1907.05642. How epitomes are fitted to pretrained weights, and how starts are searched, is this
    project's work.
    """
    begun = time.perf_counter()
    snapped = _snapped(plan, snap)
    for argument, value in (("search_starts", search_starts), ("row_scales", row_scales), ("verify", verify)):
        if not isinstance(value, bool):
            raise OptionError(f"{argument}={value!r}; give True or False")
    check_int("seed", seed, 0)
    student = replace_layers(model, plan, initial_weights="reset", generator=torch.Generator().manual_seed(seed))
    if any(p.is_meta for p in student.parameters()):
        raise OptionError("model is on the meta device, where there are no weights to fit; load them first")
    if calibration is norms and isinstance(norms, Iterator):
        calibration = norms = list(norms)  # an iterator can be read only once
    compared = "norms" if calibration is None else "calibration"
    if compared == "norms":
        norms, shown = keep_first(norms)
    else:
        calibration, shown = keep_first(calibration)
    layers: list[LayerFit] = []
    flat: dict[str, LayerFit] = {}
    with progress_reporter(progress, on_progress, "fitting") as report, torch.inference_mode(False), torch.no_grad():
        moments, calibration_count = (
            ({}, 0) if calibration is None else input_moments(model, list(plan.layers), calibration, report, seed)
        )
        with left_as_it_was():  # a loader draws a random number
            example = None if shown is None else next(calibration_batches(compared, shown))
        norm_of = scaling_norms(model, plan.layers, example)
        for done, name in enumerate(plan.layers):
            report({"done": done, "total": len(plan.layers), "phase": "fit", "label": name})
            if plan.layers[name].scope == "flat":
                if name not in flat:
                    flat |= fit_flat_epitome_(
                        next(readers for readers in plan.readers.values() if name in readers),
                        model,
                        student,
                        moments=moments,
                        norm_of=norm_of,
                        search_starts=search_starts,
                        snap=snapped,
                    )
                layers.append(flat[name])
                continue
            task = _LayerTask(name, search_starts, row_scales, snapped, seed, moments.get(name), norm_of.get(name, ""))
            layers.append(_fit_layer(task, model, student))
        norm_count = 0 if norms is None else reestimate_norms_(student, norms, "norms", report)
        same = Agreement() if shown is None else measure_agreement(model, student, compared, shown, report)
        report({"done": 1, "total": 1, "phase": "fit", "label": "done"})
    student.nes_lab_plan = plan  # type: ignore[assignment]
    why_not = why_not_verified(student, plan, example_input, model) if verify else "verify=False"
    starts, seconds = "search" if search_starts else "plan", time.perf_counter() - begun
    counts, about = (calibration_count, norm_count), (same.same_top1, same.output_error, same.examples)
    checked = (not why_not, why_not)
    return student, FitReport(tuple(layers), starts, snapped, *counts, seed, seconds, *about, *checked)


def _snapped(plan: CompressionPlan, snap: bool | None) -> bool:
    """Return whether starts are rounded to integers: what the plan says, unless the argument ``snap`` says otherwise.

    Raises:
        OptionError: If ``snap`` is neither True, False nor None, or it is False and the plan counts integer starts.
    """
    if snap is None or not isinstance(plan, CompressionPlan):  # replace_layers raises an error
        return bool(getattr(plan, "snap", False))
    if not isinstance(snap, bool):
        raise OptionError(f"snap={snap!r}; give True or False, or None for what the plan says")
    if plan.snap and not snap:
        raise OptionError(
            "snap=False, but the plan counts the multiply-adds of integer starts (plan.snap is True): with starts between cells "
            "the network would need more. Leave snap out, or plan with plan_for_budget(..., snap=False)"
        )
    limited = plan.budget is not None and plan.budget.madds is not None
    if snap and not plan.snap and limited and any(routing_mode(p.routing).learned for p in plan.layers.values()):
        warn_user(
            f"snap=True, but the plan counts starts between cells: the network needs fewer multiply-adds than the "
            f"{plan.predicted.madds:,} that the plan predicts, so a part of the budget stays unused. Plan with "
            "plan_for_budget(..., snap=True)",
        )
    return snap


@dataclass(frozen=True)
class _LayerTask:
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


def _fit_layer(task: _LayerTask, model: nn.Module, student: nn.Module) -> LayerFit:
    begun = time.perf_counter()
    dense, layer = model.get_submodule(task.name), student.get_submodule(task.name)
    assert isinstance(layer, EpitomeLayer)  # compress replaced the dense layer by an epitome layer
    weight: Tensor = dense.weight.detach().double()  # type: ignore[operator, union-attr, assignment]
    planned, why_not = layer.routing_map(), why_not_searchable(layer.routing_map(), layer.routing_mode)
    corrects_mean = bool(task.norm) or layer.bias is not None
    moment = None if task.moments is None else task.moments.second(centered=corrects_mean).to(weight.device)
    scaled = task.row_scales and bool(task.norm)
    if task.search_starts and not why_not:
        state = search(planned, weight, scaled, moment, SearchOptions(fractional=not task.snap, seed=task.seed))
    else:
        if task.snap:
            layer.snap()
        state = fit_to_starts(layer.routing_map(), weight, scaled, moment)
    state = _center_factors(state)
    _install(layer, state, task.snap)
    _correct_output(layer, state, student.get_submodule(task.norm) if task.norm else None, task.moments)
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
        error_before=None if moment is None else relative_residual(planned, weight, unscaled, moment=moment),
        error_after=None if moment is None else relative_residual(state.routing_map, weight, **fitted, moment=moment),
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


def _correct_output(layer: EpitomeLayer, state: SearchState, norm: nn.Module | None, moments: Moments | None) -> None:
    """Correct a layer's output after its epitome was fitted.

    The batch norm after the layer is changed: it undoes the factors of the output channels and corrects the mean of the
    output. Without a norm, the mean is corrected in the layer's bias.

    Args:
        layer: The epitome layer; its bias may change.
        state: The fitted epitome and the factors.
        norm: The batch norm after the layer; None: there is no such norm.
        moments: Mean and covariance of the layer's inputs; None: the mean of the output is not corrected.
    """
    shift = None
    if moments is not None:
        mean = moments.mean.to(state.weight.device)
        dense_mean, fitted_mean = (w.double().flatten(1) @ mean for w in (state.weight, layer.materialize()))
        shift = fitted_mean - (dense_mean if state.row_scale is None else dense_mean / state.row_scale)
    if norm is not None:
        move_into_norm_(norm, layer.bias, state.row_scale, shift)
    elif layer.bias is not None and shift is not None:
        layer.bias.sub_(shift.to(layer.bias.dtype))
