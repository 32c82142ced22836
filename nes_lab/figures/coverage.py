"""Draw how often each cell of an epitome is read when the layer's weight is sampled from it.

Tests: tests/figures/test_pictures.py
"""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from nes_lab.figures.flat_epitome import flat_cells
from nes_lab.figures.grids import place_blocks, shrink
from nes_lab.figures.inputs import Layer, snapshot_of
from nes_lab.figures.theme import COUNTS, OKABE_ITO, heat_colorbar, new_figure, plain, title_at_top
from nes_lab.text import format_share, shorten_name

__all__ = ["coverage", "gini"]


def gini(counts: np.ndarray) -> float:
    """Return the Gini coefficient of how often the cells of an epitome are read.

    The coefficient is 0 if all cells are read equally often, and near 1 if nearly all reads go to a few cells.

    Args:
        counts: Number of reads of each cell.

    Examples:
        >>> gini(np.array([2, 2, 2])), round(gini(np.array([0, 0, 0, 4])), 2)
        (0.0, 0.75)
    """
    values = np.sort(np.ravel(counts)).astype(np.float64)
    total = values.sum()
    if total == 0:
        return 0.0
    ranks = np.arange(1, values.size + 1)
    return float(2 * (ranks * values).sum() / (values.size * total) - (values.size + 1) / values.size)


def coverage(layer: Layer) -> go.Figure:
    """Draw how often each cell of a layer's epitome is read when the layer's weight is sampled from it.

    Here a cell is a pair of an output channel and an input channel of the epitome. The count of a cell is the number of
    channel pairs of the weight that are sampled from the cell.

    Args:
        layer: An epitome layer, its ``routing_map()``, or a copy of its epitome and starts, such as ``run.snapshots()[step][name]``.

    Returns:
        A figure with three parts: a map of the counts, their means per row and column, and a curve. The curve shows the
        percentage of cells that are read at most a given number of times. The subtitle gives the percentage of cells that
        are read at all, and the Gini coefficient (0 if all cells are read equally often, near 1 if few get all reads).

    Raises:
        OptionError: If ``layer`` has no starts to draw.

    Examples:
        >>> import nes_lab
        >>> layer = nes_lab.EpitomeLinear(16, 32, epitome_shape=(16, 8), patch_channels=(8, 4), routing="free")
        >>> nes_lab.figures.coverage(layer).layout.title.text
        'Coverage of EpitomeLinear'
    """
    snapshot = snapshot_of(layer)
    if snapshot.scope == "flat":
        return flat_cells(snapshot, snapshot.coverage(), "reads")
    reads = np.asarray(snapshot.coverage())
    share = float((reads > 0).mean())
    note = (
        f"{format_share(share)} of the cells are read, {reads.mean():.3g} times on average.<br>"
        f"Gini {gini(reads):.2f} (0: all equally often, 1: few get all reads)"
    )
    figure = go.Figure(
        make_subplots(
            rows=3,
            cols=2,
            column_widths=[0.82, 0.18],
            row_heights=[0.14, 0.56, 0.30],
            horizontal_spacing=0.03,
            vertical_spacing=0.03,
            specs=[[{}, None], [{}, {}], [{"colspan": 2, "b": 0.0, "t": 0.12}, None]],
        )
    )
    figure.update_layout(
        new_figure(
            f"How often each cell of the epitome of layer {snapshot.name} is read: {note.replace('<br>', ' ')}.",
            title=title_at_top(f"Coverage of {plain(shorten_name(snapshot.name))}", note),
            height=696,
            showlegend=False,
            margin_t=100,
        ).layout
    )
    _add_map(figure, reads)
    _add_margins(figure, reads)
    _add_distribution(figure, reads)
    return figure


def _add_map(figure: go.Figure, reads: np.ndarray) -> None:
    small, block = shrink(reads)
    high = float(small.max())
    figure.add_heatmap(
        z=small,
        **place_blocks(block),
        colorscale=COUNTS,
        zmin=0,
        zmax=max(high, 1.0),
        colorbar=heat_colorbar("reads", len=0.5, y=0.58, yanchor="middle", tickformat="~g", nticks=6),
        hovertemplate="output cell %{y}, input cell %{x}<br>%{z:.3~g} reads<extra></extra>",
        row=2,
        col=1,
    )
    figure.update_xaxes(title_text="input channel (cell)", showgrid=False, row=2, col=1)
    figure.update_yaxes(title_text="output channel (cell)", autorange="reversed", showgrid=False, row=2, col=1)


def _add_margins(figure: go.Figure, reads: np.ndarray) -> None:
    color = {"color": OKABE_ITO[0], "width": 1.5, "shape": "hvh"}
    height, width = reads.shape
    figure.add_scatter(
        x=np.arange(width),
        y=reads.mean(axis=0).astype(np.float32),
        mode="lines",
        line=color,
        fill="tozeroy",
        hovertemplate="input cell %{x}: %{y:.3~g} reads<extra></extra>",
        row=1,
        col=1,
    )
    figure.add_scatter(
        x=reads.mean(axis=1).astype(np.float32),
        y=np.arange(height),
        mode="lines",
        line={**color, "shape": "vhv"},
        fill="tozerox",
        hovertemplate="output cell %{y}: %{x:.3~g} reads<extra></extra>",
        row=2,
        col=2,
    )
    figure.update_xaxes(matches="x2", showticklabels=False, showgrid=False, row=1, col=1)
    figure.update_yaxes(title_text="mean", rangemode="tozero", nticks=3, row=1, col=1)
    figure.update_yaxes(matches="y2", showticklabels=False, showgrid=False, row=2, col=2)
    figure.update_xaxes(rangemode="tozero", nticks=3, tickangle=0, row=2, col=2)  # the panel above names the mean


def _add_distribution(figure: go.Figure, reads: np.ndarray) -> None:
    values, counts = np.unique(reads, return_counts=True)
    shares = 100 * np.cumsum(counts) / reads.size
    figure.add_scatter(
        x=np.concatenate([[min(0, values[0])], values, [values[-1] + 1]]),
        y=np.concatenate([[0.0], shares, [100.0]]),
        mode="lines",
        line={"color": OKABE_ITO[1], "shape": "hv", "width": 2},
        hovertemplate="%{y:.1f} % of the cells are read<br>at most %{x} times<extra></extra>",
        row=3,
        col=1,
    )
    figure.update_xaxes(title_text="reads of a cell, at most", rangemode="tozero", row=3, col=1)
    figure.update_yaxes(title_text="cells (%)", range=[0, 104], row=3, col=1)
