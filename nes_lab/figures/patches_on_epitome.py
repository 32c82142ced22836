"""Draw where on the epitome each patch of a layer's weight is read.

Tests: tests/figures/test_pictures.py
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from nes_lab.figures.flat_epitome import flat_windows
from nes_lab.figures.grids import LIMIT, place_blocks, shrink, symmetric_limit
from nes_lab.figures.inputs import Layer, snapshot_of
from nes_lab.figures.theme import DIVERGING, heat_colorbar, new_figure, plain, series_style, title_at_top
from nes_lab.figures.windows import patch_outline, start_grid
from nes_lab.text import shorten_name

if TYPE_CHECKING:
    from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["add_epitome", "patches_on_epitome"]

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
    if snapshot.scope == "flat":
        return flat_windows(snapshot)
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
    add_epitome(figure, snapshot)
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


def add_epitome(figure: go.Figure, snapshot: LayerSnapshot, **place: int) -> None:
    """Draw an epitome as a pale heatmap, averaged over kernel positions, as the background of outlines.

    Args:
        figure: Figure to change.
        snapshot: Copy of the layer's epitome and starts. If it has only starts, nothing is drawn.
        place: ``row`` and ``col`` of the panel, in a figure with several panels.
    """
    if snapshot.epitome is None:
        return
    epitome = np.asarray(snapshot.epitome, dtype=np.float32)
    mean = epitome.reshape(*epitome.shape[:2], -1).mean(axis=-1)
    small, block = shrink(mean, LIMIT)
    bound = symmetric_limit(small)
    figure.add_heatmap(
        z=small,
        **place_blocks(block),
        zmin=-bound,
        zmax=bound,
        zmid=0,
        opacity=0.45,
        colorscale=DIVERGING,
        colorbar=heat_colorbar("mean value" if math.prod(snapshot.weight_shape[2:]) > 1 else "value"),
        hoverinfo="skip",
        **place,
    )


def _add_outlines(figure: go.Figure, snapshot: LayerSnapshot, row: int, place: int) -> None:
    style = series_style(place)
    top, left = start_grid(snapshot, 0)[row], start_grid(snapshot, 1)[row]
    xs: list[float | None] = []
    ys: list[float | None] = []
    texts: list[str] = []
    for column in range(len(top)):
        box_x, box_y = patch_outline(snapshot, row, column)
        xs += box_x
        ys += box_y
        texts += [f"input patch {column}: start ({top[column]:.3g}, {left[column]:.3g})"] * len(box_x)
    figure.add_scatter(
        x=np.array(xs, dtype=np.float32),
        y=np.array(ys, dtype=np.float32),
        text=texts if len(texts) < 6000 else None,
        mode="lines",
        line={"color": style.color, "dash": style.dash, "width": 2},
        name=str(row),
        hovertemplate=f"output patch {row}<br>%{{text}}<extra></extra>",
    )
