"""Meeting a limit on measured time: tune states of the ladder on this device until the first that is fast enough is found.

Time is noisy. The network and the dense model are timed in turn, round by round, and medians are compared. During the search a
state counts as fast enough when it stays below the limit by :data:`MARGIN` and two standard errors; the plan that is returned
was then measured once more, and its median lies within the limit.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Protocol

import torch
from torch import nn

from nes_lab.cost.probe import run_example
from nes_lab.cost.timing import compare, time_rounds
from nes_lab.errors import BudgetError, OptionError
from nes_lab.nn.inspect import epitome_layers
from nes_lab.progress_bar import OnProgress, progress_reporter
from nes_lab.records.budget import Budget
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.tune_report import TuneReport
from nes_lab.surgery.replace import compress
from nes_lab.text import format_ms
from nes_lab.tuning.tune import tune

__all__ = ["MARGIN", "Clock", "RealClock", "Timing", "meet_latency"]

MARGIN = 0.02
_PROBES = 8
_TRIES = 3  # of the last measurement
_TUNING = 0.6  # of a probe's time; the rest compares with the dense model
_LEAST_ROUNDS = 7
_HOLDERS = 3


@dataclass(frozen=True)
class Timing:
    """How fast one state is.

    Args:
        plan: With the tuned execution plans and the multiply-adds these give.
        ms, dense_ms: Medians of the network and of the dense model, timed in the same rounds.
        error: Standard error of their ratio, as a share.
        rounds: Of each.
        slowest: The layers that take longest, for a message.
    """

    plan: CompressionPlan
    ms: float
    dense_ms: float
    error: float
    rounds: int
    slowest: str = ""


class Clock(Protocol):
    """Tunes and times a plan in about so many seconds."""

    def __call__(self, plan: CompressionPlan, seconds: float) -> Timing:
        """Measure."""
        ...


def meet_latency(
    model: nn.Module,
    example_input: Any,
    at: Callable[[int], CompressionPlan],
    first: int,
    last: int,
    budget: Budget,
    *,
    seconds: float = 60.0,
    progress: bool = False,
    on_progress: OnProgress | None = None,
    clock: Clock | None = None,
) -> CompressionPlan:
    """The plan of the first rung that is fast enough, by bisection, with its tuned execution plans.

    Args:
        model: The dense model, left as it was.
        example_input: As :func:`nes_lab.count` takes it, with the batch that is to be served.
        at: The plan of a rung.
        first: The first rung that meets the other limits; all below it do.
        last: The last rung.
        budget: With ``latency_ms``.
        seconds: About how long all may take.
        progress: Show a bar on standard error.
        on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` at each piece of work; None: nobody is.
        clock: What measures; None: this device.

    Raises:
        BudgetError: If no rung measured is fast enough; names the least time that was.
        OptionError: If the model has no numbers (meta device), or ``seconds`` is no positive number.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise OptionError(f"seconds={seconds!r}; give a positive number")
    clock = clock or RealClock(model, example_input, budget)
    search = _Search(at, clock, budget, seconds / (_PROBES + 2))
    with progress_reporter(progress, on_progress, "measuring") as show:
        search.show = show
        return _with_notes(search.run(first, last), budget, search)


class _Search:
    """Bisection between a rung that is too slow and one that is fast enough."""

    def __init__(self, at: Callable[[int], CompressionPlan], clock: Clock, budget: Budget, share: float) -> None:
        self.at, self.clock, self.budget, self.share = at, clock, budget, share
        self.known: dict[int, Timing] = {}
        self.show: OnProgress = lambda news: None
        self.begun = time.perf_counter()

    def run(self, first: int, last: int) -> Timing:
        """The timing of the rung to take."""
        if self.fast(first):
            low, high = first - 1, first
        elif first == last or not self.fast(last):
            raise self.too_slow()
        else:
            low, high = first, last
        for _ in range(_TRIES):
            high = self.bisect(low, high)
            timing = self.measure(high, 2 * self.share, "last measurement")
            self.known[high] = timing
            if timing.ms <= self.limit(timing):
                return timing
            better = [rung for rung in self.known if rung > high and self.enough(self.known[rung])]
            if not better and high < last and self.fast(last):
                better = [last]
            if not better:
                break
            low, high = high, min(better)
        raise self.too_slow()

    def bisect(self, low: int, high: int) -> int:
        """The least fast rung that was found fast enough, ``low`` being too slow and ``high`` fast enough."""
        while high - low > 1 and len(self.known) < _PROBES:
            middle = (low + high) // 2
            if self.fast(middle):
                high = middle
            else:
                low = middle
        return high

    def fast(self, rung: int) -> bool:
        """Whether a rung is fast enough, with the margin."""
        if rung not in self.known:
            self.known[rung] = self.measure(rung, self.share, f"step {rung}")
        return self.enough(self.known[rung])

    def measure(self, rung: int, seconds: float, label: str) -> Timing:
        self.show({"done": len(self.known), "total": _PROBES + 1, "phase": "latency", "label": label})
        return self.clock(self.at(rung), seconds)

    def enough(self, timing: Timing) -> bool:
        return timing.ms * (1 + MARGIN + 2 * timing.error) <= self.limit(timing)

    def limit(self, timing: Timing) -> float:
        limit = self.budget.latency_limit(timing.dense_ms)
        assert limit is not None  # or nobody would search
        return limit

    def too_slow(self) -> BudgetError:
        least = min(self.known.values(), key=lambda t: t.ms / self.limit(t))
        where = "; ".join(note for note in least.plan.notes if "tuned on" in note)
        return BudgetError(
            f"latency_ms={self.budget.latency_ms!r} cannot be met: the least measured is {format_ms(least.ms)} "
            f"({least.ms / least.dense_ms:.0%} of the dense model's {format_ms(least.dense_ms)}), where {format_ms(self.limit(least))} are "
            f"asked for with a margin of {MARGIN:.0%} and two standard errors ({least.error:.1%} each)"
            + (f"; slowest there: {least.slowest}" if least.slowest else "")
            + (f"; {where}" if where else ""),
            least=least.plan.predicted,
        )


def _with_notes(timing: Timing, budget: Budget, search: _Search) -> CompressionPlan:
    share = f", which is {budget.latency_ms} of dense" if isinstance(budget.latency_ms, str) else ""
    note = (
        f"{format_ms(timing.ms)} measured: median of {timing.rounds} rounds, in turn with the dense model's {format_ms(timing.dense_ms)}; "
        f"limit {format_ms(search.limit(timing))}{share}; searched with a margin of {MARGIN:.0%} and two standard errors "
        f"(now {timing.error:.1%} each), {len(search.known)} states tuned in {time.perf_counter() - search.begun:.0f} s"
    )
    return replace(timing.plan, notes=(*timing.plan.notes, note), latency_ms=timing.ms)


class RealClock:
    """Measures on the model's device; weights do not matter for time, so the epitomes get any.

    Args:
        model: The dense model, left as it was.
        example_input: On its device.
        budget: Its limit on multiply-adds holds for tuned networks too.
    """

    def __init__(self, model: nn.Module, example_input: Any, budget: Budget) -> None:
        tensor = next((t for t in (*model.parameters(), *model.buffers())), None)
        self.device = torch.device("cpu") if tensor is None else tensor.device
        if self.device.type == "meta":
            raise OptionError("model lies on the meta device, where nothing takes time; move it to a real one")
        self.model, self.example_input, self.budget = model, example_input, budget
        self.dense = copy.deepcopy(model).eval()

    def __call__(self, plan: CompressionPlan, seconds: float) -> Timing:
        """Tune, keep to the limit on multiply-adds, and compare with the dense model."""
        net, slowest = compress(self.model, plan, initial_weights="reset").eval(), ""
        if plan.layers:
            report = tune(net, self.example_input, seconds=_TUNING * seconds)
            plan = self._within_madds(report.apply(plan), report)
            for name, layer in epitome_layers(net):
                layer.execution = plan.layers[name].execution
            slowest = _slowest(report)
        contenders = {
            "dense": lambda: run_example(self.dense, self.example_input),
            "net": lambda: run_example(net, self.example_input),
        }
        with torch.inference_mode():
            times = time_rounds(
                contenders, self.device, (1 - _TUNING) * seconds, least=_LEAST_ROUNDS, most=400, precision=0.0025
            )
        ratio = compare(times["net"], times["dense"])
        ms, dense_ms = median(times["net"]), median(times["dense"])
        return Timing(plan, ms, dense_ms, ratio.error / max(ratio.median, 1e-9), ratio.rounds, slowest)

    def _within_madds(self, tuned: CompressionPlan, report: TuneReport) -> CompressionPlan:
        """Where the fastest execution plans exceed the limit on multiply-adds, cheaper ones, losing least time first."""
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
    return ", ".join(f"{name} {format_ms(ms)}" for ms, name in times[:_HOLDERS])
