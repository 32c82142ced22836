"""Time contenders in turns, in one process, so that changes in the machine's speed affect all of them equally."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch

__all__ = ["Effort", "Times", "copy_bandwidth", "take_turns"]

FAULTS = 2000
"""Page faults per round (8 MB); the warm-up continues while a round has more, because the allocator still asks the system for memory."""


@dataclass(frozen=True)
class Effort:
    """Limits on the rounds of a measurement. In each round every contender runs once.

    Args:
        pairs: Fewest timed rounds.
        most: Most timed rounds.
        seconds: Time in seconds after which no round beyond ``pairs`` is started.
        warmup: Untimed rounds before; up to 8 more follow while the allocator still asks the system for memory.
    """

    pairs: int = 20
    most: int = 60
    seconds: float = 1.0
    warmup: int = 3


@dataclass(frozen=True)
class Times:
    """Milliseconds of every round, by contender."""

    rounds: dict[str, list[float]]

    @property
    def pairs(self) -> int:
        """Return the number of timed rounds."""
        return len(next(iter(self.rounds.values())))

    def median(self, name: str) -> float:
        """Return the median time of a contender in milliseconds."""
        return median(self.rounds[name])

    def p90(self, name: str) -> float:
        """Return the 90th percentile of the times of a contender."""
        ordered = sorted(self.rounds[name])
        return ordered[min(len(ordered) - 1, -(-9 * len(ordered) // 10) - 1)]

    def ratio(self, name: str, baseline: str) -> float:
        """Return the median over rounds of the ratio of two contenders in the same round."""
        return median(a / b for a, b in zip(self.rounds[name], self.rounds[baseline], strict=True))


def take_turns(
    calls: Mapping[str, Callable[[], object]],
    effort: Effort,
    device: str = "cpu",
    inner: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Times:
    """Run every contender once per round, in reverse order in every second round.

    Args:
        calls: The functions to time, by name.
        effort: Limits on the number of rounds.
        device: Device on which the calls run; on ``cuda`` each timing ends with a synchronization.
        inner: Number of calls whose mean is one time. None: 1, or 10 on ``cuda``, where a synchronization takes longer than a short call.
        clock: Function that returns the time in seconds. ``time.process_time`` does not count the time of other programs.
    """
    inner = inner or (10 if device == "cuda" else 1)
    _warm_up(calls, effort, device)
    rounds: dict[str, list[float]] = {name: [] for name in calls}
    names, begin = list(calls), time.perf_counter()
    done = 0
    while done < effort.pairs or (done < effort.most and time.perf_counter() - begin < effort.seconds):
        for name in names if done % 2 == 0 else reversed(names):
            rounds[name].append(_time(calls[name], device, inner, clock))
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


def _time(call: Callable[[], object], device: str, inner: int, clock: Callable[[], float] = time.perf_counter) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    begin = clock()
    for _ in range(inner):
        call()
    if device == "cuda":
        torch.cuda.synchronize()
    return (clock() - begin) * 1e3 / inner


def copy_bandwidth(nbytes: int, device: str, effort: Effort) -> float:
    """Return the bytes read and written per second when ``nbytes`` are copied between two existing tensors."""
    source = torch.ones(max(1, nbytes // 4), device=device)
    target = torch.empty_like(source)
    times = take_turns({"copy": lambda: target.copy_(source)}, effort, device)
    return 2 * source.nbytes / (times.median("copy") * 1e-3)
