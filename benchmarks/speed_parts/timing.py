"""Timing contenders in turn, in one process: a machine that drifts, drifts for all of them."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch

__all__ = ["Effort", "Times", "copy_bandwidth", "take_turns"]

FAULTS = 2000
"""Page faults a round (8 MB) above which the allocator has not yet settled."""


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Args:
        pairs: Fewest timed rounds; in each every contender runs once.
        most: Most rounds.
        seconds: Rounds are added up to this time.
        warmup: Untimed rounds before; up to 8 more while the allocator still asks the system for memory.
    """

    pairs: int = 20
    most: int = 60
    seconds: float = 1.0
    warmup: int = 3


@dataclass(frozen=True)
class Times:
    """Milliseconds per round, by contender."""

    rounds: dict[str, list[float]]

    @property
    def pairs(self) -> int:
        """Timed rounds."""
        return len(next(iter(self.rounds.values())))

    def median(self, name: str) -> float:
        """Median time of a contender."""
        return median(self.rounds[name])

    def p90(self, name: str) -> float:
        """The time that nine rounds in ten stay within."""
        ordered = sorted(self.rounds[name])
        return ordered[min(len(ordered) - 1, -(-9 * len(ordered) // 10) - 1)]

    def ratio(self, name: str, baseline: str) -> float:
        """Median of the rounds' own ratios."""
        return median(a / b for a, b in zip(self.rounds[name], self.rounds[baseline], strict=True))


def take_turns(
    calls: Mapping[str, Callable[[], object]], effort: Effort, device: str = "cpu", inner: int | None = None
) -> Times:
    """Run every contender once a round, every second round in reverse order.

    Args:
        calls: What to time, by name.
        effort: How many rounds.
        device: Where the calls run; on ``cuda`` each time ends with a synchronization.
        inner: Calls that one time is the mean of; None: 1, or 10 on ``cuda``, whose queue would hide short ones.
    """
    inner = inner or (10 if device == "cuda" else 1)
    _warm_up(calls, effort, device)
    rounds: dict[str, list[float]] = {name: [] for name in calls}
    names, begin = list(calls), time.perf_counter()
    done = 0
    while done < effort.pairs or (done < effort.most and time.perf_counter() - begin < effort.seconds):
        for name in names if done % 2 == 0 else reversed(names):
            rounds[name].append(_time(calls[name], device, inner))
        done += 1
    return Times(rounds)


def _warm_up(calls: Mapping[str, Callable[[], object]], effort: Effort, device: str) -> None:
    begin = time.perf_counter()
    for number in range(1, effort.warmup + 9):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for call in calls.values():
            _time(call, device, 1)
        settled = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < FAULTS
        if number >= effort.warmup and (settled or time.perf_counter() - begin > 5 * effort.seconds):
            return


def _time(call: Callable[[], object], device: str, inner: int) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(inner):
        call()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) * 1e3 / inner


def copy_bandwidth(nbytes: int, device: str, effort: Effort) -> float:
    """Bytes read and written per second by a copy of ``nbytes`` between two tensors that stand."""
    source = torch.ones(max(1, nbytes // 4), device=device)
    target = torch.empty_like(source)
    times = take_turns({"copy": lambda: target.copy_(source)}, effort, device)
    return 2 * source.nbytes / (times.median("copy") * 1e-3)
