"""Measuring latency: every contender in turn, so that a drifting machine drifts for all."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nes_lab.cost.count import evaluating
from nes_lab.cost.report import LatencyReport
from nes_lab.errors import OptionError

__all__ = ["measure_latency"]


def measure_latency(
    models: Mapping[str, nn.Module], x: Tensor, pairs: int = 20, warmup: int = 3
) -> dict[str, LatencyReport]:
    """Time one forward of each model, alternating between them.

    Args:
        models: Contenders by name, on the device of ``x``; each is left in the mode it had.
        x: Input, with its batch.
        pairs: Timed rounds; a round runs every model once.
        warmup: Untimed rounds before.

    Returns:
        Median and 90th percentile per name, in milliseconds, with device, dtype, batch and threads.

    Raises:
        OptionError: If ``pairs`` is below 1.

    Examples:
        >>> measure_latency({"linear": nn.Linear(8, 8)}, torch.randn(4, 8), pairs=3)["linear"].batch
        4
    """
    if not isinstance(models, Mapping) or not models:
        raise OptionError(f"models is a {type(models).__name__}; give the contenders by name, as {{'dense': model}}")
    if pairs < 1:
        raise OptionError(f"pairs={pairs!r}; at least one round must be timed")
    times: dict[str, list[float]] = {name: [] for name in models}
    for round_number in range(warmup + pairs):
        for name, model in models.items():
            with evaluating(model):
                elapsed = _forward_ms(model, x)
            if round_number >= warmup:
                times[name].append(elapsed)
    return {name: _summary(values, x) for name, values in times.items()}


def _forward_ms(model: nn.Module, x: Tensor) -> float:
    _wait(x.device)
    begin = time.perf_counter()
    model(x)
    _wait(x.device)
    return (time.perf_counter() - begin) * 1e3


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _summary(values: list[float], x: Tensor) -> LatencyReport:
    ordered = torch.tensor(values, dtype=torch.float64)
    device = torch.cuda.get_device_name(x.device) if x.device.type == "cuda" else x.device.type
    return LatencyReport(
        median_ms=float(ordered.median()),
        p90_ms=float(ordered.quantile(0.9)),
        repeats=len(values),
        batch=x.shape[0],
        threads=torch.get_num_threads(),
        device=device,
        dtype=str(x.dtype).removeprefix("torch."),
    )
