"""Draw the curves of several runs over each other: accuracy in validation, and loss in training.

Tests: tests/figures/test_pictures.py
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from nes_lab.errors import OptionError, check_choice
from nes_lab.figures.grids import thin
from nes_lab.figures.inputs import Rows
from nes_lab.figures.run_panels import ACROSS, Across, RunCurves, axis_unit
from nes_lab.figures.theme import SeriesStyle, curve_styles, legend_below, new_figure, plain, series_style
from nes_lab.runs.deciding_metric import deciding_metric
from nes_lab.runs.handle import RunHandle
from nes_lab.runs.info import RunInfo
from nes_lab.runs.kept_curve import read_curve
from nes_lab.runs.query import run_table
from nes_lab.text import shorten_middle

__all__ = ["compare_runs"]

MOST_POINTS = 300
"""Largest number of points drawn for one curve; if there are more, evenly spaced ones are drawn."""


def compare_runs(runs: Iterable[RunHandle] | Mapping[str, Rows], across: Across = "step") -> go.Figure:
    """Draw the validation accuracy and the training loss of several runs over each other.

    Args:
        runs: The runs. Or a mapping from the name of each run to the rows of its metrics.
        across: What the horizontal axis shows: the training step, the epoch, or the time of training without pauses. The last two
            need runs.

    Raises:
        OptionError: If ``across`` is unknown, or asks for more than rows of metrics tell.

    Returns:
        A figure of two panels. Runs have the color of their method; those of one method differ in dash and marker. Rows of metrics
        have a color each. A click on a name hides the run.

    Examples:
        >>> import nes_lab
        >>> rows = [{"step": step, "split": "val", "top1": 10.0 * step} for step in (1, 2, 3)]
        >>> nes_lab.figures.compare_runs({"a": rows, "b": rows}).layout.title.text
        'Curves of 2 runs'
    """
    check_choice("across", across, ACROSS)
    if isinstance(runs, Mapping) and across != "step":
        raise OptionError(f"across={across!r} needs runs, not rows of metrics, which do not say when a run began")
    listed: Any = runs if isinstance(runs, Mapping) else list(runs)  # a generator is read once
    rows_of, styles = _rows_by_name(listed), _styles(listed)
    metrics = {name: deciding_metric(rows) for name, rows in rows_of.items()}
    titles = list(dict.fromkeys(metric.title for metric in metrics.values()))
    curves = _curves(listed, rows_of)
    ends = [each.places([each.metrics[-1].get("step", 0)], across)[0] for each in curves if each.metrics]
    unit, title = axis_unit(across, max(map(float, ends), default=0.0))
    figure = go.Figure(make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.05))
    alt = f"Validation {' or '.join(titles) or 'accuracy'} and training loss of {len(rows_of)} runs over the {title}."
    figure.update_layout(new_figure(alt, title={"text": f"Curves of {len(rows_of)} runs"}).layout)
    for index, (name, each, style) in enumerate(zip(rows_of, curves, styles, strict=True)):
        for panel, split, key in ((1, "val", metrics[name].name), (2, "train", "loss")):
            _add_curve(figure, each, (split, key), (across, unit), name, index, panel, style)
    figure.update_xaxes(rangemode="tozero")
    figure.update_xaxes(title_text=title, row=2, col=1)
    figure.update_layout(
        uirevision="keep" if across == "step" else f"keep-{across}"
    )  # a zoom of another axis would show nothing
    shown = ["top-1 (%)" if title == "top-1" else title for title in titles]
    figure.update_yaxes(title_text="training loss", row=2, col=1)
    figure.update_yaxes(title_text=" or ".join(shown) or "accuracy", row=1, col=1)
    legend_below(figure, 520, entries=len(rows_of))
    return figure


def _rows_by_name(runs: Sequence[RunHandle] | Mapping[str, Rows]) -> Mapping[str, Rows]:
    if isinstance(runs, Mapping):
        return {str(name): rows for name, rows in runs.items()}
    return {f"{run.label} ({run.id[-6:]})" if run.label else run.id: read_curve(run.folder).rows() for run in runs}


def _curves(runs: Sequence[RunHandle] | Mapping[str, Rows], rows_of: Mapping[str, Rows]) -> list[RunCurves]:
    """Return the curves of each run with what says where its steps lie on the horizontal axis."""
    if isinstance(runs, Mapping):
        return [RunCurves(RunInfo(name), rows) for name, rows in rows_of.items()]
    return [RunCurves(run.info, rows, run.events()) for run, rows in zip(runs, rows_of.values(), strict=True)]


def _styles(runs: Sequence[RunHandle] | Mapping[str, Rows]) -> list[SeriesStyle]:
    """Return the style of each run: the color of its method if the method is known."""
    if isinstance(runs, Mapping):
        return [series_style(index) for index in range(len(runs))]
    return curve_styles(row["routing"] or "dense" for row in run_table(run.info for run in runs))


def _add_curve(
    figure: go.Figure,
    curves: RunCurves,
    kind: tuple[str, str],
    axis: tuple[Across, float],
    name: str,
    index: int,
    panel: int,
    style: SeriesStyle,
) -> None:
    split, key = kind
    points = [
        (row["step"], row[key])
        for row in curves.metrics
        if row.get("split") == split and row.get(key) is not None and "step" in row
    ]
    chosen = [points[place] for place in thin(len(points), MOST_POINTS)]
    title = plain(shorten_middle(name, 48))
    figure.add_scatter(
        x=(curves.places([step for step, _ in chosen], axis[0]) / axis[1]).astype(np.float32),
        y=np.array([value for _, value in chosen], dtype=np.float32),
        mode="lines+markers" if len(chosen) <= 30 else "lines",
        line={"color": style.color, "dash": style.dash, "width": 2},
        marker={"size": 6, "symbol": style.symbol},
        name=title,
        legendgroup=str(index),
        showlegend=panel == 1,
        hovertemplate=f"{title}, {axis[0]} %{{x:,.4~g}}: %{{y:.4g}}<extra></extra>",
        row=panel,
        col=1,
    )
