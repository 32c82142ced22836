"""Draw how a patch depends on its start (its position on the epitome), and how gradient descent moves a start.

Tests: tests/figures/test_by_hand.py
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from nes_lab.errors import OptionError
from nes_lab.figures.patch_by_hand import PatchReading
from nes_lab.figures.theme import new_figure, series_style

__all__ = ["gradient_over_starts", "start_descent"]


def gradient_over_starts(readings: Sequence[PatchReading]) -> go.Figure:
    """Draw how each sample of a patch changes with the patch's start, and below it the derivative of each sample.

    The start is the patch's position on the epitome. The derivative is taken with respect to the start. At integer starts
    the derivative jumps from one value to another. A dot shows which of the two values is used there.

    Args:
        readings: The same patch read at increasing starts, each with its gradient.

    Raises:
        OptionError: If there are fewer than two readings, or one has no gradient.

    Examples:
        >>> import nes_lab, numpy
        >>> patches = {0.0: [0.0, 10.0], 0.5: [5.0, 20.0]}  # start -> samples
        >>> slopes = numpy.array([10.0, 20.0])
        >>> readings = [nes_lab.figures.PatchReading(s, numpy.array(p), slopes) for s, p in patches.items()]
        >>> nes_lab.figures.gradient_over_starts(readings).layout.title.text
        'A patch and its gradient over all starts'
    """
    if len(readings) < 2:
        raise OptionError(f"readings has {len(readings)} entries; a curve needs at least 2.")
    starts = np.array([reading.start for reading in readings], dtype=np.float32)
    patches = np.stack([np.asarray(reading.patch, dtype=np.float32) for reading in readings])
    gradients = np.stack([_gradient(reading) for reading in readings])
    figure = go.Figure(make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08))
    subtitle = (
        "above: samples, with a kink at integer starts; below: derivatives, constant between them, with dots at them"
    )
    figure.update_layout(
        new_figure(
            f"{patches.shape[1]} samples of a patch and their derivatives over {len(starts)} starts.",
            title={"text": "A patch and its gradient over all starts", "subtitle": {"text": subtitle}},
            height=520,
            margin_b=96,
            legend_y=-0.16,
        ).layout
    )
    for sample in range(patches.shape[1]):
        _add_sample(figure, sample, starts, patches[:, sample], gradients[:, sample])
    figure.update_xaxes(dtick=1, row=1)
    figure.update_xaxes(title_text="start (cells)", dtick=1, row=2)
    figure.update_yaxes(title_text="sample", row=1)
    figure.update_yaxes(title_text="derivative (1 / cell)", row=2)
    return figure


def start_descent(starts: np.ndarray, losses: np.ndarray, target: float | None = None) -> go.Figure:
    """Draw how gradient descent moves a start (the position of a patch on the epitome): loss and start over the steps.

    Args:
        starts: The start before each step, in cells, ``(steps,)``.
        losses: The loss before each step, ``(steps,)``.
        target: The start that the descent should reach, drawn as a line; None draws no line.

    Raises:
        OptionError: If ``starts`` and ``losses`` do not have the same length, or are empty.

    Examples:
        >>> import nes_lab, numpy
        >>> figure = nes_lab.figures.start_descent(numpy.array([1.2, 2.0, 3.3]), numpy.array([1.0, 0.4, 0.0]), target=3.4)
        >>> figure.layout.title.text
        'A start learned by gradient descent'
    """
    starts, losses = np.asarray(starts, dtype=np.float32), np.asarray(losses, dtype=np.float32)
    if starts.ndim != 1 or starts.shape != losses.shape or not starts.size:
        raise OptionError(
            f"starts has shape {starts.shape} and losses {losses.shape}; give one number per step in each."
        )
    figure = go.Figure(make_subplots(rows=1, cols=2, horizontal_spacing=0.14))
    note = f"from {starts[0]:.3g} to {starts[-1]:.3g} cells in {starts.size - 1} steps"
    figure.update_layout(
        new_figure(
            f"Loss and start over {starts.size} steps of gradient descent; the start goes {note}.",
            title={"text": "A start learned by gradient descent", "subtitle": {"text": note}},
            height=360,
            showlegend=False,
        ).layout
    )
    for column, values in ((1, losses), (2, starts)):
        style = series_style(column - 1)
        figure.add_scatter(
            x=np.arange(values.size),
            y=values,
            mode="lines+markers",
            line={"color": style.color, "width": 2},
            marker={"symbol": style.symbol, "size": 5},
            hovertemplate="step %{x}: %{y:.4g}<extra></extra>",
            row=1,
            col=column,
        )
    if target is not None:
        label = {"annotation_text": f"target {target:.3g}", "annotation_position": "top left"}
        figure.add_hline(y=target, line={"dash": "dot", "width": 1.5}, row=1, col=2, **label)  # type: ignore[arg-type]
    figure.update_xaxes(title_text="step", rangemode="tozero")
    figure.update_yaxes(title_text="loss", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title_text="start (cells)", row=1, col=2)
    return figure


def _gradient(reading: PatchReading) -> np.ndarray:
    if reading.gradient is None:
        raise OptionError(f"the reading at start {reading.start:.3g} has gradient=None; give one number per sample.")
    return np.asarray(reading.gradient, dtype=np.float32)


def _add_sample(figure: go.Figure, sample: int, starts: np.ndarray, values: np.ndarray, slopes: np.ndarray) -> None:
    style = series_style(sample)
    line = {"color": style.color, "dash": style.dash, "width": 2}
    name, is_integer = f"sample {sample}", starts == np.round(starts)
    group = {"name": name, "legendgroup": name}
    hover = "start %{x:.2f}: %{y:.3f}<extra></extra>"
    figure.add_scatter(x=starts, y=values, mode="lines", line=line, hovertemplate=hover, row=1, col=1, **group)
    steps = {**line, "shape": "hv"}
    figure.add_scatter(
        x=starts, y=slopes, mode="lines", line=steps, hovertemplate=hover, showlegend=False, row=2, col=1, **group
    )
    figure.add_scatter(
        x=starts[is_integer],
        y=slopes[is_integer],
        mode="markers",
        marker={"color": style.color, "symbol": style.symbol, "size": 8},
        hovertemplate=hover,
        showlegend=False,
        row=2,
        col=1,
        **group,
    )
