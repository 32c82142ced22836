"""Draw one patch of a layer twice: its place in the weight, and where on the epitome it is read. A slider chooses the patch.

Tests: tests/figures/test_by_hand.py
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from nes_lab.errors import OptionError
from nes_lab.figures.flat_epitome import add_cells, window_outlines
from nes_lab.figures.inputs import Layer, snapshot_of
from nes_lab.figures.patches_on_epitome import add_epitome
from nes_lab.figures.theme import OKABE_ITO, REPORTED, new_figure, plain, title_at_top
from nes_lab.figures.windows import patch_outline, start_grid
from nes_lab.text import shorten_name

if TYPE_CHECKING:
    from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["patch_chooser"]

MOST_PATCHES = 64
"""Largest number of patches that the slider offers; if there are more, it offers evenly spaced ones."""
_MARK, _PALE = OKABE_ITO[1], "rgba(213, 94, 0, 0.25)"


def patch_chooser(layer: Layer) -> go.Figure:
    """Draw the weight of a layer as blocks beside its epitome, and mark one patch in both. A slider chooses the patch.

    Args:
        layer: An epitome layer, its ``routing_map()``, or a copy of its epitome and starts, such as ``run.snapshots()[step][name]``.

    Returns:
        A figure. At the left are the blocks of the weight, one per patch. At the right are the epitome, averaged over kernel
        positions, and the outlines of all patches. The chosen patch is filled in both. The slider works without a kernel. The
        cells of a flat epitome are drawn line by line, with the windows of the chosen patch.

    Raises:
        OptionError: If ``layer`` has no starts to draw, or has a flat epitome whose cells were not kept.

    Examples:
        >>> import nes_lab
        >>> layer = nes_lab.EpitomeLinear(16, 32, epitome_shape=(16, 8), patch_channels=(8, 4), routing="free")
        >>> figure = nes_lab.figures.patch_chooser(layer)
        >>> len(figure.layout.sliders[0].steps), figure.layout.sliders[0].steps[5].label
        (16, '(1, 1), read at (8, 4)')
    """
    snapshot = snapshot_of(layer)
    if snapshot.scope == "flat" and snapshot.epitome is None:
        raise OptionError("layer has no cells of its flat epitome, only starts; patches_on_epitome draws it")
    rows, columns = snapshot.geometry.patch_grid
    pairs = list(product(range(rows), range(columns)))
    kept = np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), MOST_PATCHES)).round().astype(int))
    offered = [pairs[index] for index in kept]
    figure = go.Figure(make_subplots(rows=1, cols=2, column_widths=[0.38, 0.62], horizontal_spacing=0.2))
    note = "left: the weight, in blocks; right: the epitome<br>move the slider below to choose a patch"
    title = title_at_top(f"One patch of {plain(shorten_name(snapshot.name))}", note)
    alt = f"One of the {len(pairs)} patches of layer {snapshot.name}, marked in the weight and on the epitome."
    figure.update_layout(new_figure(alt, title=title, height=500, margin_t=88, showlegend=False).layout)
    _add_frames(figure, snapshot, pairs)
    first = _marks(snapshot, *offered[0])
    for col in (1, 2):
        x, y = first["x"][col - 1], first["y"][col - 1]
        style = {"mode": "lines", "fill": "toself", "fillcolor": _PALE, "line": {"color": _MARK, "width": 3}}
        figure.add_scatter(x=x, y=y, hoverinfo="skip", row=1, col=col, **style)
    count = len(list(figure.data))
    marks = [count - 2, count - 1]
    figure.update_layout(sliders=[_slider(snapshot, offered, marks)])
    _set_axes(figure, snapshot)
    return figure


def _add_frames(figure: go.Figure, snapshot: LayerSnapshot, pairs: list[tuple[int, int]]) -> None:
    """Draw the epitome, and thin outlines of all patches in the weight and on the epitome."""
    if snapshot.epitome is not None and snapshot.scope == "flat":
        add_cells(figure, snapshot.epitome, snapshot.coverage(), row=1, col=2)
        windows = []  # they lie over each other
    else:
        add_epitome(figure, snapshot, row=1, col=2)
        windows = [_windows(snapshot, *pair) for pair in pairs]
    figure.update_traces(showscale=False, selector={"type": "heatmap"})
    boxes = [_block(snapshot, *pair) for pair in pairs], windows
    for col, outlines in enumerate(boxes, start=1):
        x, y = ([value for outline in outlines for value in outline[axis]] for axis in (0, 1))
        line = {"color": REPORTED, "width": 1}
        figure.add_scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", row=1, col=col)


def _block(snapshot: LayerSnapshot, row: int, column: int) -> tuple[list[float | None], list[float | None]]:
    """Return the outline of one patch in the weight, along input and output channels."""
    ends = []
    for axis, place in ((1, column), (0, row)):
        first = place * snapshot.patch_shape[axis]
        ends.append((first - 0.5, min(first + snapshot.patch_shape[axis], snapshot.weight_shape[axis]) - 0.5))
    (x0, x1), (y0, y1) = ends
    return [x0, x1, x1, x0, x0, None], [y0, y0, y1, y1, y0, None]


def _marks(snapshot: LayerSnapshot, row: int, column: int) -> dict[str, list[list[float | None]]]:
    block, window = _block(snapshot, row, column), _windows(snapshot, row, column)
    return {"x": [block[0], window[0]], "y": [block[1], window[1]]}


def _windows(snapshot: LayerSnapshot, row: int, column: int) -> tuple[list[float | None], list[float | None]]:
    return (window_outlines if snapshot.scope == "flat" else patch_outline)(snapshot, row, column)


def _label(snapshot: LayerSnapshot, row: int, column: int) -> str:
    if snapshot.scope == "flat":
        starts = np.asarray(snapshot.starts[0], np.float64)[row, column] % snapshot.epitome_shape[0]
        alphas = [None] * len(starts) if snapshot.alpha is None else snapshot.alpha[row, column]
        parts = [
            f"cells from {start:.6g}" if alpha is None else f"{alpha:.2g} × cells from {start:.6g}"
            for start, alpha in zip(starts, alphas, strict=True)
        ]
        return f"({row}, {column}): " + ", ".join(parts)
    top, left = (float(start_grid(snapshot, axis)[row, column]) for axis in (0, 1))
    return f"({row}, {column}), read at ({top:.3g}, {left:.3g})"


def _slider(snapshot: LayerSnapshot, pairs: list[tuple[int, int]], marks: list[int]) -> dict[str, Any]:
    steps = []
    for row, column in pairs:
        steps.append(
            {
                "method": "restyle",
                "label": _label(snapshot, row, column),
                "args": [_marks(snapshot, row, column), marks],
            }
        )
    hidden = {"size": 1, "color": "rgba(0,0,0,0)"}  # the chosen patch is written above the slider
    shown = {"prefix": "patch ", "xanchor": "left", "font": {"size": 13, "color": REPORTED}}
    place = {"x": 0, "len": 1, "y": -0.16, "pad": {"t": 18, "b": 4}}
    return {"steps": steps, "currentvalue": shown, "font": hidden, "ticklen": 0, "bgcolor": _MARK, **place}


def _set_axes(figure: go.Figure, snapshot: LayerSnapshot) -> None:
    shapes = snapshot.weight_shape, snapshot.epitome_shape
    titles = ("weight:<br>input channel", "output channel"), ("epitome:<br>input cell", "output cell")
    if snapshot.scope == "flat":  # add_cells has set the axes of the epitome
        shapes, titles = shapes[:1], titles[:1]
    for col, (shape, (x_title, y_title)) in enumerate(zip(shapes, titles, strict=True), start=1):
        figure.update_xaxes(title_text=x_title, range=[-0.7, shape[1] - 0.3], showgrid=False, row=1, col=col)
        figure.update_yaxes(title_text=y_title, range=[shape[0] - 0.3, -0.7], showgrid=False, row=1, col=col)
