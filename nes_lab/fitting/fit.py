"""Compress a pretrained model and fit the epitomes to the model's weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import nn

from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.errors import OptionError, check_choice, check_int, warn_user
from nes_lab.fitting.agreement import Agreement, keep_first, measure_agreement
from nes_lab.fitting.calibration_batches import calibration_batches
from nes_lab.fitting.flat_epitomes import fit_flat_epitome_
from nes_lab.fitting.input_moments import Moments, input_moments
from nes_lab.fitting.norm_statistics import reestimate_norms_
from nes_lab.fitting.one_layer import LayerTask, fit_layer
from nes_lab.fitting.row_scales import scaling_norms
from nes_lab.fitting.sequential_moments import dense_outputs, sequential_moments
from nes_lab.geometry.start_rules import routing_mode
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
    sequential: bool = False,
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

    A flat epitome (``scope="flat"``, ``share``, ``windows``) is fitted once to the weights of all layers that read it. The factors of
    its windows and its cells are fitted in turn, until the error no longer falls.

    ``search_starts=True`` also chooses the starts, in layers with the routing ``free``. With ``patch_channels=1`` the
    search groups similar channels. The result comes much closer to the weight than any fixed rule. A chosen start is an
    integer or lies between two cells; in a flat epitome it is an integer. It can still be trained afterwards. If only params must
    fall, flat epitomes with short patches, such as ``patch_channels=(1, 4)``, keep most of the network (docs/fit.md).

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
        sequential: Fit the layers one after the other, each on its inputs in the *compressed* network, so that it also corrects the
            errors of the layers before it. This keeps much more of the network (docs/fit.md), but the compressed network runs once
            per layer up to that layer, and the calibration batches stay in memory. It needs ``calibration``, and a layer that is
            called several times is fitted to its first call. Layers cannot share an epitome. False: all layers are fitted to their
            inputs in the dense network.
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
    for argument, value in (
        ("search_starts", search_starts),
        ("row_scales", row_scales),
        ("verify", verify),
        ("sequential", sequential),
    ):
        if not isinstance(value, bool):
            raise OptionError(f"{argument}={value!r}; give True or False")
    check_int("seed", seed, 0)
    _check_sequential(sequential, calibration, plan)
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
    layers: dict[str, LayerFit] = {}
    with progress_reporter(progress, on_progress, "fitting") as report, torch.inference_mode(False), torch.no_grad():
        order, moments_of, calibration_count = _measurement(model, student, calibration, sequential, report, seed, plan)
        with left_as_it_was():  # a loader draws a random number
            example = None if shown is None else next(calibration_batches(compared, shown))
        norm_of = scaling_norms(model, plan.layers, example)
        for done, name in enumerate(order):
            report({"done": done, "total": len(order), "phase": "fit", "label": name})
            if plan.layers[name].scope == "flat":
                if name not in layers:
                    readers = next(readers for readers in plan.readers.values() if name in readers)
                    layers |= fit_flat_epitome_(
                        readers,
                        model,
                        student,
                        moments={reader: m for reader in readers if (m := moments_of(reader)) is not None},
                        norm_of=norm_of,
                        search_starts=search_starts,
                        snap=snapped,
                        seed=seed,
                    )
                continue
            task = LayerTask(name, search_starts, row_scales, snapped, seed, moments_of(name), norm_of.get(name, ""))
            layers[name] = fit_layer(task, model, student)
        norm_count = 0 if norms is None else reestimate_norms_(student, norms, "norms", report)
        same = Agreement() if shown is None else measure_agreement(model, student, compared, shown, report)
        report({"done": 1, "total": 1, "phase": "fit", "label": "done"})
    student.nes_lab_plan = plan  # type: ignore[assignment]
    why_not = why_not_verified(student, plan, example_input, model) if verify else "verify=False"
    starts, seconds = "search" if search_starts else "plan", time.perf_counter() - begun
    counts, about = (calibration_count, norm_count), (same.same_top1, same.output_error, same.examples)
    checked = (not why_not, why_not)
    return student, FitReport(
        tuple(layers[name] for name in plan.layers), starts, snapped, *counts, seed, seconds, *about, *checked
    )


def _check_sequential(sequential: bool, calibration: Any, plan: CompressionPlan) -> None:
    """Raise an error if a fit layer after layer is asked for, but is not possible.

    Raises:
        OptionError: If there are no calibration batches, or layers share an epitome, which is fitted to all of them at once.
    """
    if sequential and calibration is None:
        raise OptionError("sequential=True needs calibration: give batches of inputs, which run through both networks")
    shared = next((readers for readers in plan.readers.values() if len(readers) > 1), None) if sequential else None
    if shared:
        raise OptionError(
            f"sequential=True, but the layers {shared[0]!r} and {shared[1]!r} share an epitome, which is fitted once to the weights of all "
            "its layers; give sequential=False, or a plan with share='layer'"
        )


def _measurement(
    model: nn.Module,
    student: nn.Module,
    calibration: Any,
    sequential: bool,
    report: OnProgress,
    seed: int,
    plan: CompressionPlan,
) -> tuple[list[str], Callable[[str], Moments | None], int]:
    """Measure the inputs of the layers of the dense network, or prepare to measure those of the compressed network.

    Returns:
        The names of the layers in the order of the fit; a function that returns what was measured for a layer, None if nothing was; and
        the number of calibration batches.
    """
    names = list(plan.layers)
    if calibration is None:
        return names, lambda name: None, 0
    if not sequential:
        moments, count = input_moments(model, names, calibration, report, seed)
        return names, moments.get, count
    inputs = list(calibration_batches("calibration", calibration, model))
    outputs = dense_outputs(model, names, inputs, report, seed)

    def measure(name: str) -> Moments | None:
        return sequential_moments(student, model, name, inputs, outputs[name], seed) if name in outputs else None

    return [*outputs, *(name for name in names if name not in outputs)], measure, len(inputs)


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
