"""Draw how the starts (positions of patches) of a layer move over training.

Starts that never move or that come close together are marked.

Tests: tests/figures/test_pictures.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from nes_lab.errors import OptionError
from nes_lab.figures.grids import axis_names, thin
from nes_lab.figures.inputs import History, history_of
from nes_lab.figures.theme import OKABE_ITO, new_figure, plain, title_at_top, write_inside
from nes_lab.figures.windows import axes_with_starts
from nes_lab.text import shorten_name

if TYPE_CHECKING:
    from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["collapsed_starts", "dead_starts", "start_trajectories"]

STILL = 1e-3
"""A start that moves less than this many cells counts as dead."""
NEAR = 0.5
"""Starts less than this many cells apart count as neighbors."""
_MOST_LINES = 200
_MOST_STEPS = 200
_KINDS = (("moving", OKABE_ITO[0], "solid"), ("never moved", "#8A8A8A", "dash"), ("came close", OKABE_ITO[1], "dot"))


def dead_starts(paths: np.ndarray) -> np.ndarray:
    """Find the starts (positions of patches in the epitome) of a layer that never moved during training.

    Args:
        paths: Position of each start on the epitome at each step, ``(steps, starts)``, in cells.

    Returns:
        A boolean array ``(starts,)``, True for a start that never moved.

    Examples:
        >>> dead_starts(np.array([[0.0, 4.0], [0.0, 4.5]])).tolist()
        [True, False]
    """
    return np.abs(paths - paths[:1]).max(axis=0) < STILL


def collapsed_starts(paths: np.ndarray) -> np.ndarray:
    """Find the starts of a layer that came close to other starts during training. Such starts are called collapsed.

    A start is the position of a patch in the epitome.

    Two starts are neighbors if they are less than half a cell apart. The neighbors of a start are counted at the first and at
    the last step. If at least two neighbors were added, the start has collapsed.

    Args:
        paths: Position of each start on the epitome at each step, ``(steps, starts)``, in cells.

    Returns:
        A boolean array ``(starts,)``, True for a start that collapsed.

    Examples:
        >>> collapsed_starts(np.array([[0.0, 3.0, 6.0, 9.0], [4.0, 4.1, 4.2, 9.0]])).tolist()
        [True, True, True, False]
    """
    # A single new neighbor may be there by chance.

    def neighbors(row: np.ndarray) -> np.ndarray:
        row = row.astype(np.float64)
        ordered = np.sort(row)  # a table of all distances would need gigabytes for 30,000 starts
        return np.searchsorted(ordered, row + NEAR, "left") - np.searchsorted(ordered, row - NEAR, "right") - 1

    return neighbors(paths[-1]) >= neighbors(paths[0]) + 2


def start_trajectories(history: History, layer: str | None = None) -> go.Figure:
    """Draw the starts of one layer (the positions of its patches on the epitome) over training steps.

    Args:
        history: A :class:`nes_lab.Run`, its ``snapshots()``, or pairs of a training step and a copy of the layer's epitome and
            starts at this step, oldest first.
        layer: Name of the layer in a run. None: the layer whose epitome has most cells. Pairs need no name.

    Returns:
        A figure with two panels for each weight axis that has starts. Each start is a line. The upper panel shows its
        position, the lower panel how far it has moved since the first step. A gray dashed line is a start that never moved
        (dead). An orange dotted line is a start that came close to others during the training (collapsed).

    Raises:
        OptionError: If ``history`` is empty, or no snapshot has a layer of this name.

    Examples:
        >>> import nes_lab
        >>> layer = nes_lab.EpitomeLinear(16, 32, epitome_shape=(16, 8), patch_channels=(8, 4), routing="free")
        >>> figure = nes_lab.figures.start_trajectories([(0, layer.snapshot("fc")), (10, layer.snapshot("fc"))])
        >>> figure.layout.title.text
        'Starts of fc'
    """
    pairs = history_of(history, layer)
    if not pairs:
        raise OptionError("history is empty; give at least one (step, snapshot) pair")
    return _trajectories(pairs)


def _trajectories(history: Sequence[tuple[int, LayerSnapshot]]) -> go.Figure:
    layer = history[-1][1]
    kept = [history[index] for index in thin(len(history), _MOST_STEPS)]
    axes = axes_with_starts(layer)
    alt = f"Starts of layer {layer.name} over {len(history)} snapshots of training."
    title = title_at_top(f"Starts of {plain(shorten_name(layer.name))}")
    if not axes:
        figure = new_figure(alt, title=title, height=240)
        write_inside(figure, "This layer has no starts: its cells are read in order.")
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
        return figure
    names = ("the epitome",) if layer.scope == "flat" else axis_names(layer.weight_shape)
    paths = {axis: np.stack([np.ravel(item.starts[axis]) for _, item in kept]) for axis in axes}
    figure = go.Figure(
        make_subplots(
            rows=2 * len(axes),
            cols=1,
            shared_xaxes=True,
            vertical_spacing=0.2 / len(axes),
            subplot_titles=[text for axis in axes for text in _summary(names[axis], paths[axis])],
        )
    )
    figure.update_layout(new_figure(alt, title=title, height=150 + 360 * len(axes)).layout)
    figure.update_layout(legend_y=-0.09 if len(axes) > 1 else -0.17, margin_t=66)
    steps = np.array([step for step, _ in kept])
    for place, axis in enumerate(axes):
        _add_lines(figure, steps, paths[axis], 2 * place + 1, moves=False)
        _add_lines(figure, steps, paths[axis], 2 * place + 2, moves=True)
    figure.update_xaxes(title_text="training step", nticks=6, row=2 * len(axes))
    figure.update_yaxes(title_text="cells", nticks=5)
    figure.update_annotations(font_size=12, x=0, xanchor="left", align="left")
    return figure


def _summary(name: str, paths: np.ndarray) -> tuple[str, str]:
    """Return the titles of the panels with the positions and the moves of the starts along one axis."""
    near = _has_neighbor(paths[0]), _has_neighbor(paths[-1])
    since, later = int((near[0] & near[1]).sum()), int((~near[0] & near[1]).sum())
    still = int(dead_starts(paths).sum())
    furthest = float(np.abs(paths - paths[:1]).max())
    moved = f"none over {furthest:.2g} cells, {still} never moved" if still < paths.shape[1] else "none moved"
    crowd = f"{since} close since the start, {later} later"
    return f"{name}: {paths.shape[1]} starts", f"{name}: moves<br>{moved}<br>{crowd}"


def _has_neighbor(row: np.ndarray) -> np.ndarray:
    order = np.argsort(row, kind="stable")
    close = np.diff(row[order].astype(np.float64)) < NEAR
    found = np.zeros(row.size, dtype=bool)
    found[order] = np.append(close, False) | np.append(False, close)
    return found


def _add_lines(figure: go.Figure, steps: np.ndarray, paths: np.ndarray, row: int, moves: bool) -> None:
    """Draw one line per start (position of a patch): its position, or how far it has moved."""
    heights = paths - paths[:1] if moves else paths
    kinds = np.where(collapsed_starts(paths), 2, np.where(dead_starts(paths), 1, 0))
    drawn = thin(paths.shape[1], _MOST_LINES)
    for kind, (name, color, dash) in enumerate(_KINDS):
        members = [index for index in drawn if kinds[index] == kind]
        xs, ys, which = [], [], []
        for index in members:
            xs.append(np.append(steps, np.nan))
            ys.append(np.append(heights[:, index], np.nan))
            which.append(np.full(len(steps) + 1, index, dtype=np.int32))
        figure.add_scatter(
            x=np.concatenate(xs).astype(np.float32) if xs else [None],
            y=np.concatenate(ys).astype(np.float32) if ys else [None],
            customdata=np.concatenate(which) if which else None,
            mode="lines+markers" if len(steps) < 30 else "lines",
            marker={"size": 4},
            line={"color": color, "dash": dash, "width": 1.5},
            name=name,
            legendgroup=name,
            showlegend=row == 1,
            hovertemplate=f"patch %{{customdata}} ({name})<br>step %{{x:d}}: %{{y:.4g}} cells<extra></extra>",
            row=row,
            col=1,
        )
