"""Choose the fastest execution (way to compute the layer) for each epitome layer, by timing all of them on this device.

1. Record the layouts (shape, stride, dtype) of the inputs of each epitome layer in one forward pass.
2. Time every execution of every layer alone. Layers with equal shapes, options and inputs are timed once.
3. Choose the fastest execution of each layer. If it is not clearly faster than ``materialize``, choose ``materialize``: sample
   the whole weight, then compute a dense layer.
4. Time the complete network. Also time the network of dense layers that ``nes_lab.materialize`` makes from it.
5. If the complete network is slower, set the layers that gain least time to ``materialize``, and repeat from step 4.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from statistics import median
from typing import Any, cast

import torch
from torch import nn

from nes_lab.cost.count import count
from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.cost.probe import run_example
from nes_lab.cost.timing import time_rounds
from nes_lab.errors import OptionError
from nes_lab.execution.registry import EXECUTIONS
from nes_lab.nn.inspect import epitome_layers
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.progress_bar import OnProgress, progress_reporter
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.options import ExecutionName, ExecutionOption
from nes_lab.records.spread import Ratio, quartiles, ratio_of_times
from nes_lab.records.tune_report import LayerTuning, TuneReport
from nes_lab.renamed import progress_or_callback, renamed_arguments
from nes_lab.surgery.for_inference import for_inference
from nes_lab.surgery.replace import materialize
from nes_lab.tuning.layer_inputs import Calls, InputLayout, record_calls, tune_key

__all__ = ["choose_execution", "tune"]

BASELINE: ExecutionName = "materialize"
"""The execution that the others are compared with."""

MIN_GAIN = 0.02
"""Share of a layer's time that an execution other than ``materialize`` must save to be chosen.

