"""Estimate the time of a training from the times of a few steps, and say it in words.

Tests: tests/worker/test_training_cost.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, quantiles

from nes_lab.text import format_bytes, format_seconds

__all__ = ["cost_words", "estimate"]


def estimate(step_seconds: Sequence[float], total: int, other_seconds: float = 0.0) -> dict[str, float]:
    """Estimate the time of a training from the times of some of its steps.

    Args:
        step_seconds: Times of the measured steps in seconds; at least one.
        total: Number of steps of the training.
        other_seconds: Time for everything else, such as validation, in seconds.

    Returns:
        ``seconds``: the whole time, from the mean step; ``low`` and ``high``: the same from a step that is faster, and from one that
        is slower than 9 of 10 steps; ``steps``: number of measured steps.

    Examples:
        >>> estimate([1.0, 1.0, 2.0, 1.0, 1.0], 100, 20.0)
        {'seconds': 140.0, 'low': 120.0, 'high': 180.0, 'steps': 5}
    """
    average = mean(step_seconds)
    low, high = average, average
    if len(step_seconds) > 1:
        cuts = quantiles(step_seconds, n=10, method="inclusive")
        low, high = cuts[0], max(average, cuts[-1])
    times = {"seconds": average, "low": low, "high": high}
    told: dict[str, float] = {name: round(each * total + other_seconds, 3) for name, each in times.items()}
    return told | {"steps": len(step_seconds)}


def cost_words(cost: Mapping[str, float]) -> str:
    """Return the estimated time and memory of a training in words.

    Args:
        cost: ``seconds``, ``low``, ``high`` and ``steps`` as :func:`estimate` returns them, and ``bytes``.

    Examples:
        >>> cost_words({"seconds": 2880, "low": 2700, "high": 3300, "steps": 12, "bytes": 1.9e9})
        'about 48 min here (45 min to 55 min, from 12 steps) · asks for 1.9 GB'
    """
    low, about, high = (_rough(cost[name]) for name in ("low", "seconds", "high"))
    spread = f"{low} to {high}, " if low != high else ""
    return f"about {about} here ({spread}from {cost['steps']:.0f} steps) · asks for {format_bytes(cost['bytes'])}"


def _rough(seconds: float) -> str:
    """Return a duration without its seconds if it is longer than five minutes."""
    return format_seconds(seconds) if seconds < 300 else format_seconds(60 * round(seconds / 60)).removesuffix(" 0 s")
