"""Choose epitome shapes for a budget.

1. :func:`~nes_lab.planning.build_ladder.build_ladder` lists every size each layer can shrink to.
2. A strategy (:mod:`nes_lab.planning.strategies`) chooses which layer shrinks next. This gives a list of sizes of the
   model, from dense to smallest.
3. The first size in this list that meets the limits on params, multiply-adds and stored bytes becomes the plan.
4. If the budget limits time, :mod:`nes_lab.planning.latency` measures which of the remaining sizes is fast enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from nes_lab.errors import BudgetError, OptionError
from nes_lab.export.file_size import with_file_bytes
from nes_lab.geometry.epitome_geometry import Boundary
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.planning.advice import with_advice
from nes_lab.planning.build_ladder import build_ladder
from nes_lab.planning.flat_plan import flat_plan
from nes_lab.planning.ladder import Ladder
from nes_lab.planning.latency import meet_latency
from nes_lab.planning.layer_plans import assemble
from nes_lab.planning.speed import speed_note
from nes_lab.planning.strategies import STRATEGIES
from nes_lab.progress_bar import OnProgress
from nes_lab.records.budget import Budget
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.cost_report import gaps_text
from nes_lab.records.options import EpitomeDtype, PlanOptions, Routing, ScopeOption, Share, Strategy, Wiring
from nes_lab.records.sensitivity_report import SensitivityReport
from nes_lab.renamed import progress_or_callback, renamed_arguments
from nes_lab.text import format_number, format_room, format_share
from nes_lab.tuning.device_table import load_table

__all__ = ["plan_for_budget", "plan_on_ladder"]

MIN_BUDGET_USE = 0.98
"""If a plan uses a smaller share of its limit, its note says what prevents using more."""

LARGEST_LAYERS_SHOWN = 3
"""Number of layers that the message about an unreachable budget names."""


@renamed_arguments(progress=progress_or_callback)
def plan_for_budget(
    model: nn.Module,
    budget: Budget,
    example_input: Any,
    *,
    include: Sequence[str] | str | None = None,
    exclude: Sequence[str] | str | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    routing: Routing = "tiled",
    scope: ScopeOption = "separable",
    boundary: Boundary = "clamp",
    patch_channels: int | tuple[int, int] | None = None,
    share: Share = "layer",
    windows: int = 1,
    epitome_dtype: EpitomeDtype = "float",
    round_to: int = 8,
    wiring: Wiring = "both_axes",
    min_channels: int = 1,
    strategy: Strategy = "uniform",
    sensitivity: SensitivityReport | None = None,
    seed: int = 0,
    snap: bool = False,
    layer_options: Mapping[str, Any] | None = None,
    seconds: float = 60.0,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> CompressionPlan:
    """Choose epitome shapes so that a model meets a budget.

    The predicted counts equal those that :func:`nes_lab.count` reports after :func:`nes_lab.compress`. A limit on time is measured
    on this device: see :mod:`nes_lab.planning.latency`.

    Args:
        model: The dense model; it is not changed.
        budget: Limits on params, multiply-adds, stored bytes and measured time; the plan meets all of them.
        example_input: Input of one forward pass: a tensor, a tuple of arguments or a dict of keyword arguments. Its batch
            size and image size set the multiply-adds and the time.
        include: Name patterns (``blocks.*.conv_pw``) or types (``Linear``, ``conv2d``) of the layers to replace; by default all that
            can be replaced. A layer whose name matches is replaced even if it stays dense by default (depthwise convolutions,
            squeeze-excite, and the stem and classifier that the model declares). An entry is a type if it matches no name.
        exclude: Name patterns or types of layers that stay dense.
        overrides: Settings for single layers by name pattern or type, such as ``{"head*": {"ratio": 0.5}}``. Settings are
            ``ratio`` (epitome cells / weight cells), ``epitome_shape``, ``keep`` (dense), ``routing``, ``scope``, ``boundary``,
            ``patch_channels`` and ``wiring``. Later patterns win. A layer with a ratio or shape is replaced even if it stays dense
            by default.
        routing: How the starting indices are set: ``"tiled"`` (0, b, 2b, ... for patches of length b, wrapping around), ``"stride"``
            (evenly spaced from the first to the last cell), ``"random"`` (drawn uniformly, with the layer's seed), ``"free"``
            (parameters learned by gradient descent, beginning at the tiled ones) or ``"learner"`` (predicted from the layer's input by
            a small network, and averaged over training steps).
        scope: Whether each axis or each patch has its own starts: ``"separable"`` (per axis, so that multiply-adds fall with
            params), ``"joint"`` (per patch: only params fall, and the weight keeps its full rank), ``"flat"`` (per patch and
            window, from an epitome of one axis that layers of any shape can share) or ``"auto"`` (separable if multiply-adds or
            time must fall, or if both give the same weight; otherwise joint).
        boundary: What happens at the end of an epitome axis: ``"clamp"`` (patches stay inside the epitome) or ``"circular"``
            (patches continue at the beginning of the axis).
        patch_channels: Channels sampled in one piece, or a pair (output, input); by default the whole epitome axis, or 16 where
            learned starts can move.
        share: Which layers share a flat epitome, which saves params and not multiply-adds: ``"layer"`` (each layer has its own),
            ``"stage"`` (one for all layers whose outputs have equally many positions) or ``"network"`` (one for all layers).
            Layers of any kernel size and kind can share one. Other values than ``"layer"`` set ``scope="flat"``.
        windows: Number of windows of a flat epitome whose weighted sum is a patch. Each window has a learned factor. More than 1
            sets ``scope="flat"``.
        epitome_dtype: Type of the numbers of an epitome: ``"float"`` (the network's own type) or ``"int8"`` (8 bits and one scale per
            output channel, or per 64 cells if the epitome is flat). Training rounds to them too, so outputs stay the same after saving.
        round_to: Epitome channels are multiples of this; give 1 or 2 for tiny networks.
        wiring: Which channel axes shrink: ``"both_axes"`` (output and input channels, which keeps most rank for the same
            multiply-adds), ``"input_axis"``, ``"output_axis"`` or ``"narrow_axis"`` (in each layer only the axis that costs
            less: summing inputs that share cells, or copying outputs that share cells; this runs fastest and loses most rank).
        min_channels: Number of input or output channels below which a layer stays dense unless include names it; thin layers gain no time.
        strategy: How layers share the compression: ``"uniform"`` (all shrink by one ratio), ``"sensitivity"`` (layers that
            lose least shrink most) or ``"speed"`` (by times measured once on this device: they choose wiring and rounding of
            each layer, and layers that save most time shrink first; :func:`nes_lab.calibrate_device` measures them). With a limit
            on time, ``"uniform"`` means ``"speed"`` if these times are stored. For a fixed scope, strategy and set of limits,
            more budget never means fewer params.
        sensitivity: Report of :func:`nes_lab.measure_sensitivity`, for the strategy ``"sensitivity"``; None measures here how well
            epitomes of each size can be fitted to each weight.
        seed: Seed of random routing.
        snap: Round learned starts to integers permanently, and count the multiply-adds of such starts, which need no interpolation.
            :func:`nes_lab.compress` and :func:`nes_lab.fit` round the starts of such a plan. For a limit on multiply-adds the
            epitomes become larger than with ``snap=False``.
        layer_options: More arguments of the epitome layers, such as ``{"reach": 2.0}`` (the largest distance, in cells, of a
            predicted start from the tiled start).
        seconds: Approximate time in seconds that a search for a limit on time may take.
        progress: Show a bar on standard error.
        on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` as the work goes on; None for no calls.

    Raises:
        BudgetError: If the budget cannot be met; the message names the smallest counts that can be reached and the layers that
            hold most of them. If the budget limits a quantity that :func:`nes_lab.count` cannot count, the message names the layers.
        OptionError: If an option is not among its choices, a pattern matches no layer, or the report in ``sensitivity`` was measured
            with other options.
        PlanError: If the report in ``sensitivity`` was measured on another model.

    Examples:
        >>> import torch, nes_lab
        >>> from torch import nn
        >>> model, x = nn.Sequential(nn.Conv2d(64, 128, 1), nn.Conv2d(128, 64, 1)), torch.randn(1, 64, 8, 8)
        >>> plan = nes_lab.plan_for_budget(model, nes_lab.Budget(madds="50%"), x)
        >>> plan.predicted.madds / plan.dense.madds <= 0.5
        True

    Source: Zhou et al., ICLR 2020, arXiv:1907.05642. The paper does not report how much each layer shrinks; the strategies are this
    project's work.
    """
    options = PlanOptions.among(locals())
    if not isinstance(budget, Budget):
        raise BudgetError(
            f"budget={budget!r}; give nes_lab.Budget(params=..., madds=..., stored_bytes=..., latency_ms=...)"
        )
    if sensitivity is not None and strategy != "sensitivity":
        raise OptionError(f"sensitivity is given and strategy={strategy!r}; it goes with strategy='sensitivity'")
    if options.scope == "flat":
        return with_advice(with_file_bytes(model, flat_plan(model, budget, example_input, options)))
    options, note = _timed_strategy(options, budget)
    ladder = build_ladder(model, example_input, options, budget)
    steps = STRATEGIES[options.strategy](ladder, model, budget, sensitivity, progress, on_progress)
    ladder = replace(ladder, steps=steps)
    if budget.latency_ms is None:
        return with_advice(with_file_bytes(model, plan_on_ladder(ladder, budget)))
    first = _first_rung(ladder, budget)
    plan = meet_latency(
        model,
        example_input,
        lambda rung: _with_note(_plan_at(ladder, rung, budget), note),
        first,
        len(ladder.steps),
        budget,
        seconds=seconds,
        progress=progress,
        on_progress=on_progress,
    )
    return with_advice(with_file_bytes(model, plan))


def _timed_strategy(options: PlanOptions, budget: Budget) -> tuple[PlanOptions, str]:
    """For a limit on time, replace the strategy ``uniform`` by ``speed`` if the times of this device are stored.

    Returns:
        The options, and a note for the plan if the times are not stored; otherwise an empty note.
    """
    if budget.latency_ms is None or options.strategy != "uniform":
        return options, ""
    try:
        load_table()
    except OptionError as error:
        return options, f"all layers shrink by one ratio, not by their times: {error}"
    return replace(options, strategy="speed"), ""


def _with_note(plan: CompressionPlan, note: str) -> CompressionPlan:
    return replace(plan, notes=(*plan.notes, note)) if note else plan


def plan_on_ladder(ladder: Ladder, budget: Budget) -> CompressionPlan:
    """Return the plan for the largest size of a model that meets a budget without a limit on time.

    Args:
        ladder: All sizes of the model, in the order of the strategy.
        budget: Limits on params and multiply-adds.

    Raises:
        BudgetError: If the budget cannot be met; the message names the smallest counts that can be reached.
    """
    rung = _first_rung(ladder, budget)
    return _with_notes(_plan_at(ladder, rung, budget), ladder, rung)


def _first_rung(ladder: Ladder, budget: Budget) -> int:
    """Return the largest size of a model that meets the limits on params and multiply-adds.

    The result is the number of the size in the list of all sizes, from dense to smallest.
    """
    limits = budget.limits(ladder.survey.dense)
    rung = ladder.first_within(limits)
    if rung is None:
        raise _unreachable(ladder, limits)
    return rung


def _plan_at(ladder: Ladder, rung: int, budget: Budget) -> CompressionPlan:
    options = ladder.options
    origin = f"{options.strategy}, routing={options.routing}, {_reach_options(options)}".replace("'", "")
    layer_plans = ladder.layer_plans(rung)
    plan = assemble(ladder.survey, layer_plans, budget, origin, untouched="the budget is met without it")
    gaps = gaps_text(ladder.survey.report.not_counted)
    notes = [*plan.notes, *([f"not counted: {gaps}"] if gaps else [])]
    notes += [speed_note(ladder, layer_plans)] if options.strategy == "speed" else []
    return replace(plan, snap=options.snap, notes=tuple(note for note in notes if note))


def _reach_options(options: PlanOptions) -> str:
    """Return the options that limit how small a model can become, as text for messages."""
    parts = [f"round_to={options.round_to}", f"scope={options.scope!r}"]
    parts += [f"wiring={options.wiring!r}"] if options.wiring != "both_axes" else []
    parts += [f"min_channels={options.min_channels}"] if options.min_channels != 1 else []
    parts += ["snap=True"] if options.snap else []
    return ", ".join(parts)


def _unreachable(ladder: Ladder, limits: Mapping[str, float]) -> BudgetError:
    """Return the ``BudgetError`` for a budget that cannot be met.

    The message names the smallest params and multiply-adds that can be reached.
    """
    least = ladder.totals[-1]
    epitomes = sum(isinstance(layer.module, EpitomeLayer) for layer in ladder.survey.layers)
    whole = "dense" if not epitomes else f"the given network, in which {epitomes} of the layers are epitomes already"
    sentences = []
    for quantity, limit in limits.items():
        reached = getattr(least, quantity)
        if reached > limit:
            share = reached / getattr(ladder.survey.dense, quantity)
            sentences.append(
                f"{quantity}={format_number(limit)} cannot be met: the least reachable is {format_number(reached)} ({reached:,}, "
                f"{format_share(share)} of {whole}) with {_reach_options(ladder.options)}; "
                f"most of it is held by {_largest_layers(ladder, quantity)}"
            )
    return BudgetError(". ".join(sentences), least=least, dense=ladder.survey.dense)


def _largest_layers(ladder: Ladder, quantity: str) -> str:
    """Return text that names the layers that cost most in the smallest model."""
    plans = ladder.layer_plans(len(ladder.steps))
    layers = ladder.survey.layers
    costs = [
        getattr(plans[layer.index].predicted if layer.index in plans else layer.dense, quantity) for layer in layers
    ]
    largest = sorted(zip(costs, [(layer.name, layer.reason) for layer in layers], strict=True), reverse=True)
    return "; ".join(
        f"{name} {format_number(cost)}" + (f" (dense: {reason})" if reason else "")
        for cost, (name, reason) in largest[:LARGEST_LAYERS_SHOWN]
    )


def _with_notes(plan: CompressionPlan, ladder: Ladder, rung: int) -> CompressionPlan:
    """Add a note to a compression plan. The note says how far the plan is under its budget."""
    assert plan.budget is not None  # plan_for_budget sets it
    limits = plan.budget.limits(plan.dense)
    used = [(getattr(plan.predicted, quantity) / limit, quantity) for quantity, limit in limits.items() if limit]
    if not used:
        return plan
    share, quantity = max(used)
    name = {"madds": "MAdds", "stored_bytes": "bytes"}.get(quantity, quantity)
    note = f"under the {name} budget by {format_room(share)}"
    if share < MIN_BUDGET_USE:
        note += f"; {_what_prevents_more(ladder, rung)}"
    return replace(plan, notes=(*plan.notes, note))


def _what_prevents_more(ladder: Ladder, rung: int) -> str:
    if rung:
        step = ladder.steps[rung - 1]
        name, shape = ladder.survey.layers[step.layer].name, step.plan.epitome_shape
        return f"the step of {name} to an epitome of {shape} (channels in multiples of {ladder.options.round_to}) prevents more"
    return "the overrides alone meet the budget" if ladder.fixed else "the dense model already meets the budget"
