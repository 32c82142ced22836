"""Describe the progress of a run in one line: steps, epoch, speed, time left and best accuracy.

Tests: tests/runs/test_run_progress.py
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nes_lab.progress_bar import event_text, seconds_left
from nes_lab.runs.deciding_metric import DecidingMetric, deciding_metric
from nes_lab.runs.info import RunInfo
from nes_lab.runs.kept_curve import KeptCurve
from nes_lab.text import format_bytes, format_number, format_seconds, format_share

__all__ = ["brief_progress", "event_lines", "progress_text", "queue_text", "run_description"]


def run_description(info: RunInfo) -> str:
    """Describe a run in one line: its data, network, size, routing and seed. What is not known is left out.

    Examples:
        >>> run_description(RunInfo("a", config={"seed": 0}, summary={"madds": 225e6, "dense_madds": 300e6}))
        '225 M MAdds (75.0 % of dense) · dense · seed 0'
    """
    config, summary = info.config, info.summary
    data, backbone = (config.get(name) or {} for name in ("data", "backbone"))
    compression = config.get("compression") or {}
    parts = [info.given.get("data") or data.get("name"), info.given.get("network") or backbone.get("name")]
    if madds := summary.get("madds"):
        share = f" ({format_share(madds, dense)} of dense)" if (dense := summary.get("dense_madds")) else ""
        parts.append(f"{format_number(madds)} MAdds{share}")
    elif budget := compression.get("madds"):
        parts.append(f"budget {budget} MAdds")
    parts.append(compression.get("routing") or summary.get("routing") or "dense")
    parts.append(None if config.get("seed") is None else f"seed {config['seed']}")
    return " · ".join(str(part) for part in (*parts, info.group) if part)


def event_lines(
    metrics: Sequence[Mapping[str, Any]], events: Iterable[Mapping[str, Any]] = (), most: int = 9
) -> list[str]:
    """Return the latest measurements, checkpoints and other events of a run as lines of text, oldest first.

    Args:
        metrics: Rows of the run's metrics, in the order of their steps.
        events: Rows of the run's events.
        most: Largest number of lines.

    Examples:
        >>> rows = [{"step": 20, "split": "val", "epoch": 2, "top1": 61.25, "time": 5.0}]
        >>> event_lines(rows, [{"kind": "checkpoint", "step": 20, "bytes": 470_000, "time": 6.0}])
        ['epoch 2 · validation top-1 61.25 % · best', 'step 20 · checkpoint saved, 470.0 kB']
    """
    events = list(events)
    metric = deciding_metric(metrics, events)
    best = metric.best(metrics)
    lines = []
    for row in metrics:
        value, is_val = row.get(metric.name), row.get("split") == "val"
        words = [f"epoch {row['epoch']}" if is_val and row.get("epoch") is not None else f"step {row['step']:,}"]
        if is_val and isinstance(value, int | float):
            words.append(f"validation {metric.title} {metric.text(value)}" + (" · best" if row is best else ""))
        elif isinstance(row.get("loss"), int | float):
            words.append(f"loss {row['loss']:.4g}")
        lines.append((row.get("time") or 0.0, " · ".join(words)))
    for event in events:
        kind = str(event.get("kind"))
        if kind in _EVENTS:
            place = f"step {event['step']:,} · " if isinstance(event.get("step"), int) else ""
            size = f", {format_bytes(event['bytes'])}" if isinstance(event.get("bytes"), int) else ""
            lines.append((event.get("time") or 0.0, f"{place}{_EVENTS[kind]}{size}"))
    return [text for _, text in sorted(lines, key=lambda line: line[0])[-most:]]


_EVENTS = {
    "start": "training process started",
    "checkpoint": "checkpoint saved",
    "finished": "finished",
    "failed": "failed",
    "cancelled": "cancelled",
    "fit": "epitomes fitted",
}
"""Kinds of events that a reader of the lines wants to know -> their words."""


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


def brief_progress(info: RunInfo, curve: KeptCurve, left: float | None = None) -> list[str]:
    """Describe a run in at most two short lines for the sidebar: how far it is, and its latest accuracy and its size.

    Args:
        info: The run.
        curve: The kept curves of the run.
        left: Estimated seconds until the training ends; None: not known.

    Examples:
        >>> run = RunInfo("a", state="running", step=20, total=60, summary={"madds": 225e6})
        >>> brief_progress(run, KeptCurve(), 180.0)
        ['running · step 20 of 60 · 3 min 0 s left', '225 M MAdds']
    """
    training = info.config.get("training")
    epochs = training.get("epochs") if isinstance(training, Mapping) else None
    train, val = curve.points("train"), curve.points("val")
    latest = max((point.epoch for point in (*train[-1:], *val[-1:]) if point.epoch is not None), default=None)
    first = [info.state]
    if info.stage is not None:
        first.append(event_text(info.stage))
    elif info.is_active:
        known = latest is not None and isinstance(epochs, int)
        first.append(f"epoch {latest:g} of {epochs}" if known else f"step {info.step:,} of {info.total:,}")
    if left is not None:
        first.append(f"{format_seconds(left)} left")
    metric = DecidingMetric(curve.metric or "top1")
    value = val[-1].value if val else info.summary.get(metric.name)
    second = [f"{metric.title} {metric.text(value)}"] if isinstance(value, int | float) else []
    second += [f"{format_number(madds)} MAdds"] if isinstance(madds := info.summary.get("madds"), int | float) else []
    return [" · ".join(line) for line in (first, second) if line]


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
