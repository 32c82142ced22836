"""A run's progress in words: steps, epoch, speed, time left, best so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nes_lab.text import format_seconds

__all__ = ["progress_text", "seconds_left"]


def seconds_left(step: int, total: int, metrics: Sequence[Mapping[str, Any]]) -> float | None:
    """Estimate the time to the last step from the pace of the latest attempt.

    Args:
        step: Steps done.
        total: Steps in all.
        metrics: Rows with ``step``, ``time`` (seconds) and ``attempt``.

    Returns:
        Seconds, or None while there is no pace yet.

    Examples:
        >>> seconds_left(20, 60, [{"step": 10, "time": 100.0}, {"step": 20, "time": 105.0}])
        20.0
    """
    rows = [row for row in metrics if isinstance(row.get("time"), int | float) and isinstance(row.get("step"), int)]
    if not rows or total <= step:
        return None
    attempt = max(row.get("attempt") or 0 for row in rows)
    mine = [row for row in rows if (row.get("attempt") or 0) == attempt]
    first, last = min(mine, key=lambda row: row["step"]), max(mine, key=lambda row: row["step"])
    steps, seconds = last["step"] - first["step"], last["time"] - first["time"]
    return (total - step) * seconds / steps if steps > 0 and seconds > 0 else None


def progress_text(step: int, total: int, metrics: Sequence[Mapping[str, Any]], running: bool = True) -> str:
    """Say in one line how far a run is.

    Examples:
        >>> rows = [{"step": 20, "split": "train", "epoch": 2, "images_per_s": 950.4}]
        >>> rows += [{"step": 20, "split": "val", "top1": 61.25, "epoch": 2}]
        >>> progress_text(20, 60, rows)
        'step 20 of 60 · epoch 2 · 950 images/s · best top-1 61.25 %'
    """
    parts = [f"step {step:,} of {total:,}" if total else "not started yet"]
    last = metrics[-1] if metrics else {}
    if last.get("epoch") is not None:
        parts.append(f"epoch {last['epoch']:g}")
    speeds = [row["images_per_s"] for row in metrics if row.get("images_per_s")]
    if running and speeds:
        parts.append(f"{speeds[-1]:,.0f} images/s")
    left = seconds_left(step, total, metrics) if running else None
    if left is not None:
        parts.append(f"about {format_seconds(left)} left")
    best = [row["top1"] for row in metrics if row.get("split") == "val" and row.get("top1") is not None]
    if best:
        parts.append(f"best top-1 {max(best):.2f} %")
    return " · ".join(parts)


def queue_text(before: int) -> str:
    """Say when a queued run starts.

    Examples:
        >>> queue_text(0), queue_text(1)
        ('It starts in a moment.', 'It starts when the run before it has ended.')
    """
    if not before:
        return "It starts in a moment."
    return "It starts when the " + ("run before it has" if before == 1 else f"{before} runs before it have") + " ended."
