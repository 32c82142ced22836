"""Choosing each layer's execution plan by measurement on this device, so that the network is never slower than materialized."""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch import nn

from nes_lab.cost.count import run_example
from nes_lab.cost.timing import Ratio, compare, time_rounds
from nes_lab.errors import OptionError
from nes_lab.execution.registry import PLANS
from nes_lab.nn.inspect import epitome_layers
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.progress_bar import OnProgress, progress_reporter
from nes_lab.records.tune_report import LayerTuning, TuneReport
from nes_lab.renamed import progress_or_callback, renamed_arguments
from nes_lab.surgery.replace import materialize
from nes_lab.tuning.layer_inputs import Calls, Layout, record_calls, tune_key

__all__ = ["TuneReport", "choose", "tune"]

_BASE = "materialize"
_MARGIN = 0.02  # of a layer's time: below it the gain is not worth a plan whose time depends on more than one operation
_SHARES = 4  # a comparison of whole networks takes at most this part of the time that is left
_LEAST_ROUNDS = 7

Times = Mapping[str, Sequence[float]]


@renamed_arguments(progress=progress_or_callback)
def tune(
    model: nn.Module,
    example_input: Any,
    *,
    seconds: float = 60.0,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> TuneReport:
    """Set each epitome layer's ``execution`` to the plan that is fastest here, for this input.

    Every exact plan of every layer that the input reaches is timed in evaluation, alone, on inputs laid out as in the network.
    A plan other than ``materialize`` is taken where it is clearly faster. Then the network is compared with
    ``materialize(model)``: while it is slower, the layers that gain least are materialized, at last all.

    Results stay the same to rounding. Everything is timed on copies: only ``execution`` is set in the model, at the end, so that
    nothing is half set after an error. The choice holds for this device, dtype, batch, memory format and number of threads.

    Args:
        model: With epitome layers.
        example_input: As :func:`nes_lab.count` takes it, on the model's device, with the batch it will serve.
        seconds: About how long it may take: after that, no more rounds than it takes to mean anything.
        progress: Show a bar on standard error.
        on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` at each piece of work; None: nobody is.

    Raises:
        OptionError: If the model has no epitome layer or no numbers (meta device), or cannot run the example input.

    Examples:
        >>> from nes_lab.nn import EpitomeLinear
        >>> model = nn.Sequential(EpitomeLinear(64, 64, epitome_shape=(32, 32)))
        >>> report = tune(model, torch.randn(4, 64), seconds=0.1)
        >>> model[0].execution == report.executions["0"]
        True
    """
    begun = time.perf_counter()
    _check(model, seconds)
    device = next(epitome_layers(model))[1].epitome.device
    with progress_reporter(progress, on_progress) as show, _own_numbers(device), torch.inference_mode(False):
        trial = copy.deepcopy(model).eval()
        calls = record_calls(trial, example_input)
        key = tune_key(trial, example_input, calls)
        layers = _time_layers(trial, calls, device, seconds / 2, show)
        layers, times, ratio = _settle(trial, layers, example_input, device, begun + seconds, show)
    chosen = {layer.name: layer.execution for layer in layers}
    for name, layer in epitome_layers(model):
        layer.execution = chosen[name]
    return TuneReport(
        key=key,
        layers=tuple(layers),
        tuned_ms=median(times["tuned"]),
        materialized_ms=median(times[_BASE]),
        ratio=ratio.median,
        ratio_quartiles=(ratio.low, ratio.high),
        rounds=ratio.rounds,
        seconds=time.perf_counter() - begun,
    )


def choose(times: Times) -> tuple[str, str]:
    """The execution plan to take, and why: the fastest of those clearly faster than ``materialize``, else that.

    Examples:
        >>> choose({"materialize": [2.0, 2.1, 2.0], "factored": [1.0, 1.1, 1.0]})
        ('factored', '0.50 of the time materialized')
        >>> choose({"materialize": [2.0, 2.1, 2.0], "factored": [1.99, 2.1, 1.99]})[0]
        'materialize'
    """
    others = {name: compare(t, times[_BASE]) for name, t in times.items() if name != _BASE}
    if not others:
        return _BASE, "no other plan can run this layer"
    clear = [name for name, r in others.items() if r.median + 2 * r.error < 1 - _MARGIN]
    if not clear:
        name = min(others, key=lambda n: others[n].median)
        return _BASE, f"{name} takes {others[name].median:.2f} of its time, not clearly less"
    best = min(clear, key=lambda n: others[n].median)
    return best, f"{others[best].median:.2f} of the time materialized"


def _check(model: nn.Module, seconds: float) -> None:
    if not isinstance(model, nn.Module):
        raise OptionError(f"model is a {type(model).__name__}; tune takes a module with epitome layers")
    layers = [layer for _, layer in epitome_layers(model)]
    if not layers:
        what = f"model is a {type(model).__name__} without epitome layers"
        raise OptionError(f"{what}, so there is nothing to tune; nes_lab.compress makes one that has them")
    if any(layer.epitome.is_meta for layer in layers):
        raise OptionError("model lies on the meta device, where nothing takes time; move it to a real one")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise OptionError(f"seconds={seconds!r}; give a positive number")


def _own_numbers(device: torch.device) -> AbstractContextManager[None]:
    """Keeps the global random state: dense layers draw weights when they are made, and a network may draw in evaluation."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


# ---- layer by layer -----------------------------------------------------------------------------------------------------


def _time_layers(
    trial: nn.Module, calls: Calls, device: torch.device, seconds: float, show: OnProgress
) -> list[LayerTuning]:
    """Times and choice of every layer; layers that are alike are timed once."""
    layers = dict(epitome_layers(trial))
    kinds = {name: _kind(layer, calls[name]) for name, layer in layers.items() if calls[name]}
    known: dict[tuple, Times] = {}
    found = []
    for done, (name, layer) in enumerate(layers.items()):
        show({"done": done, "total": len(layers) + 1, "phase": "layers", "label": name})
        times: Times = {}
        if name in kinds:
            if kinds[name] not in known:
                known[kinds[name]] = _time_layer(layer, calls[name], device, seconds / len(set(kinds.values())))
            times = known[kinds[name]]
        found.append(_tuning(name, layer, calls[name], times))
    return found


def _kind(layer: EpitomeLayer, calls: Counter[Layout]) -> tuple:
    """What a layer's time depends on."""
    slices = tuple(layer.routing.slices(axis) for axis in layer.routing.sampled)
    numbers = tuple((t.dtype, t.stride()) if t is not None else None for t in (layer.epitome, layer.bias, layer.scale))
    return layer.geometry, layer.axis_states(), layer.op, slices, numbers, frozenset(calls.items())


def _time_layer(layer: EpitomeLayer, calls: Counter[Layout], device: torch.device, seconds: float) -> Times:
    inputs = [(layout.make(), times) for layout, times in calls.items()]

    def contender(name: str) -> Callable[[], None]:
        twin = copy.deepcopy(layer)  # on its own, so that what it keeps for inference goes with it
        twin.execution = name

        def run() -> None:
            for x, times in inputs:
                for _ in range(times):
                    twin(x)

        return run

    plans = sorted(layer.available_executions(), key=lambda name: name != _BASE)
    contenders = {name: contender(name) for name in plans}
    with torch.inference_mode():
        return time_rounds(contenders, device, seconds)


def _tuning(name: str, layer: EpitomeLayer, calls: Counter[Layout], times: Times) -> LayerTuning:
    geometry = layer.geometry
    assert geometry.patch_channels is not None  # a geometry sets it
    if times:
        execution, reason = choose(times)
    else:
        execution, reason = layer.execution, "left as it was: it is not called, its weight alone may be used"
    return LayerTuning(
        name=name,
        weight_shape=geometry.weight_shape,
        epitome_shape=geometry.epitome_shape,
        patch_channels=geometry.patch_channels,
        scope=geometry.scope,
        boundary=geometry.boundary,
        routing=layer.routing_mode,
        calls=calls.total(),
        times_ms={plan: median(t) for plan, t in times.items()},
        madds={plan: _madds(layer, plan, calls) for plan in times},
        execution=execution,
        reason=reason,
    )


def _madds(layer: EpitomeLayer, plan: str, calls: Counter[Layout]) -> int:
    geometry, states, op = layer.geometry, layer.axis_states(), layer.op
    costs = ((PLANS[plan].cost(geometry, states, op, op.positions(c.shape)), times) for c, times in calls.items())
    return sum(cost.madds * times for cost, times in costs)


# ---- the network as a whole ---------------------------------------------------------------------------------------------


def _settle(
    trial: nn.Module, layers: list[LayerTuning], example_input: Any, device: torch.device, end: float, show: OnProgress
) -> tuple[list[LayerTuning], Times, Ratio]:
    """Materialize the layers that gain least, until the network is not slower than materialized.

    Half of them at a time; all of them once the clock is past ``end``.
    """
    modules, plain, total = dict(epitome_layers(trial)), materialize(trial), len(layers) + 1
    contenders = {_BASE: lambda: run_example(plain, example_input), "tuned": lambda: run_example(trial, example_input)}
    while True:
        for layer in layers:
            modules[layer.name].execution = layer.execution
        gaining = sorted((x for x in layers if x.times_ms and x.execution != _BASE), key=_gain)
        show(
            {"done": total - 1, "total": total, "phase": "network", "label": f"{len(gaining)} layers not materialized"}
        )
        times, ratio = _compare(contenders, device, end)
        if ratio.median <= 1 or not gaining:
            show({"done": total, "total": total, "phase": "network", "label": f"{ratio.median:.3f} of materialized"})
            return layers, times, ratio
        count = -(-len(gaining) // 2) if time.perf_counter() < end else len(gaining)
        least, reason = (
            {x.name for x in gaining[:count]},
            f"with it the network took {ratio.median:.3f} of materialized",
        )
        layers = [replace(x, execution=_BASE, reason=reason) if x.name in least else x for x in layers]


def _compare(
    contenders: Mapping[str, Callable[[], object]], device: torch.device, end: float
) -> tuple[dict[str, list[float]], Ratio]:
    """Times of the two networks; as many rounds again where noise alone might make the tuned one look slower."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    while True:
        share = (end - time.perf_counter()) / _SHARES
        with torch.inference_mode():
            more = time_rounds(contenders, device, share, least=_LEAST_ROUNDS, precision=0.0025)
        again = bool(times[_BASE])
        for name, values in more.items():
            times[name] += values
        ratio = compare(times["tuned"], times[_BASE])
        if again or time.perf_counter() > end or not 1 < ratio.median <= 1 + 2 * ratio.error:
            return times, ratio


def _gain(layer: LayerTuning) -> float:
    return layer.times_ms[_BASE] - layer.times_ms[layer.execution]
