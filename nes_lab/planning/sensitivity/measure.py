"""Measuring what shrinking each layer costs: one layer at a time, kept on disk as it goes, continued where it stopped."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from math import prod
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from nes_lab.errors import OptionError, check_choice
from nes_lab.fitting.row_scales import scaling_norms
from nes_lab.planning.ladder import Ladder, LayerSteps
from nes_lab.planning.layer_plans import EpitomeOptions
from nes_lab.planning.planner import Wishes, look_over
from nes_lab.planning.sensitivity.cache import SensitivityFile, digest
from nes_lab.planning.sensitivity.calibration_loss import Judge, Loss, read_batches
from nes_lab.planning.sensitivity.one_layer import measure_point
from nes_lab.planning.sensitivity.order import sensitive_steps
from nes_lab.planning.survey import SurveyedLayer
from nes_lab.progress_bar import OnProgress, progress_reporter
from nes_lab.records.budget import Budget
from nes_lab.records.compression_plan import LayerPlan
from nes_lab.records.counts import Counts
from nes_lab.records.sensitivity_report import LayerSensitivity, SensitivityReport
from nes_lab.renamed import progress_or_callback, renamed_arguments

__all__ = ["SensitivityReport", "measure_sensitivity", "sensitive"]

RATIOS = (0.75, 0.5, 0.25, 0.125)


@renamed_arguments(progress=progress_or_callback)
def measure_sensitivity(
    model: nn.Module,
    example_input: Any,
    *,
    calibration: Iterable[tuple[Any, Any]] | None = None,
    loss: Loss | None = None,
    ratios: Sequence[float] = RATIOS,
    starts: str = "plan",
    cache: str | Path | None = None,
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
    seed: int = 0,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> SensitivityReport:
    """Measure what an epitome costs in each layer, with all others dense.

    For every layer that may be replaced and for epitomes of several sizes: the relative residual of the nearest epitome, and,
    where calibration data is given, how much the loss grows. Give the report to :func:`nes_lab.plan_for_budget` with
    ``strategy="sensitivity"`` and the same options; ``round_to`` may differ.

    Args:
        model: Left as it was.
        example_input: As :func:`nes_lab.count` takes it.
        calibration: Batches of ``(input, target)``, all gone through once for every epitome; a tensor, tuple or dict as input.
        loss: From the model's output and the target to one number; None: cross-entropy.
        ratios: Of the epitome's cells to the weight's; the nearest that rounding allows are measured, and the least.
        starts: ``"plan"``, or ``"search"``: measure after a search for starts, as :func:`nes_lab.fit` will make it with
            ``starts="search"`` (routing ``free``), and with factors for rows that a batch norm takes. Slower; but where starts will
            be searched, the residuals of the plan's own starts mislead.
        cache: A folder. A measurement is kept there under a digest of weights, options and data, after each layer; called again,
            it continues, or is read at once. Batches must then come in the same order.
        include: Name patterns (``blocks.*.conv_pw``) or types (``Linear``, ``conv2d``) of the layers to replace; by default all that
            can be.
        exclude: Name patterns or types of layers that stay dense.
        overrides: Settings for single layers by name pattern or type, such as ``{"head*": {"ratio": 0.5}}``; layers with a ratio
            or shape are not measured.
        routing: Who sets the starting indices; learned ones are measured where they begin, or where a search puts them.
        scope: Whether each axis or each patch has its own starts.
        boundary: What happens at the end of an epitome axis.
        patch_channels: Channels sampled in one piece; by default the whole epitome axis, or 16 where starts are learned.
        round_to: Epitome channels are multiples of this; give 1 or 2 for tiny networks.
        wiring: Which channel axes shrink.
        min_channels: Layers with fewer input or output channels stay dense, as thin layers gain no time, unless include names them.
        seed: Seed of random routing.
        progress: Show a bar on standard error.
        on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` at each piece of work; None: nobody is.

    Raises:
        OptionError: If an option is wrong, the weights lie on the meta device or are not finite, or the calibration data is empty
            or does not fit the model or the loss.
        PlanError: If the file in the cache is damaged.

    Examples:
        >>> import torch
        >>> model, x = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 16)), torch.randn(1, 32)
        >>> report = measure_sensitivity(model, x, ratios=(0.5,))
        >>> [(layer.name, len(layer.points)) for layer in report.layers]
        [('0', 2), ('1', 2)]
    """
    check_choice("starts", starts, ("plan", "search"))
    options = EpitomeOptions(routing, "separable", boundary, patch_channels, seed)
    wishes = Wishes(options, scope, round_to, wiring, min_channels, include, exclude, overrides)
    batches = None if calibration is None else read_batches(calibration)
    if batches is None and loss is not None:
        raise OptionError("loss is given without calibration data; give batches of (input, target) as calibration=")
    trial = model if batches is None else copy.deepcopy(model)
    ladder = look_over(trial, example_input, wishes)
    judge = None if batches is None else Judge(trial, batches, loss or F.cross_entropy)
    return _measure(trial, ladder, wishes, _checked(ratios), judge, cache, progress, on_progress, starts == "search")


def sensitive(
    model: nn.Module,
    ladder: Ladder,
    wishes: Wishes,
    budget: Budget,
    report: SensitivityReport | None,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> Ladder:
    """The same steps in the order of their cost per saving of what the budget limits.

    Args:
        model: Whose steps these are.
        ladder: In any order.
        wishes: What was asked for.
        budget: Its limits below the dense model's counts say what saving is; time goes by multiply-adds.
        report: None: measured here, by the residuals.
        progress: Show a bar on standard error.
        on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` at each piece of work; None: nobody is.

    Raises:
        PlanError, OptionError: If the report is of another model or other epitomes.
    """
    layers = _by_layer(ladder)
    if report is None:
        report = _measure(model, ladder, wishes, RATIOS, None, None, progress, on_progress)
    elif not isinstance(report, SensitivityReport):
        raise OptionError(f"sensitivity is a {type(report).__name__}; give what nes_lab.measure_sensitivity returns")
    surveyed = ladder.found.layers
    report.check(
        {surveyed[i.index].name: surveyed[i.index].weight_shape for i in layers}, _options(wishes, ladder.scope)
    )
    dense = ladder.found.report.counts
    steps = sensitive_steps(layers, [layer.name for layer in surveyed], report, dense, _saved(budget, dense))
    return Ladder(ladder.found, steps, ladder.fixed, ladder.scope)


def _saved(budget: Budget, dense: Counts) -> tuple[str, ...]:
    binding = [name for name, limit in budget.limits(dense).items() if limit < getattr(dense, name)]
    if budget.latency_ms is not None and "madds" not in binding:
        binding.append("madds")
    return tuple(binding) or ("params", "madds")


def _by_layer(ladder: Ladder) -> list[LayerSteps]:
    steps = sorted(ladder.steps, key=lambda s: s.layer)  # stable: the steps of a layer stay in order
    groups = {index: list(group) for index, group in groupby(steps, key=lambda s: s.layer)}
    return [LayerSteps(index, (), tuple(s.plan for s in group)) for index, group in groups.items()]


def _options(wishes: Wishes, scope: str) -> dict[str, Any]:
    """What of the options a layer's cost depends on."""
    o = wishes.options
    names = {"routing": o.routing, "scope": scope, "boundary": o.boundary, "patch_channels": o.patch_channels}
    return names | {"wiring": wishes.wiring, "seed": o.seed if o.routing == "random" else 0}


