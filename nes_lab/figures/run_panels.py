"""Draw the four panels of the app's page about one run: loss, accuracy, moves of the starts, and speed.

Tests: tests/figures/test_run_panels.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from nes_lab.figures.grids import thin
from nes_lab.figures.inputs import Rows
from nes_lab.figures.start_moves import StartMoves
from nes_lab.figures.theme import OKABE_ITO, new_figure, plain
from nes_lab.runs.deciding_metric import deciding_metric
from nes_lab.runs.info import RunInfo
from nes_lab.text import NO_VALUE, format_bytes, format_percent, shorten_middle

__all__ = ["ACROSS", "Across", "RunCurves", "axis_unit", "run_panels"]

Across = Literal["step", "epoch", "time"]
ACROSS: tuple[Across, ...] = ("step", "epoch", "time")
"""What the horizontal axis of the panels can show."""

SMOOTHING = 0.6
"""Weight of the earlier values in a smoothed curve."""
MOST_POINTS = 1000
_HEIGHT = 308
_LEFT, _RIGHT = 52, 46
_OTHER = "#8A8A8A"
_SECONDS = ((7200.0, 3600.0, "h"), (180.0, 60.0, "min"), (0.0, 1.0, "s"))


def axis_unit(across: Across, end: float) -> tuple[float, str]:
    """Return what to divide the places of an axis by, and the title of the axis.

    Args:
        across: What the axis shows.
        end: The last place on the axis.

    Examples:
        >>> axis_unit("time", 600.0), axis_unit("step", 600.0)
        ((60.0, 'time of training (min)'), (1.0, 'training step'))
    """
    if across != "time":
        return 1.0, {"step": "training step", "epoch": "epoch"}[across]
    _, divisor, unit = next(size for size in _SECONDS if end >= size[0])
    return divisor, f"time of training ({unit})"


@dataclass(frozen=True)
class RunCurves:
    """Holds what the panels draw of one run.

    Args:
        info: The run.
        metrics: Rows of the run's metrics, in the order of their steps.
        events: Rows of the run's events. They say when the run was started, and which values of its metric are better.
        moves: How far the starts have moved.
    """

    info: RunInfo
    metrics: Rows = ()
    events: Rows = ()
    moves: StartMoves = field(default_factory=StartMoves)

    @property
    def name(self) -> str:
        """Label of the run, or its id, shortened for a legend."""
        return shorten_middle(self.info.label or self.info.id, 28)

    def places(self, steps: Sequence[float], across: Across) -> np.ndarray:
        """Return where training steps lie on the horizontal axis: the steps themselves, epochs, or seconds of training."""
        if across == "epoch" and self.info.total:
            epochs = (self.info.config.get("training") or {}).get("epochs") or 1
            return np.asarray(steps, dtype=np.float64) * epochs / self.info.total
        if across == "time":
            known, seconds = self._clock()
            return np.interp(steps, known, seconds) if len(known) > 1 else np.zeros(len(steps))
        return np.asarray(steps, dtype=np.float64)

    def _clock(self) -> tuple[list[float], list[float]]:
        """Return the steps of the metrics, and the seconds of training until each. Pauses before a resume do not count."""
        begins = {event.get("attempt"): event["time"] for event in self.events if event.get("kind") == "start"}
        known, seconds = [0.0], [0.0]
        attempt, offset = None, 0.0
        for row in self.metrics:
            if not isinstance(row.get("time"), int | float) or row["step"] < known[-1]:
                continue
            if row.get("attempt") != attempt:
                attempt = row.get("attempt")
                offset = seconds[-1] - begins.get(attempt, row["time"])
            known.append(row["step"])
            seconds.append(max(seconds[-1], row["time"] + offset))
        return known, seconds


def run_panels(
    run: RunCurves,
    other: RunCurves | None = None,
    *,
    across: Across = "step",
    log_loss: bool = False,
    smooth: bool = False,
    dense: RunInfo | None = None,
) -> dict[str, go.Figure]:
    """Draw four figures of equal size about one run: ``loss``, ``metric``, ``starts`` and ``speed``.

    ``starts`` also has the learning rate, which is all it has if no start moves. ``speed`` also has what the training takes of the
    machine, if the run has recorded it.

    Args:
        run: The run.
        other: A second run, drawn in gray.
        across: What the horizontal axis shows: the training step, the epoch, or the time of training.
        log_loss: Draw the loss on a logarithmic axis.
        smooth: Draw the training curves smoothed, and the measured values pale behind them.
        dense: A dense run to compare with. Its top-1 is a dotted line.

    Examples:
        >>> rows = [{"step": step, "split": "train", "loss": 2.3 / step} for step in range(1, 9)]
        >>> list(run_panels(RunCurves(RunInfo("a"), rows)))
        ['loss', 'metric', 'starts', 'speed']
    """
    metric = deciding_metric(run.metrics, run.events)
    best = metric.best(run.metrics)
    title = "Top-1" if metric.name == "top1" else metric.title
    panel = _Panels(run, other, across, smooth)
    loss = panel.new("Loss", "training and validation", f"{across}-{log_loss}")
    found = None if dense is None or metric.name != "top1" else dense.summary.get("top1")
    level = float(found) if isinstance(found, int | float) else None
    told = ["no validation yet" if best is None else f"best {metric.text(best[metric.name])}{panel.at(best['step'])}"]
    told += [f"dense {metric.text(level)} (dotted)"] if level is not None else []
    accuracy = panel.new(title, " · ".join(told))
    for curves in panel.runs:
        for split in ("train", "val"):
            panel.curve(loss, curves, split, "loss")
            panel.curve(accuracy, curves, split, metric.name)
    if log_loss:
        ticks = _log_ticks(*panel.runs)
        loss.update_yaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    accuracy.update_yaxes(ticksuffix=" %" if metric.name == "top1" else "")
    if level is not None:
        panel.level(accuracy, level, f"dense {metric.text(level)}")
    return {"loss": loss, "metric": accuracy, "starts": panel.starts(), "speed": panel.speed()}


class _Panels:
    """Draws the curves of one or two runs over one kind of horizontal axis."""

    def __init__(self, run: RunCurves, other: RunCurves | None, across: Across, smooth: bool) -> None:
        self.runs = [run] if other is None else [run, other]
        self.across: Across = across
        self.smooth = smooth
        ends = [run.places([row["step"] for row in run.metrics[-1:]] or [0], across)[0] for run in self.runs]
        self.end = max(float(end) for end in ends)
        self.unit, self.title = axis_unit(across, self.end)

    def places(self, run: RunCurves, steps: Sequence[float]) -> np.ndarray:
        return run.places(steps, self.across) / self.unit

    def at(self, step: int) -> str:
        """Return the words that say where a step of the first run lies."""
        place = float(self.places(self.runs[0], [step])[0])
        return {"step": f" at step {step:,}", "epoch": f" at epoch {place:.3g}", "time": ""}[self.across]

    def new(self, title: str, subtitle: str, revision: str = "") -> go.Figure:
        room = 38 * (len(self.runs) - 1)  # a second run makes the legend longer
        alt = f"{title} of the run over the {self.title}: {subtitle}."
        # all in one call: each update of a plotly figure takes some milliseconds. Fixed margins: the axes stand below each other
        return new_figure(
            alt,
            title={"text": plain(title), "subtitle": {"text": plain(subtitle)}, "font": {"size": 15}},
            height=_HEIGHT + room,
            margin={"l": _LEFT, "r": _RIGHT, "t": 70, "b": 68 + room},
            legend={"y": 0, "yref": "container", "yanchor": "bottom", "font": {"size": 11}},
            hovermode="x",
            hoverlabel={"font": {"size": 11}},
            uirevision=revision or self.across,
            meta={"alt": alt, "linked": f"run-{self.across}"},
            xaxis={
                "title": {"text": self.title, "font": {"size": 12}},
                "rangemode": "tozero",
                "nticks": 6,
                "tickfont": {"size": 11},
                "hoverformat": ",.2~f",
                "showspikes": True,
                "spikemode": "across",
                "spikethickness": 1,
                "spikedash": "solid",
            },
            yaxis={"nticks": 6, "automargin": False, "tickfont": {"size": 11}},
        )

    def curve(self, figure: go.Figure, run: RunCurves, split: str, key: str) -> None:
        rows = [row for row in run.metrics if row.get("split") == split and _is_number(row.get(key))]
        if not rows:
            return
        chosen = [rows[index] for index in thin(len(rows), MOST_POINTS)]
        xs = self.places(run, [row["step"] for row in chosen])
        ys = np.array([row[key] for row in chosen], dtype=np.float64)
        name = {"train": "training", "val": "validation"}[split]
        smoothed = self.smooth and split == "train" and len(ys) > 2
        if smoothed:
            self.line(figure, run, split, xs, ys, name, pale=True)
            ys = _smoothed(ys)
        self.line(figure, run, split, xs, ys, name)

    def line(
        self,
        figure: go.Figure,
        run: RunCurves,
        kind: str,
        xs: np.ndarray,
        ys: np.ndarray,
        name: str,
        pale: bool = False,
        axis: str = "y",
    ) -> None:
        """Add a curve. The first run has colors, the second is gray. Curves of kind ``val`` are dashed, with markers."""
        mine, second = run is self.runs[0], kind == "val"
        figure.add_scatter(
            x=xs.astype(np.float32),
            y=ys.astype(np.float32),
            mode="lines+markers" if (second or len(xs) < 3) and not pale else "lines",
            line={
                "color": (OKABE_ITO[1] if second else OKABE_ITO[0]) if mine else _OTHER,
                "width": 1 if pale else 2,
                "dash": "dash" if second else "solid",
            },
            marker={"size": 6, "symbol": "square" if second else "circle"},
            opacity=0.35 if pale else 1,
            name=plain(name if mine else run.name),
            legendgroup=name if mine else "other",
            showlegend=not pale
            and (mine or not any(item.legendgroup == "other" and item.showlegend for item in figure.data)),
            hoverinfo="skip" if pale else None,
            hovertemplate=None
            if pale
            else "%{y:.4g}<extra></extra>",  # names would hide the curves; colors tell them apart
            yaxis=axis,
        )

    def level(self, figure: go.Figure, value: float, name: str) -> None:
        figure.add_scatter(
            x=[0, self.end / self.unit],
            y=[value, value],
            mode="lines",
            line={"color": OKABE_ITO[2], "dash": "dot", "width": 2},
            name=name,
            showlegend=False,
            hoverinfo="skip",
        )

    def starts(self) -> go.Figure:
        """Draw how far the starts have moved, and the learning rate. It is alone if no start moves."""
        run = self.runs[0]
        moves = run.moves
        empty = _no_moves(run.info, moves)
        if empty:
            figure = self.new("Learning rate", empty)
        else:
            figure = self.new("How far starts have moved", f"cells, {moves.starts:,} starts · learning rate (right)")
            self.right_axis(figure)
            for curves in self.runs:
                rows = curves.moves.moves
                if rows and (curves.moves.can_move or curves is run):
                    xs = self.places(curves, [step for step, _, _ in rows])
                    self.line(figure, curves, "train", xs, np.array([median for _, median, _ in rows]), "median")
                    self.line(figure, curves, "val", xs, np.array([largest for _, _, largest in rows]), "largest")
        for curves in self.runs if empty else self.runs[:1]:
            self.numbers(figure, curves, "lr", "learning rate", axis="y" if empty else "y2")
        figure.update_yaxes(rangemode="tozero")
        return figure

    def speed(self) -> go.Figure:
        """Draw the images per second, and the shares of processor and memory that the training takes."""
        rows = self.runs[0].metrics
        newest = next((row for row in reversed(rows) if _is_number(row.get("memory_bytes"))), {})
        memory, gpu = newest.get("memory_bytes"), newest.get("gpu_memory_bytes")
        told = ["CPU " + (NO_VALUE if memory is None else format_percent(newest.get("cpu_percent", 0), 0))]
        told.append(f"memory {NO_VALUE if memory is None else format_bytes(memory)}")
        told += [] if gpu is None else [f"GPU memory {format_bytes(gpu)}"]
        figure = self.new("Speed and machine", f"images per second · {' · '.join(told)}")
        for curves in self.runs:
            self.numbers(figure, curves, "images_per_s", "images/s")
        names = {"cpu_percent": "CPU %", "memory_percent": "memory %", "gpu_memory_percent": "GPU memory %"}
        if memory is not None:
            self.right_axis(figure, ticksuffix=" %")
            for key, name in names.items():
                self.numbers(figure, self.runs[0], key, name, axis="y2")
        figure.update_yaxes(rangemode="tozero")
        return figure

    def right_axis(self, figure: go.Figure, **options: Any) -> None:
        """Give a figure a second vertical axis at the right."""
        axis = {"overlaying": "y", "side": "right", "showgrid": False, "nticks": 4, "tickmode": "auto"}
        figure.update_layout(yaxis2=axis | {"automargin": False, "tickfont": {"size": 11}, **options})

    def numbers(self, figure: go.Figure, run: RunCurves, key: str, name: str, axis: str = "y") -> None:
        """Add a curve of a number in the rows of the training split."""
        known = [row for row in run.metrics if row.get("split") == "train" and _is_number(row.get(key))]
        if not known:
            return
        known = [known[index] for index in thin(len(known), MOST_POINTS)]
        xs = self.places(run, [row["step"] for row in known])
        self.line(figure, run, key, xs, np.array([row[key] for row in known]), name, axis=axis)
        if axis == "y2" and run is self.runs[0]:
            figure.data[-1].line.update(_MACHINE.get(key, {"color": OKABE_ITO[4], "dash": "dot"}))


_MACHINE = {
    "memory_percent": {"color": OKABE_ITO[2], "dash": "dash"},
    "gpu_memory_percent": {"color": OKABE_ITO[3], "dash": "dashdot"},
}


def _no_moves(info: RunInfo, moves: StartMoves) -> str:
    """Return a sentence that says why there are no moves to draw; empty if there are some."""
    if info.config.get("compression") is None and not moves.starts:
        return "The network is dense: it has no starts."
    if not moves.moves:
        return "No snapshot has been saved yet."
    return "" if moves.can_move else "This routing fixes the starts: they do not move."


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Return the exponential moving average of a curve. The first values are not pulled towards zero.

    Examples:
        >>> _smoothed(np.array([1.0, 1.0])).tolist()
        [1.0, 1.0]
    """
    total, weight, result = 0.0, 0.0, []
    for value in values:
        total = SMOOTHING * total + (1 - SMOOTHING) * value
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        result.append(total / weight)
    return np.array(result)


def _log_ticks(*runs: RunCurves) -> list[float]:
    """Return the places of labels on a logarithmic axis of losses: 1, 2 and 5 times powers of ten, or these powers alone.

    Examples:
        >>> _log_ticks(RunCurves(RunInfo("a"), [{"loss": 2.4}, {"loss": 0.3}]))
        [0.2, 0.5, 1.0, 2.0, 5.0]
    """
    losses: list[Mapping[str, Any]] = [row for run in runs for row in run.metrics]
    values = [row["loss"] for row in losses if _is_number(row.get("loss")) and row["loss"] > 0] or [1.0]
    low, high = int(np.floor(np.log10(min(values)))), int(np.ceil(np.log10(max(values))))
    powers = range(low, high + 1)
    if len(powers) > 3:
        return [float(f"1e{power}") for power in powers[:: len(powers) // 7 + 1]]
    ticks = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    return [tick for tick in ticks if min(values) / 2 <= tick <= max(values) * 2.5]
