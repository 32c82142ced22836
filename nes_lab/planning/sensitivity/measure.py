"""Measure how much quality a model loses when one of its layers shrinks, for one layer after the other.

An interrupted measurement can be resumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from nes_lab.errors import OptionError
from nes_lab.fitting.fit import plan_or_search
from nes_lab.fitting.row_scales import scaling_norms
from nes_lab.geometry.epitome_geometry import Boundary
from nes_lab.nn.copy_network import copy_network
from nes_lab.planning.build_ladder import build_ladder
from nes_lab.planning.ladder import Ladder
from nes_lab.planning.sensitivity.cache import SensitivityCache, measurement_key
from nes_lab.planning.sensitivity.calibration_loss import CalibrationLoss, Loss, read_batches
from nes_lab.planning.sensitivity.one_layer import measure_point
from nes_lab.planning.survey import SurveyedLayer
from nes_lab.progress_bar import OnProgress, progress_reporter
from nes_lab.records.layer_plan import LayerPlan
from nes_lab.records.options import PlanOptions, Routing, ScopeOption, Wiring
from nes_lab.records.sensitivity_report import LayerSensitivity, SensitivityReport
from nes_lab.renamed import progress_or_callback, renamed_arguments

__all__ = ["measure_ladder", "measure_sensitivity", "measured_options"]

RATIOS = (0.75, 0.5, 0.25, 0.125)


@renamed_arguments(progress=progress_or_callback, starts=plan_or_search)
def measure_sensitivity(
    model: nn.Module,
    example_input: Any,
    *,
    calibration: Iterable[tuple[Any, Any]] | None = None,
    loss: Loss | None = None,
    ratios: Sequence[float] = RATIOS,
    search_starts: bool = False,
    cache: str | Path | None = None,
    include: Sequence[str] | str | None = None,
    exclude: Sequence[str] | str | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    routing: Routing = "tiled",
    scope: ScopeOption = "separable",
    boundary: Boundary = "clamp",
    patch_channels: int | tuple[int, int] | None = None,
    round_to: int = 8,
    wiring: Wiring = "both_axes",
    min_channels: int = 1,
    seed: int = 0,
    snap: bool = False,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> SensitivityReport:
    """Measure how much quality a model loses when an epitome replaces the weight of one layer and all other layers stay dense.

    For every layer that may be replaced, epitomes of several sizes are fitted to the weight. For each epitome, the
    residual is measured: the error of the sampled weight, relative to the dense weight. If calibration data is given,
    the growth of the model's loss is measured too.

    Give the report to :func:`nes_lab.plan_for_budget` with ``strategy="sensitivity"``. All options must be the same
    there, except ``round_to`` and ``snap``.

    Args:
        model: The dense model; it is not changed.
        example_input: Input of one forward pass: a tensor, a tuple of arguments or a dict of keyword arguments.
        calibration: Batches of ``(input, target)``. An input is a tensor, tuple or dict. The loss is computed on all
            batches. None measures residuals only.
        loss: Function that takes the model's output and the target, and returns the mean loss. None takes
            cross-entropy.
        ratios: Sizes to measure, as epitome cells / weight cells. For each ratio, the nearest possible size is
            measured. The smallest possible size is always measured too.
        search_starts: Search better starts before each measurement, as :func:`nes_lab.fit` does. This needs the routing
            ``free``. If a batch norm follows the layer, each output channel may get a factor too. The search is slow,
            but the result is closer to a network with searched starts.
        cache: Folder for the file of results; None saves nothing. The file name is a checksum of weights, options and
            data. A later call resumes an interrupted measurement, or reads the results of a finished one. The batches
            must come in the same order each time.
        include: Name patterns (``blocks.*.conv_pw``) or types (``Linear``, ``conv2d``) of the layers to replace; by default all that
            can be replaced.
        exclude: Name patterns or types of layers that stay dense.
        overrides: Settings for single layers by name pattern or type, such as ``{"head*": {"ratio": 0.5}}``; layers with a ratio
            or an epitome shape are not measured.
        routing: How the starting indices are set; learned starts are measured at their initial values, or
            after the search if ``search_starts`` is True.
        scope: Whether each axis or each patch has its own starts.
        boundary: What happens at the end of an epitome axis.
        patch_channels: Channels sampled in one piece, or a pair (output, input); by default the whole epitome axis, or 16 where
            learned starts can move.
        round_to: Epitome channels are multiples of this; give 1 or 2 for tiny networks.
        wiring: Which channel axes shrink.
        min_channels: Number of input or output channels below which a layer stays dense unless include names it; thin layers gain no time.
        seed: Seed of random routing.
        snap: Round learned starts to integers permanently, and count the multiply-adds of such starts, which need no interpolation.
            Epitomes are always measured with integer starts; ``snap`` only changes which sizes are measured.
        progress: Show a bar on standard error.
        on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` as the work goes on; None for no calls.

    Raises:
        OptionError: If an option is wrong, the weights are on the meta device or not finite, or the calibration data is empty or
            does not fit the model or the loss.
        PlanError: If the file of results in ``cache`` is damaged.

    Examples:
        >>> import torch, nes_lab
        >>> from torch import nn
        >>> model, x = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 16)), torch.randn(1, 32)
        >>> report = nes_lab.measure_sensitivity(model, x, ratios=(0.5,))
        >>> [(layer.name, len(layer.points)) for layer in report.layers]
        [('0', 2), ('1', 2)]
    """
    options = PlanOptions.among(locals())
    if options.scope == "flat":
        raise OptionError("scope='flat': the sensitivity of flat epitomes is not measured; give separable or joint")
    checked_ratios = _check_ratios(ratios)
    batches = None if calibration is None else read_batches(calibration, model)
    if batches is None and loss is not None:
        raise OptionError("loss is given without calibration data; give batches of (input, target) as calibration=")
    trial = model if batches is None else copy_network(model)
    ladder = build_ladder(trial, example_input, options)
    calibration_loss = None if batches is None else CalibrationLoss(trial, batches, loss or F.cross_entropy)
    return measure_ladder(
        trial,
        ladder,
        ratios=checked_ratios,
        calibration_loss=calibration_loss,
        search_starts=search_starts,
        cache=cache,
        progress=progress,
        on_progress=on_progress,
    )


def measured_options(ladder: Ladder) -> dict[str, Any]:
    """Return the options of planning that change the results of a sensitivity measurement, by name."""
    options = ladder.options
    names = ("routing", "scope", "boundary", "patch_channels", "wiring")
    seed = options.seed if options.routing == "random" else 0
    return {name: getattr(options, name) for name in names} | {"seed": seed}


def measure_ladder(
    model: nn.Module,
    ladder: Ladder,
    *,
    ratios: Sequence[float] = RATIOS,
    calibration_loss: CalibrationLoss | None = None,
    search_starts: bool = False,
    cache: str | Path | None = None,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> SensitivityReport:
    """Measure how much quality a model loses when an epitome replaces the weight of one layer, for each layer of the model.

    The residual is measured: the error of the sampled weight, relative to the dense weight. With ``calibration_loss``, the
    growth of the model's loss is measured too.

    Args:
        model: The dense model. If the loss is measured, weights are changed one at a time and restored.
        ladder: The sizes that each layer of the model can shrink to.
        ratios: Sizes to measure, as epitome cells / weight cells.
        calibration_loss: Computes the loss while one weight is replaced; None measures residuals only.
        search_starts: Search better starts before each measurement.
        cache: Folder for the file of results; None saves nothing.
        progress: Show a bar on standard error.
        on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` as the work goes on; None for no calls.

    Raises:
        OptionError: If a weight is on the meta device or not finite.
        PlanError: If the file of results in ``cache`` is damaged.
    """
    _check_weights(ladder.survey.layers)
    sizes = [(ladder.survey.layers[s.index], _nearest(s.plans, ratios)) for s in ladder.steps_by_layer()]
    file = _open_cache(model, ladder, sizes, calibration_loss, search_starts, cache)
    if not file.report.complete:
        with progress_reporter(progress, on_progress, "measuring") as report_progress, file:
            dense_loss = calibration_loss.loss() if calibration_loss else None
            file.begin(dense_loss, calibration_loss.samples if calibration_loss else 0)
            example = None if calibration_loss is None else calibration_loss.batches[0][0]
            norms = scaling_norms(model, [layer.name for layer, _ in sizes], example) if search_starts else None
            for done, (layer, plans) in enumerate(sizes):
                report_progress({"done": done, "total": len(sizes), "phase": "sensitivity", "label": layer.name})
                if layer.name not in file.report.by_name:
                    points = tuple(measure_point(layer, p, calibration_loss, dense_loss, norms) for p in plans)
                    file.add(LayerSensitivity(layer.name, layer.weight_shape, points))
            file.end()
            report_progress({"done": len(sizes), "total": len(sizes), "phase": "sensitivity", "label": ""})
    return file.report


def _open_cache(
    model: nn.Module,
    ladder: Ladder,
    sizes: Sequence[tuple[SurveyedLayer, Sequence[LayerPlan]]],
    calibration_loss: CalibrationLoss | None,
    search_starts: bool,
    cache: str | Path | None,
) -> SensitivityCache:
    options, key = measured_options(ladder), ""
    if cache is not None or calibration_loss is not None:
        shapes = [(layer.name, [plan.epitome_shape for plan in plans]) for layer, plans in sizes]
        key = measurement_key(model, (options, shapes, *(["search"] if search_starts else [])), calibration_loss)
    path = None if cache is None else Path(cache) / f"sensitivity-{key[:16]}.json"
    return SensitivityCache(path, key, options)


def _nearest(plans: Sequence[LayerPlan], ratios: Sequence[float]) -> list[LayerPlan]:
    """Select for each wanted ratio the layer plan whose ratio is nearest. Also select the smallest plan.

    A ratio is epitome cells / weight cells. Each plan is returned once, in the order of ``plans``.
    """
    shares = [prod(plan.epitome_shape) / prod(plan.weight_shape) for plan in plans]
    indices = {min(range(len(plans)), key=lambda i, r=ratio: abs(shares[i] - r)) for ratio in ratios}
    return [plans[i] for i in sorted(indices | {len(plans) - 1})]


def _check_ratios(ratios: Any) -> tuple[float, ...]:
    values = tuple(ratios) if isinstance(ratios, Sequence) and not isinstance(ratios, str) else ()
    if not values or any(isinstance(r, bool) or not isinstance(r, int | float) or not 0 < r < 1 for r in values):
        raise OptionError(f"ratios={ratios!r}; give shares between 0 and 1, such as (0.75, 0.5, 0.25)")
    return values


def _check_weights(layers: Sequence[SurveyedLayer]) -> None:
    for layer in layers:
        if layer.reason:
            continue
        weight: Tensor = layer.module.weight  # type: ignore[assignment, union-attr]
        if weight.is_meta:
            raise OptionError("model is on the meta device, where weights have no numbers; sensitivity needs them")
        if not bool(weight.isfinite().all()):
            raise OptionError(
                f"layer {layer.name!r}: its weight holds NaN or infinity, so its sensitivity cannot be measured"
            )