Smaller gains are not worth it, because the time of several operations is less predictable than that of one.
"""

NETWORK_TIME_SHARE = 1 / 4
"""Share of the remaining time that one comparison of complete networks may take."""

MIN_NETWORK_ROUNDS = 7
"""Smallest number of rounds in a comparison of complete networks, even if the time is up."""

Times = Mapping[str, Sequence[float]]
"""The milliseconds of each timed round, by the name of what was timed."""


@renamed_arguments(progress=progress_or_callback)
def tune(
    model: nn.Module,
    example_input: Any,
    *,
    seconds: float = 60.0,
    keep_madds: bool | None = None,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> TuneReport:
    """Set the ``execution`` (way to compute the layer) of each epitome layer to the fastest one for this input and device.

    Each layer is timed alone with each of its executions, in evaluation mode. The inputs have the same shape and memory layout
    as in the network. The execution ``materialize`` samples the whole weight and then computes a dense layer. Another execution
    is chosen only if it is clearly faster. A layer that the model does not call keeps its execution.

    More multiply-adds can take less time, so a choice by time alone can undo a budget of multiply-adds: see ``keep_madds``.

    Then the complete network is compared with ``nes_lab.materialize(model)``, which has ordinary dense layers. While the
    network is slower, more of its layers are set to ``materialize``. The layers that gain least time come first.

    The outputs stay the same up to rounding. If an error occurs, the model is unchanged. Times are measured on a copy of the
    model, made by :func:`nes_lab.for_inference`. Call it after tuning to get these times. The choice is valid for this device,
    dtype, batch size, memory format and number of threads.

    Args:
        model: A model with epitome layers.
        example_input: Input of the model, on its device and with the batch size that will be used: a tensor, a tuple of
            positional arguments, or a dict of keyword arguments.
        keep_madds: True: no layer gets an execution with more multiply-adds than its present one needs, even if that is faster.
            False: only time decides. None: True if the model was planned for a budget of multiply-adds, as the plan in its
            attribute ``nes_lab_plan`` says. The report has the multiply-adds before and after, and the time that this costs.
        seconds: About how long tuning may take. It can take longer, because each measurement does a few rounds in any case.
        progress: Show a progress bar on standard error.
        on_progress: Function that is called with a :class:`~nes_lab.progress_bar.ProgressEvent` at each step; None calls
            nothing.

    Returns:
        A report with the times of every layer and of the complete network.

    Raises:
        OptionError: If the model has no epitome layer, is on the meta device, or cannot run the example input.

    Examples:
        >>> import torch, nes_lab
        >>> model = torch.nn.Sequential(nes_lab.EpitomeLinear(64, 64, epitome_shape=(32, 32)))
        >>> report = nes_lab.tune(model, torch.randn(4, 64), seconds=0.1)
        >>> model[0].execution == report.executions["0"]
        True
    """
    begun = time.perf_counter()
    _check_arguments(model, seconds, keep_madds)
    keeps = _planned_for_madds(model) if keep_madds is None else keep_madds
    device = next(epitome_layers(model))[1].epitome.device
    with progress_reporter(progress, on_progress) as report, left_as_it_was(example_input), torch.inference_mode(False):
        trial = for_inference(model)
        calls = record_calls(trial, example_input)
        key = tune_key(trial, example_input, calls)
        limits = {name: _present_madds(layer, calls[name]) if keeps else inf for name, layer in epitome_layers(trial)}
        madds_before = _network_madds(trial, example_input)
        layers = _time_layers(trial, calls, limits, device, seconds / 2, report)
        layers, times, ratio = _compare_networks(trial, layers, limits, example_input, device, begun + seconds, report)
        madds_after = _network_madds(trial, example_input)
    chosen: dict[str, ExecutionOption] = {layer.name: layer.execution for layer in layers}
    for name, layer in epitome_layers(model):
        layer.execution = chosen[name]
    return TuneReport(
        key=key,
        layers=tuple(layers),
        tuned_ms=median(times["tuned"]),
        materialized_ms=median(times[BASELINE]),
        ratio=ratio.median,
        ratio_quartiles=(ratio.low, ratio.high),
        ratio_error=ratio.error,
        rounds=ratio.rounds,
        seconds=time.perf_counter() - begun,
        madds_before=madds_before,
        madds_after=madds_after,
        keep_madds=keeps,
    )


def _planned_for_madds(model: nn.Module) -> bool:
    plan = getattr(model, "nes_lab_plan", None)
    return isinstance(plan, CompressionPlan) and plan.budget is not None and plan.budget.madds is not None


def _network_madds(model: nn.Module, example_input: Any) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what cannot be counted is the same before and after
        return count(model, example_input).madds


def choose_execution(times: Times) -> tuple[ExecutionOption, str]:
    """Choose the fastest execution (way to compute the layer) of one layer.

    If no execution is clearly faster than ``materialize``, choose ``materialize``: sample the whole weight, then compute a
    dense layer.

    Args:
        times: Dict from the name of each execution to its milliseconds in each timed round. ``materialize`` must be in it.

    Returns:
        The name of the chosen execution, and the reason as a sentence.

    Examples:
        >>> choose_execution({"materialize": [2.0, 2.1, 2.0], "factored": [1.0, 1.1, 1.0]})
        ('factored', '0.50 of the time materialized')
        >>> choose_execution({"materialize": [2.0, 2.1, 2.0], "factored": [1.99, 2.1, 1.99]})[0]
        'materialize'
    """
    others = {name: ratio_of_times(t, times[BASELINE]) for name, t in times.items() if name != BASELINE}
    if not others:
        return BASELINE, "no other execution can compute this layer"
    clearly_faster = [name for name, r in others.items() if r.is_faster(by=MIN_GAIN)]
    if not clearly_faster:
        name = min(others, key=lambda n: others[n].median)
        busy = "; the machine was too busy to tell them apart" if others[name].too_busy else ""
        return BASELINE, f"{name} takes {others[name].median:.2f} of its time, not clearly less{busy}"
    best = min(clearly_faster, key=lambda n: others[n].median)
    return cast(ExecutionOption, best), f"{others[best].median:.2f} of the time materialized"


def _check_arguments(model: nn.Module, seconds: float, keep_madds: bool | None) -> None:
    if not isinstance(model, nn.Module):
        raise OptionError(f"model is a {type(model).__name__}; tune takes a module with epitome layers")
    layers = [layer for _, layer in epitome_layers(model)]
    if not layers:
        raise OptionError(
            f"model is a {type(model).__name__} without epitome layers, so there is nothing to tune; nes_lab.compress "
            "makes a model that has them"
        )
    if any(layer.epitome.is_meta for layer in layers):
        raise OptionError("model is on the meta device, where nothing can be timed; move it to another device")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise OptionError(f"seconds={seconds!r}; give a positive number")
    if not isinstance(keep_madds, bool | None):
        raise OptionError(f"keep_madds={keep_madds!r}; give True, False, or None for a choice by the model's plan")


# ---- layer by layer -----------------------------------------------------------------------------------------------------


def _time_layers(
    trial: nn.Module,
    calls: Calls,
    limits: Mapping[str, float],
    device: torch.device,
    seconds: float,
    report: OnProgress,
) -> list[LayerTuning]:
    """Time every execution (way to compute the layer) of each epitome layer that the model calls, and choose the fastest."""
    layers = dict(epitome_layers(trial))
    keys = {name: _timing_key(layer, calls[name]) for name, layer in layers.items() if calls[name]}
    times_of_key: dict[tuple, Times] = {}
    tunings = []
    for done, (name, layer) in enumerate(layers.items()):
        report({"done": done, "total": len(layers) + 1, "phase": "layers", "label": name})
        times: Times = {}
        if name in keys:
            if keys[name] not in times_of_key:
                share = seconds / len(set(keys.values()))
                times_of_key[keys[name]] = _time_layer(layer, calls[name], device, share)
            times = times_of_key[keys[name]]
        tunings.append(_layer_tuning(name, layer, calls[name], times, limits[name]))
    return tunings


def _timing_key(layer: EpitomeLayer, calls: Counter[InputLayout]) -> tuple:
    """Return a key that layers share if they take the same time. Of several layers with the same key, only one is timed."""
    slices = tuple(layer.routing.slices(axis) for axis in layer.routing.sampled)
    numbers = tuple((t.dtype, t.stride()) if t is not None else None for t in (layer.epitome, layer.bias, layer.scale))
    return layer.form, slices, numbers, frozenset(calls.items())


def _time_layer(layer: EpitomeLayer, calls: Counter[InputLayout], device: torch.device, seconds: float) -> Times:
    """Time each execution (way to compute the layer) of an epitome layer, on inputs like those in the model."""
    inputs = [(layout.make(), times) for layout, times in calls.items()]

    def contender(name: ExecutionName) -> Callable[[], None]:
        duplicate = for_inference(layer)  # one per execution, so that tensors it keeps for inference are freed with it
        duplicate.execution = name

        def run() -> None:
            for x, times in inputs:
                for _ in range(times):
                    duplicate(x)

        return run

    executions = sorted(layer.available_executions(), key=lambda name: name != BASELINE)
    contenders = {name: contender(name) for name in executions}
    with torch.inference_mode():
        return time_rounds(contenders, device, seconds)


def _layer_tuning(
    name: str, layer: EpitomeLayer, calls: Counter[InputLayout], times: Times, limit: float
) -> LayerTuning:
    geometry = layer.geometry
    assert isinstance(geometry.patch_channels, tuple)  # the geometry sets it
    madds = {execution: _madds(layer, execution, calls) for execution in times}
    if times:
        execution, reason = _choose_within(times, madds, limit) or (
            layer.execution,
            "no other has as few multiply-adds",
        )
    else:
        execution, reason = layer.execution, "not changed: the layer is not called, but its weight may be used"
    return LayerTuning(
        name=name,
        weight_shape=geometry.weight_shape,
        epitome_shape=geometry.epitome_shape,
        patch_channels=geometry.patch_channels,
        scope=geometry.scope,
        boundary=geometry.boundary,
        routing=layer.routing_mode,
        calls=calls.total(),
        times_ms={name: median(t) for name, t in times.items()},
        madds=madds,
        execution=execution,
        reason=reason,
        quartiles_ms={name: (low, high) for name, t in times.items() for low, _, high in [quartiles(t)]},
    )


def _choose_within(times: Times, madds: Mapping[str, int], limit: float) -> tuple[ExecutionOption, str] | None:
    """Choose an execution with at most ``limit`` multiply-adds, and return it with the reason; None if there is none."""
    allowed = {name: t for name, t in times.items() if madds[name] <= limit}
    free, reason = choose_execution(times)
    if free in allowed or not allowed:
        return (free, reason) if allowed else None
    if BASELINE in allowed:
        best, _ = choose_execution(allowed)
    else:
        best = cast(ExecutionOption, min(allowed, key=lambda name: median(allowed[name])))
    share = ratio_of_times(times[free], times[best]).median
    return (
        best,
        f"keeps the multiply-adds; {free} takes {share:.2f} of its time, but needs {madds[free]:,} for {madds[best]:,}",
    )


def _present_madds(layer: EpitomeLayer, calls: Counter[InputLayout]) -> int:
    """Return the multiply-adds of all calls of a layer with its present execution."""
    return sum(
        _madds(layer, layer.resolved_execution(layout.shape).name, Counter({layout: times}))
        for layout, times in calls.items()
    )


def _madds(layer: EpitomeLayer, plan: str, calls: Counter[InputLayout]) -> int:
    positions = ((layer.op.positions(layout.shape), times) for layout, times in calls.items())
    costs = ((EXECUTIONS[plan].cost(layer.form, place), times) for place, times in positions)
    return sum(cost.madds * times for cost, times in costs)


# ---- the complete network -----------------------------------------------------------------------------------------------


def _compare_networks(
    trial: nn.Module,
    layers: list[LayerTuning],
    limits: Mapping[str, float],
    example_input: Any,
    device: torch.device,
    end: float,
    report: OnProgress,
) -> tuple[list[LayerTuning], Times, Ratio]:
    """Set layers back to ``materialize`` until the network is not slower than the same network with dense layers.

    In each step, half of the remaining layers are set to ``materialize``: those that gain least time with another
    execution. After the time limit, all remaining layers are set to it at once. A layer that would then exceed its limit of
    multiply-adds keeps its execution.

    Returns:
        The layers with their final executions, the times of both networks, and the ratio tuned time / dense time.
    """
    modules, plain, total = dict(epitome_layers(trial)), materialize(trial), len(layers) + 1
    contenders = {
        BASELINE: lambda: run_example(plain, example_input),
        "tuned": lambda: run_example(trial, example_input),
    }
    while True:
        for layer in layers:
            modules[layer.name].execution = layer.execution
        others = (x for x in layers if x.execution != BASELINE and x.execution in x.times_ms)
        gaining = sorted((x for x in others if x.madds[BASELINE] <= limits[x.name]), key=_gain)
        label = f"{len(gaining)} layers not materialized"
        report({"done": total - 1, "total": total, "phase": "network", "label": label})
        times, ratio = _time_networks(contenders, device, end)
        if ratio.median <= 1 or not gaining:
            label = f"{ratio.median:.3f} of materialized"
            report({"done": total, "total": total, "phase": "network", "label": label})
            return layers, times, ratio
        count = -(-len(gaining) // 2) if time.perf_counter() < end else len(gaining)
        names = {layer.name for layer in gaining[:count]}
        reason = f"with it the network took {ratio.median:.3f} of materialized"
        layers = [replace(x, execution=BASELINE, reason=reason) if x.name in names else x for x in layers]


def _time_networks(
    contenders: Mapping[str, Callable[[], object]], device: torch.device, end: float
) -> tuple[dict[str, list[float]], Ratio]:
    """Time the network with its chosen executions, and the network of dense layers that ``nes_lab.materialize`` makes from it.

    An execution is a way to compute a layer. If the first network seems slower, but the difference may be chance, both are
    timed once more.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    while True:
        seconds = (end - time.perf_counter()) * NETWORK_TIME_SHARE
        with torch.inference_mode():
            rounds = time_rounds(contenders, device, seconds, least=MIN_NETWORK_ROUNDS, precision=0.0025)
        is_second = bool(times[BASELINE])
        for name, values in rounds.items():
            times[name] += values
        ratio = ratio_of_times(times["tuned"], times[BASELINE])
        if is_second or time.perf_counter() > end or ratio.median <= 1 or ratio.differs:
            return times, ratio


def _gain(layer: LayerTuning) -> float:
    """Return how many milliseconds faster a layer is with its chosen execution than with ``materialize``.

    An execution is a way to compute the layer. ``materialize`` samples the whole weight, then computes a dense layer.
    """
    return layer.times_ms[BASELINE] - layer.times_ms[layer.execution]
