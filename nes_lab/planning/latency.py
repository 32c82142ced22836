"""Find the largest size of a network that is fast enough on this device.

The sizes a model can shrink to are called rungs. Rung 0 is the dense model. The search first chooses the fastest way to
compute each layer of a rung. Then it times the network of this rung.

Times are noisy. Therefore the compressed network and the dense model are timed in turn, and their median times are
compared. A rung counts as fast enough if its time is clearly below the limit. The final plan is measured once more, for
longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Protocol

import torch
from torch import nn

from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.cost.probe import in_mode, run_example
from nes_lab.cost.timing import time_rounds
from nes_lab.errors import BudgetError, OptionError
from nes_lab.nn.copy_network import copy_network
from nes_lab.nn.inspect import epitome_layers
from nes_lab.progress_bar import OnProgress, progress_reporter
from nes_lab.records.budget import Budget
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.spread import Ratio, ratio_of_times
from nes_lab.records.tune_report import TuneReport
from nes_lab.surgery.for_inference import keep_for_inference_
from nes_lab.surgery.replace import replace_layers
from nes_lab.text import format_ms, format_share, space_percent
from nes_lab.tuning.tune import tune

__all__ = ["MARGIN", "DeviceTimer", "PlanTimer", "Timing", "meet_latency"]

MARGIN = 0.02
MAX_MEASURED_RUNGS = 8
MAX_LAST_MEASUREMENTS = 3
TUNING_SHARE = 0.6
"""Share of the time for one rung that goes to tuning; the rest goes to the comparison with the dense model."""
MIN_ROUNDS = 7
SLOWEST_LAYERS_SHOWN = 3


@dataclass(frozen=True)
class Timing:
    """Measured time of a network that was compressed by one plan.

    Args:
        plan: The compression plan, with the fastest way to compute each layer and the multiply-adds of these ways.
        ms, dense_ms: Median times of the compressed network and of the dense model, in milliseconds.
        error: Relative standard error of the ratio of both times.
        rounds: How often each network was measured.
        slowest: Names and times of the slowest layers, as text for messages.
        spread: Time of the compressed network / time of the dense model, with its spread; None if it is not known.
    """

    plan: CompressionPlan
    ms: float
    dense_ms: float
    error: float
    rounds: int
    slowest: str = ""
    spread: Ratio | None = None

    @property
    def uncertainty(self) -> float:
        """Two standard errors of the ratio of both times, as a share of the ratio."""
        return 2 * self.error


class PlanTimer(Protocol):
    """Function that builds the network of a compression plan and times it."""

    def __call__(self, plan: CompressionPlan, seconds: float) -> Timing:
        """Find the fastest way to compute each layer of a compression plan's network, and time the network.

        This takes about ``seconds`` seconds.
        """
        ...


def meet_latency(
    model: nn.Module,
    example_input: Any,
    plan_at: Callable[[int], CompressionPlan],
    first: int,
    last: int,
    budget: Budget,
    *,
    seconds: float = 60.0,
    progress: bool = False,
    on_progress: OnProgress | None = None,
    timer: PlanTimer | None = None,
) -> CompressionPlan:
    """Return the compression plan of the largest network that is fast enough.

    The sizes a model can shrink to are called rungs. Rung 0 is the dense model. The returned plan says how each layer
    is computed fastest.

    Args:
        model: The dense model; it is not changed.
        example_input: Input of one forward pass, with the batch size that will be used: a tensor, a tuple of arguments or a dict
            of keyword arguments.
        plan_at: Function that takes the number of a rung and returns its compression plan.
        first: First rung that meets the limits on params and multiply-adds.
        last: Last rung: the smallest size.
        budget: Budget with a limit ``latency_ms``.
        seconds: Approximate time in seconds that the search may take.
        progress: Show a bar on standard error.
        on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` as the work goes on; None for no calls.
        timer: Function that times the network of a plan; None takes a :class:`DeviceTimer`.

    Raises:
        BudgetError: If no measured rung is fast enough. The message names the shortest measured time.
        OptionError: If the model is on the meta device, or ``seconds`` is not a positive number.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise OptionError(f"seconds={seconds!r}; give a positive number of seconds")
    timer = timer or DeviceTimer(model, example_input, budget)
    search = _Search(plan_at, timer, budget, seconds / (MAX_MEASURED_RUNGS + 2))
    with progress_reporter(progress, on_progress, "measuring") as report:
        search.report = report
        return _with_notes(search.run(first, last), budget, search)


class _Search:
    """Search for the largest size of a network that is fast enough.

    The sizes are called rungs. Rung 0 is the dense model, and the last rung is the smallest size.
    """

    def __init__(
        self, plan_at: Callable[[int], CompressionPlan], timer: PlanTimer, budget: Budget, share: float
    ) -> None:
        self.plan_at, self.timer, self.budget, self.share = plan_at, timer, budget, share
        self.timings: dict[int, Timing] = {}
        self.report: OnProgress = lambda event: None
        self.begun = time.perf_counter()

    def run(self, first: int, last: int) -> Timing:
        """Search the largest of the network sizes ``first`` to ``last`` that is fast enough, and return its measured time.

        1. Find the largest size that is fast enough, by bisection.
        2. Measure this size once more, for longer. Take it if its median time is within the limit.
        3. Otherwise search again among the smaller sizes.
        """
        if self.is_fast_enough(first):
            low, high = first - 1, first
        elif first == last or not self.is_fast_enough(last):
            raise self.too_slow()
        else:
            low, high = first, last
        for _ in range(MAX_LAST_MEASUREMENTS):
            high = self.bisect(low, high)
            timing = self.measure(high, 2 * self.share, "last measurement")
            self.timings[high] = timing
            if timing.ms <= self.limit(timing):
                return timing
            better = [rung for rung in self.timings if rung > high and self.within_limit(self.timings[rung])]
            if not better and high < last and self.is_fast_enough(last):
                better = [last]
            if not better:
                break
            low, high = high, min(better)
        raise self.too_slow()

    def bisect(self, low: int, high: int) -> int:
        """Find the largest network size that is fast enough, by bisection. Sizes are given by their rung.

        A rung is the number of a size; a higher rung is a smaller network. The search stops when 8 sizes were measured. It then
        returns the largest size known to be fast enough.

        Args:
            low: Rung of a size that is too slow.
            high: Rung of a size that is fast enough.
        """
        while high - low > 1 and len(self.timings) < MAX_MEASURED_RUNGS:
            middle = (low + high) // 2
            if self.is_fast_enough(middle):
                high = middle
            else:
                low = middle
        return high

    def is_fast_enough(self, rung: int) -> bool:
        """Return True if the network of a rung (a size of the model) is fast enough. Time it if it was not timed before."""
        if rung not in self.timings:
            self.timings[rung] = self.measure(rung, self.share, f"step {rung}")
        return self.within_limit(self.timings[rung])

    def measure(self, rung: int, seconds: float, label: str) -> Timing:
        """Time the network of a rung (a size of the model), with the fastest way to compute each layer."""
        self.report({"done": len(self.timings), "total": MAX_MEASURED_RUNGS + 1, "phase": "latency", "label": label})
        return self.timer(self.plan_at(rung), seconds)

    def within_limit(self, timing: Timing) -> bool:
        """Return True if a network's measured time is clearly below the limit on time."""
        return timing.ms * (1 + MARGIN + timing.uncertainty) <= self.limit(timing)

    def limit(self, timing: Timing) -> float:
        """Return the limit on time in milliseconds. A limit in percent is a share of the dense model's time."""
        limit = self.budget.latency_limit(timing.dense_ms)
        assert limit is not None  # plan_for_budget calls meet_latency only with such a limit
        return limit

    def too_slow(self) -> BudgetError:
        """Return the ``BudgetError`` for a limit on time that no size meets. Its message names the shortest time."""
        least = min(self.timings.values(), key=lambda t: t.ms / self.limit(t))
        times = (
            f"the shortest measured time is {format_ms(least.ms)} ({format_share(least.ms, least.dense_ms, 0)} of the dense model's "
            f"{format_ms(least.dense_ms)}); the limit is {format_ms(self.limit(least))}, with a margin of "
            f"{format_share(MARGIN, digits=0)} and two standard errors ({format_share(least.error)} each)"
        )
        slowest = [f"slowest there: {least.slowest}"] if least.slowest else []
        busy = ["the machine was too busy for a smaller margin"] if least.spread and least.spread.is_unsure else []
        tuned = [note for note in least.plan.notes if "tuned on" in note]
        message = f"latency_ms={self.budget.latency_ms!r} cannot be met: " + "; ".join([times, *busy, *slowest, *tuned])
        return BudgetError(message, least=least.plan.predicted)


def _with_notes(timing: Timing, budget: Budget, search: _Search) -> CompressionPlan:
    share = f", which is {space_percent(budget.latency_ms)} of dense" if isinstance(budget.latency_ms, str) else ""
    spread = "" if timing.spread is None else f"; {timing.spread.words('the network', 'the dense model')}"
    note = (
        f"{format_ms(timing.ms)} measured (median of {timing.rounds} rounds, in turn with the dense model's "
        f"{format_ms(timing.dense_ms)}); the limit is {format_ms(search.limit(timing))}{share}; searched with a margin of "
        f"{format_share(MARGIN, digits=0)} and two standard errors "
        f"(now {format_share(timing.error)} each), by tuning {len(search.timings)} sizes in "
        f"{time.perf_counter() - search.begun:.0f} s{spread}"
    )
    return replace(timing.plan, notes=(*timing.plan.notes, note), latency_ms=timing.ms)


class DeviceTimer:
    """Times the networks of compression plans on the model's device.

    First it finds the fastest way to compute each layer. The epitomes are not fitted.

    Args:
        model: The dense model; it is not changed.
        example_input: Input of one forward pass, on the model's device.
        budget: The budget. If it limits multiply-adds, a timed network stays within this limit.

    Raises:
        OptionError: If the model is on the meta device.
    """

    def __init__(self, model: nn.Module, example_input: Any, budget: Budget) -> None:
        tensor = next((t for t in (*model.parameters(), *model.buffers())), None)
        self.device = torch.device("cpu") if tensor is None else tensor.device
        if self.device.type == "meta":
            raise OptionError(
                "model is on the meta device, which computes nothing and so takes no time; move it to a real device"
            )
        self.model, self.example_input, self.budget = model, example_input, budget
        self.dense = in_mode(copy_network(model))

    def __call__(self, plan: CompressionPlan, seconds: float) -> Timing:
        """Build the network of a compression plan, find the fastest way to compute each layer, and time the network.

        If the budget limits multiply-adds, the network stays within this limit.
        """
        net, slowest = in_mode(replace_layers(self.model, plan, initial_weights="reset")), ""
        if plan.layers:
            report = tune(net, self.example_input, seconds=TUNING_SHARE * seconds, keep_madds=False)
            plan = self._within_madds(report.apply(plan), report)
            for name, layer in epitome_layers(net):
                layer.execution = plan.layers[name].execution
            slowest = _slowest(report)
        keep_for_inference_(net)
        contenders = {
            "dense": lambda: run_example(self.dense, self.example_input),
            "net": lambda: run_example(net, self.example_input),
        }
        with left_as_it_was(self.example_input), torch.inference_mode():
            times = time_rounds(
                contenders, self.device, (1 - TUNING_SHARE) * seconds, least=MIN_ROUNDS, most=400, precision=0.0025
            )
        ratio = ratio_of_times(times["net"], times["dense"])
        ms, dense_ms = median(times["net"]), median(times["dense"])
        return Timing(plan, ms, dense_ms, ratio.error / max(ratio.median, 1e-9), ratio.rounds, slowest, ratio)

    def _within_madds(self, tuned: CompressionPlan, report: TuneReport) -> CompressionPlan:
        """Choose slower ways to compute some layers, so that the limit on multiply-adds is met.

        The layers that lose least time per saved multiply-add are changed first.

        Args:
            tuned: Compression plan with the fastest way to compute each layer.
            report: Measured time of each layer for each way to compute it.
        """
        limit = self.budget.limits(tuned.dense).get("madds")
        offers = []
        for layer in report.layers:
            known = tuned.layers[layer.name].executions
            for name, ms in layer.times_ms.items():
                saved = known.get(layer.execution, 0) - known.get(name, 0)
                if saved > 0:
                    offers.append(((ms - layer.times_ms[layer.execution]) / saved, layer.name, name))
        for _, layer_name, name in sorted(offers):
            if limit is None or tuned.predicted.madds <= limit:
                break
            if tuned.layers[layer_name].executions[name] < tuned.layers[layer_name].predicted.madds:
                tuned = tuned.with_execution({layer_name: name})
        return tuned


def _slowest(report: TuneReport) -> str:
    times = sorted(((t.times_ms[t.execution], t.name) for t in report.layers if t.times_ms), reverse=True)
    return ", ".join(f"{name} {format_ms(ms)}" for ms, name in times[:SLOWEST_LAYERS_SHOWN])