# ---- measuring ----------------------------------------------------------------------------------------------------------


def _measure(
    model: nn.Module,
    ladder: Ladder,
    wishes: Wishes,
    ratios: Sequence[float],
    judge: Judge | None,
    cache: str | Path | None,
    progress: bool,
    on_progress: OnProgress | None,
    search: bool = False,
) -> SensitivityReport:
    _check_weights(ladder.found.layers)
    layers = _by_layer(ladder)
    wanted = {item.index: _nearest(item.plans, ratios) for item in layers}
    options = _options(wishes, ladder.scope)
    shapes = [(ladder.found.layers[i].name, [p.epitome_shape for p in plans]) for i, plans in wanted.items()]
    key = (
        ""
        if cache is None and judge is None
        else digest(model, (options, shapes, *(["search"] if search else [])), judge)
    )
    file = SensitivityFile(None if cache is None else Path(cache) / f"sensitivity-{key[:16]}.json", key, options)
    if not file.report.complete:
        with progress_reporter(progress, on_progress, "measuring") as show, file:
            dense = judge.loss() if judge else None
            file.begin(dense, judge.samples if judge else 0)
            readers = scaling_norms(model, [name for name, _ in shapes]) if search else None
            for done, (index, plans) in enumerate(wanted.items()):
                layer = ladder.found.layers[index]
                show({"done": done, "total": len(wanted), "phase": "sensitivity", "label": layer.name})
                if layer.name not in file.report.by_name:
                    points = tuple(measure_point(layer, plan, judge, dense, readers) for plan in plans)
                    file.add(LayerSensitivity(layer.name, layer.weight_shape, points))
            file.end()
            show({"done": len(wanted), "total": len(wanted), "phase": "sensitivity", "label": ""})
    return file.report


def _nearest(plans: Sequence[LayerPlan], ratios: Sequence[float]) -> list[LayerPlan]:
    """Per ratio the state nearest to it, and the least; each once, in order."""
    shares = [prod(plan.epitome_shape) / prod(plan.weight_shape) for plan in plans]
    places = {min(range(len(plans)), key=lambda i, r=ratio: abs(shares[i] - r)) for ratio in ratios}
    return [plans[i] for i in sorted(places | {len(plans) - 1})]


def _checked(ratios: Any) -> tuple[float, ...]:
    values = tuple(ratios) if isinstance(ratios, Sequence) and not isinstance(ratios, str) else ()
    if not values or any(isinstance(r, bool) or not isinstance(r, int | float) or not 0 < r < 1 for r in values):
        raise OptionError(f"ratios={ratios!r}; give shares between 0 and 1, such as (0.75, 0.5, 0.25)")
    return values


def _check_weights(layers: Sequence[SurveyedLayer]) -> None:
    for layer in layers:
        weight: Tensor = layer.module.weight  # type: ignore[assignment, union-attr]
        if layer.reason:
            continue
        if weight.is_meta:
            raise OptionError("model lies on the meta device, where weights have no numbers; sensitivity needs them")
        if not bool(weight.isfinite().all()):
            raise OptionError(
                f"layer {layer.name!r}: its weight holds NaN or infinity, so what it costs to shrink cannot be told"
            )
