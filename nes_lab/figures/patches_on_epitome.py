"""Draw where on the epitome each patch of a layer's weight is read.

Tests: tests/figures/test_pictures.py
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from nes_lab.figures.grids import LIMIT, shrink, symmetric_limit
from nes_lab.figures.inputs import Layer, snapshot_of
from nes_lab.figures.theme import DIVERGING, heat_colorbar, new_figure, plain, series_style, title_at_top
from nes_lab.figures.windows import start_grid
from nes_lab.text import shorten_name

if TYPE_CHECKING:
    from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["patches_on_epitome"]

MOST_TRACES = 12
"""Largest number of output patches drawn; if there are more, evenly spaced ones are drawn and the subtitle says so."""


def patches_on_epitome(layer: Layer) -> go.Figure:
    """Draw an epitome, and a rectangle around each region from which a patch (a block of the layer's weight) is read.

    Args:
        layer: An epitome layer, its ``routing_map()``, or a copy of its epitome and starts, such as ``run.snapshots()[step][name]``.

    Returns:
        A figure. The background is a heatmap of the epitome, averaged over kernel positions; it is empty without an
        epitome. Rectangles of patches with the same output channels have the same color and dash. Rectangles at the
        same position hide each other. The subtitle says how many different positions there are.

    Raises:
        OptionError: If ``layer`` has no starts to draw.

    Examples:
        >>> import nes_lab
        >>> layer = nes_lab.EpitomeLinear(16, 32, epitome_shape=(16, 8), patch_channels=(8, 4), routing="free")
        >>> nes_lab.figures.patches_on_epitome(layer).layout.title.subtitle.text
        '4 × 4 patches at 4 different positions<br>color: output patch'
    """
    snapshot = snapshot_of(layer)
    rows, columns = snapshot.geometry.patch_grid
    chosen = np.unique(np.linspace(0, rows - 1, min(rows, MOST_TRACES)).round().astype(int))
    spots = np.stack([start_grid(snapshot, 0), start_grid(snapshot, 1)], axis=-1).reshape(-1, 2)
    distinct = len(np.unique(spots.round(3), axis=0))
    note = _note(snapshot, distinct)
    note += "<br>color: output patch" + (f" ({len(chosen)} of {rows} drawn)" if len(chosen) < rows else "")
    figure = new_figure(
        f"Outlines of the {rows * columns} windows that layer {snapshot.name} reads, on its epitome.",
        title=title_at_top(f"Patches of {plain(shorten_name(snapshot.name))}", note),
        height=520,
        margin_t=88,
        legend={"title": {"text": "output patch"}},
    )
    _add_background(figure, snapshot)
    for place, row in enumerate(chosen):
        _add_outlines(figure, snapshot, int(row), place)
    height, width = snapshot.epitome_shape[:2]
    figure.update_xaxes(title_text="input channel (cell)", range=[-0.7, width - 0.3], showgrid=False)
    figure.update_yaxes(title_text="output channel (cell)", range=[height - 0.3, -0.7], showgrid=False)
    return figure


def _note(snapshot: LayerSnapshot, distinct: int) -> str:
    """Return one sentence about the positions of the patches."""
    rows, columns = snapshot.geometry.patch_grid
    patches = f"{rows} × {columns} patches"
    if rows * columns > 1 and distinct == 1:
        tiling = ": that is tiling" if snapshot.routing == "tiled" else ""
        return f"{patches} read the same place{tiling}"
    return f"{patches} at {distinct} different position{'s' if distinct > 1 else ''}"


def _add_background(figure: go.Figure, snapshot: LayerSnapshot) -> None:
    if snapshot.epitome is None:  # the snapshot has only starts, so the outlines are drawn on an empty background
        return
    epitome = np.asarray(snapshot.epitome, dtype=np.float32)
    mean = epitome.reshape(*epitome.shape[:2], -1).mean(axis=-1)
    small, block = shrink(mean, LIMIT)
    bound = symmetric_limit(small)
    figure.add_heatmap(
        z=small,
        x0=(block[1] - 1) / 2,
        dx=block[1],
        y0=(block[0] - 1) / 2,
        dy=block[0],
        zmin=-bound,
        zmax=bound,
        zmid=0,
        opacity=0.45,
        colorscale=DIVERGING,
        colorbar=heat_colorbar("mean value" if math.prod(snapshot.weight_shape[2:]) > 1 else "value"),
        hoverinfo="skip",
    )


def _add_outlines(figure: go.Figure, snapshot: LayerSnapshot, row: int, place: int) -> None:
    style = series_style(place)
    top, left = start_grid(snapshot, 0)[row], start_grid(snapshot, 1)[row]
    heights, widths = (axis.lengths for axis in snapshot.geometry.axes[:2])
    xs: list[float | None] = []
    ys: list[float | None] = []
    texts: list[str] = []
    for column in range(len(top)):
        size = (int(heights[row]), int(widths[column]))
        for y, x in _copies(snapshot, float(top[column]), float(left[column]), size):
            box_x, box_y = _box(x, size[1]), _box(y, size[0])
            xs += [box_x[0], box_x[1], box_x[1], box_x[0], box_x[0], None]
            ys += [box_y[0], box_y[0], box_y[1], box_y[1], box_y[0], None]
            texts += [f"input patch {column}: start ({top[column]:.3g}, {left[column]:.3g})"] * 6
    figure.add_scatter(
        x=np.array(xs, dtype=np.float32),
        y=np.array(ys, dtype=np.float32),
        text=texts if len(texts) < 6000 else None,
        mode="lines",
        line={"color": style.color, "dash": style.dash, "width": 2},
        name=str(row),
        hovertemplate=f"output patch {row}<br>%{{text}}<extra></extra>",
    )


def _box(start: float, length: int) -> tuple[float, float]:
    """Return where the rectangle around a patch begins and ends, along one axis of the plot."""
    # A cell is drawn from 0.5 before its index to 0.5 after it.
    return start - 0.5, start + length - 0.5


def _copies(snapshot: LayerSnapshot, y: float, x: float, size: tuple[int, int]) -> Iterator[tuple[float, float]]:
    """Yield the positions at which the rectangle of one patch is drawn.

    If the layer's boundary is ``circular``, a patch may continue at the opposite edge of the epitome. The rectangle is
    then drawn there again.
    """
    if snapshot.boundary != "circular":
        yield y, x
        return
    height, width = snapshot.epitome_shape[:2]
    for top in _wrapped(y, size[0], height):
        for left in _wrapped(x, size[1], width):
            yield top, left


def _wrapped(start: float, length: int, cells: int) -> list[float]:
    first = start % cells
    return [first, first - cells] if first + length > cells else [first]
