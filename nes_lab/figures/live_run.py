"""Draw the training curves of one run: loss, accuracy, learning rate and images per second, with checkpoints marked.

Tests: tests/figures/test_pictures.py
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from nes_lab.figures.grids import thin
from nes_lab.figures.inputs import Rows, metrics_of
from nes_lab.figures.theme import OKABE_ITO, legend_below, new_figure
from nes_lab.runs.deciding_metric import DecidingMetric, deciding_metric
from nes_lab.runs.handle import RunHandle

__all__ = ["live_run"]

MOST_POINTS = 1500
"""Largest number of points drawn for one series; if there are more, evenly spaced ones are drawn."""
_MARKS = {"resume": ("dash", OKABE_ITO[1]), "checkpoint": ("dot", "#8A8A8A")}
_MOST_MARKS = 30


def live_run(run: RunHandle | Rows, events: Iterable[Mapping[str, Any]] = ()) -> go.Figure:
    """Draw the loss, accuracy or another metric, learning rate and images per second of a run over its training steps.

    Vertical lines mark the steps at which a checkpoint was saved, and the steps from which the run was resumed.

    Args:
        run: A :class:`nes_lab.Run`, or the rows of its metrics: mappings with ``step``, ``split`` ("train" or "val"), ``attempt`` (1 at
            first, and one more after each resume) and any of ``loss``, ``top1`` or another metric, ``lr``, ``images_per_s``.
        events: Rows of the run's events: mappings with ``kind`` and ``step``. The checkpoints are marked, and the event
            ``task`` says which values of the metric are better. Not needed with a run.

    Returns:
        A figure of four panels with a common axis of steps. A page that draws the figure again keeps the user's zoom.

    Examples:
        >>> import nes_lab
        >>> metrics = [{"step": step, "split": "train", "loss": 2.3 / step, "top1": 10.0 * step} for step in range(1, 9)]
        >>> nes_lab.figures.live_run(metrics).layout.title.text
        'Training curves'
    """
    metrics, events = metrics_of(run, events)
    events = list(events)
    metric = deciding_metric(metrics, events)
    figure = go.Figure(
        make_subplots(rows=4, cols=1, shared_xaxes=True, vertical_spacing=0.05, row_heights=[0.3, 0.3, 0.2, 0.2])
    )
    figure.update_layout(
        new_figure(
            f"Curves of a run: loss, accuracy, learning rate and throughput over {len(metrics)} measurements.",
            title={"text": "Training curves"},
        ).layout
    )
    legend_below(figure, 690, entries=5)  # leaves room for entries that come later, so that the plot does not jump
    for place, split in enumerate(("train", "val")):
        rows = [row for row in metrics if row.get("split") == split]
        _add_curve(figure, rows, "loss", split, place, row=1)
        _add_curve(figure, rows, metric.name, split, place, row=2)
    train = [row for row in metrics if row.get("split") == "train"]
    _add_curve(figure, train, "lr", "train", 0, row=3, legend=False)
    _add_curve(figure, train, "images_per_s", "train", 0, row=4, legend=False)
    _add_best(figure, metrics, metric)
    _add_marks(figure, _marks(metrics, events))
    titles = ("loss (nats)", "top-1 (%)") if metric.name == "top1" else ("loss", metric.title)
    for row, name in enumerate((*titles, "learning rate", "images / s"), start=1):
        figure.update_yaxes(title_text=name, nticks=6 if row < 3 else 4, row=row, col=1)
    figure.update_xaxes(title_text="training step", rangemode="tozero", row=4, col=1)
    return figure


def _add_curve(
    figure: go.Figure,
    rows: Sequence[Mapping[str, Any]],
    key: str,
    split: str,
    place: int,
    row: int,
    legend: bool = True,
) -> None:
    points = [(item["step"], item[key]) for item in rows if item.get(key) is not None and "step" in item]
    chosen = [points[index] for index in thin(len(points), MOST_POINTS)]
    name = {"train": "training", "val": "validation"}[split]
    figure.add_scatter(
        x=np.array([step for step, _ in chosen], dtype=np.float32),
        y=np.array([value for _, value in chosen], dtype=np.float32),
        mode="lines+markers" if split == "val" or len(chosen) < 3 else "lines",
        line={
            "color": OKABE_ITO[place],
            "width": 2 if split == "val" else 1.5,
            "dash": "solid" if place == 0 else "dash",
        },
        marker={"size": 7, "symbol": "circle" if place == 0 else "square"},
        name=name,
        legendgroup=split,
        showlegend=legend and row == 1,
        hovertemplate=f"{name}, step %{{x:d}}: %{{y:.4g}}<extra></extra>",
        row=row,
        col=1,
    )


def _add_best(figure: go.Figure, metrics: Sequence[Mapping[str, Any]], metric: DecidingMetric) -> None:
    best = metric.best(metrics)
    value = None if best is None else best[metric.name]
    text = "" if value is None else metric.text(value)
    figure.add_scatter(
        x=[best["step"]] if best else [None],
        y=[value],
        mode="markers",
        marker={"symbol": "star", "size": 14, "color": OKABE_ITO[4], "line": {"width": 1, "color": "#1F2430"}},
        showlegend=best is not None,
        name="best" if best is None else f"best: {text}",
        hovertemplate=f"best, step %{{x:d}}: {text}<extra></extra>",
        row=2,
        col=1,
    )


def _marks(metrics: Sequence[Mapping[str, Any]], events: Iterable[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Return the steps at which checkpoints were saved, and the steps from which the run was resumed."""
    # After each resume, the rows of ``metrics`` have a higher ``attempt``. The first step of these rows is returned.
    begins: dict[int, int] = {}
    for row in metrics:
        if isinstance(row.get("attempt"), int) and "step" in row:
            begins[row["attempt"]] = min(begins.get(row["attempt"], row["step"]), row["step"])
    resumed = {step for attempt, step in begins.items() if attempt > 1}
    saved = {event["step"] for event in events if "checkpoint" in str(event.get("kind")) and "step" in event}
    return {"resume": sorted(resumed), "checkpoint": sorted(saved)}


def _add_marks(figure: go.Figure, marks: Mapping[str, Sequence[int]]) -> None:
    for kind, (dash, color) in _MARKS.items():
        steps = marks[kind]
        chosen = [steps[index] for index in thin(len(steps), _MOST_MARKS)]
        for step in chosen:
            figure.add_vline(x=step, line={"dash": dash, "color": color, "width": 1.5}, opacity=0.8, layer="below")
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="lines",
            line={"dash": dash, "color": color, "width": 1.5},
            name=kind,
            showlegend=bool(chosen),
            row=1,
            col=1,
        )
