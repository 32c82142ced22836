"""Describe the progress of a run in one line: steps, epoch, speed, time left and best accuracy.

Tests: tests/runs/test_run_progress.py
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nes_lab.progress_bar import event_text, seconds_left
from nes_lab.runs.deciding_metric import deciding_metric
from nes_lab.runs.info import RunInfo
from nes_lab.text import format_seconds

__all__ = ["progress_text", "queue_text"]


def progress_text(info: RunInfo, metrics: Sequence[Mapping[str, Any]], events: Iterable[Mapping[str, Any]] = ()) -> str:
    """Describe the progress of a run in one line. The line of an active run includes the speed and the time left.

    Before the first training step, the line says how far the plan and the fit of the epitomes are.

    Args:
        info: The run's state, its current step and its number of steps.
        metrics: Rows of the run's metrics, in the order of their steps.
        events: Rows of the run's events. They say whether higher or lower values of the run's metric are better.

    Examples:
        >>> rows = [{"step": 20, "split": "train", "epoch": 2, "images_per_s": 950.4}]
        >>> rows += [{"step": 20, "split": "val", "top1": 61.25, "epoch": 2}]
        >>> progress_text(RunInfo("a", state="running", step=20, total=60), rows)
        'step 20 of 60 · epoch 2 · 950 images/s · best top-1 61.25 %'
    """
    if info.stage is not None:
        return f"before the first step: {event_text(info.stage)}"
    parts = [f"step {info.step:,} of {info.total:,}" if info.total else "not started yet"]
    last = metrics[-1] if metrics else {}
    if last.get("epoch") is not None:
        parts.append(f"epoch {last['epoch']:g}")
    speeds = [row["images_per_s"] for row in metrics if row.get("images_per_s")]
    if info.is_active and speeds:
        parts.append(f"{speeds[-1]:,.0f} images/s")
    left = seconds_left(metrics, info.total, attempt=info.attempt) if info.is_active else None
    if left is not None:
        parts.append(f"about {format_seconds(left)} left")
    metric = deciding_metric(metrics, events)
    if (best := metric.best(metrics)) is not None:
        parts.append(f"best {metric.title} {metric.text(best[metric.name])}")
    return " · ".join(parts)


def queue_text(before: int) -> str:
    """Return a sentence that says when a queued run starts.

    Args:
        before: Number of runs that wait before this run in the queue.

    Examples:
        >>> queue_text(0), queue_text(1)
        ('It starts in a moment.', 'It starts when the run before it has ended.')
    """
    if not before:
        return "It starts in a moment."
    return "It starts when the " + ("run before it has" if before == 1 else f"{before} runs before it have") + " ended."
