"""Time several functions in turn. :mod:`nes_lab.records.spread` compares their times.

Timing ends when the ratios of the times are precise enough or when the time is up.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from nes_lab.records.spread import ratio_of_times

__all__ = ["device_name", "time_rounds"]

_WARMUP = 2
_CHECK_EVERY = 10
_BURST_MS, _BURST_MOST = 1.0, 20


def time_rounds(
    contenders: Mapping[str, Callable[[], object]],
    device: torch.device,
    seconds: float,
    *,
    least: int = 5,
    most: int = 100,
    precision: float = 0.005,
    untimed: int = 0,
) -> dict[str, list[float]]:
    """Time several functions in turn and return the milliseconds of each function in every round.

    Each round times every function. The order of the functions changes from round to round.

    On CUDA, a function is called several times without waiting for the GPU in between. The total time is divided by the number
    of calls.

    Args:
        contenders: Functions without arguments, by name. The other functions are compared with the first one.
        device: Device on which the functions compute.
        seconds: Time limit. After it, no further round starts, except to reach ``least`` rounds.
        least: Smallest number of timed rounds. Two rounds that are not timed come before them.
        most: Largest number of timed rounds.
        precision: Timing stops early when all ratios are precise enough. A ratio is the time of another function divided by
            the time of the first function. It is precise enough if its standard error is at most this number.
        untimed: Number of calls of a function before each timed one. Give 1 if the functions compute with different libraries: for some
            milliseconds after a call the threads of one library still keep the cores busy, and the next function seems slow.

    Examples:
        >>> times_by_name = time_rounds({"a": lambda: None, "b": lambda: None}, torch.device("cpu"), 1.0, most=7)
        >>> {name: len(times) for name, times in times_by_name.items()}
        {'a': 7, 'b': 7}
    """
    names = list(contenders)
    for _ in range(_WARMUP):
        slowest = max(_sample(contenders[name], device, 1) for name in names)
    calls = min(_BURST_MOST, max(1, round(_BURST_MS / max(slowest, 1e-6)))) if device.type == "cuda" else 1
    times: dict[str, list[float]] = {name: [] for name in names}
    begun = time.perf_counter()
    for done in range(most):
        if done >= least and (time.perf_counter() - begun > seconds or _stands(times, done, precision)):
            break
        first = done % len(names)
        for name in names[first:] + names[:first]:
            for _ in range(untimed):
                contenders[name]()
            times[name].append(_sample(contenders[name], device, calls))
    return times


def _sample(call: Callable[[], object], device: torch.device, calls: int) -> float:
    _wait(device)
    begin = time.perf_counter()
    for _ in range(calls):
        call()
    _wait(device)
    return (time.perf_counter() - begin) * 1e3 / calls


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _stands(times: Mapping[str, Sequence[float]], done: int, precision: float) -> bool:
    base, *others = times.values()
    return done % _CHECK_EVERY == 0 and all(ratio_of_times(t, base).error <= precision for t in others)


def device_name(device: torch.device) -> str:
    """Return the name of the GPU or processor as its manufacturer gives it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
