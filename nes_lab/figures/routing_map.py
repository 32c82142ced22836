"""Draw the routing map of a layer: where on the epitome each patch begins, before training and at a later step.

Tests: tests/figures/test_pictures.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from nes_lab.figures.grids import axis_names, place_blocks, shrink
from nes_lab.figures.inputs import Layer, snapshot_of
from nes_lab.figures.theme import COUNTS, heat_colorbar, new_figure, plain, title_at_top, write_inside
from nes_lab.figures.windows import axes_with_starts, start_grid
from nes_lab.text import shorten_name

if TYPE_CHECKING:
    from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["routing_map"]


def routing_map(layer: Layer, initial: Layer | None = None) -> go.Figure:
    """Draw the starts of a layer as heatmaps. A start is the position on the epitome where a patch (block of the weight) begins.

    Args:
        layer: An epitome layer, its ``routing_map()``, or a copy of its epitome and starts, such as ``run.snapshots()[step][name]``.
        initial: The same layer before training, in one of these forms. It is drawn at the left, with the same color scale. None
            draws only ``layer``.

    Returns:
        A figure with one row of heatmaps for each weight axis that has starts. Each entry of a heatmap is one patch.
        The color of an entry is the start of the patch. Patches in one row have the same output channels, those in one
        column the same input channels. If the layer has no starts, the figure says so.

    Raises:
        OptionError: If ``layer`` is not one of these forms.

    Examples:
        >>> import nes_lab
        >>> layer = nes_lab.EpitomeLinear(16, 32, epitome_shape=(16, 8), patch_channels=(8, 4), routing="free")
        >>> nes_lab.figures.routing_map(layer.routing_map()).layout.title.text
        'Routing map of RoutingMap'
    """
    return _routing_map(snapshot_of(layer), None if initial is None else snapshot_of(initial))


def _routing_map(snapshot: LayerSnapshot, initial: LayerSnapshot | None) -> go.Figure:
    axes = axes_with_starts(snapshot)
    alt = f"Starts of layer {snapshot.name}: one heatmap per sampled axis, " + (
        "before training and at the step shown." if initial is not None else "at the step shown."
    )
    note = f"routing: {snapshot.routing}; color: where a patch<br>begins in the epitome, in cells"
    title = title_at_top(f"Routing map of {plain(shorten_name(snapshot.name))}", note)
    if not axes:
        return _nothing_sampled(new_figure(alt, title=title, height=240))
    sides = [initial, snapshot] if initial is not None else [snapshot]
    figure = go.Figure(
        make_subplots(
            rows=len(axes),
            cols=len(sides),
            subplot_titles=_titles(snapshot, initial, axes),
            horizontal_spacing=0.12,
            vertical_spacing=0.32 / len(axes),
        )
    )
    figure.update_layout(new_figure(alt, title=title, height=176 + 280 * len(axes)).layout)
    figure.update_layout(margin_t=136)
    for row, axis in enumerate(axes):
        grids = [np.asarray(start_grid(side, axis)) for side in sides]
        low, high = min(grid.min() for grid in grids), max(grid.max() for grid in grids)
        for column, grid in enumerate(grids):
            _add_map(figure, grid, row + 1, column + 1, (float(low), float(high)), len(axes), column == len(grids) - 1)
    figure.update_annotations(font_size=13)
    return figure


def _titles(snapshot: LayerSnapshot, initial: LayerSnapshot | None, axes: list[int]) -> list[str]:
    names = ("the epitome",) if snapshot.scope == "flat" else axis_names(snapshot.weight_shape)
    titles = []
    for axis in axes:
        if initial is None:
            titles.append(f"starts along {names[axis]}")
            continue
        moved = float(np.abs(start_grid(snapshot, axis) - start_grid(initial, axis)).max())
        first = names[axis].replace(" ", "<br>")  # a narrow page has room for a word
        titles += [f"{first},<br>first step", f"this step:<br>moved up to<br>{moved:.2g} cells"]
    return titles


def _add_map(
    figure: go.Figure,
    grid: np.ndarray,
    row: int,
    column: int,
    limits: tuple[float, float],
    rows: int,
    with_bar: bool,
) -> None:
    small, block = shrink(grid)
    low, high = limits[0], max(limits[1], limits[0] + 1.0)  # a move of a hundredth of a cell must not look like a jump
    height = 1 / rows
    figure.add_heatmap(
        z=small,
        **place_blocks(block),
        zmin=low,
        zmax=high,
        colorscale=COUNTS,
        showscale=with_bar,
        colorbar=heat_colorbar("start (cells)", len=0.8 * height, y=1 - (row - 0.5) * height, yanchor="middle"),
        hovertemplate="output patch %{y}, input patch %{x}<br>start %{z:.4g} cells<extra></extra>",
        row=row,
        col=column,
    )
    figure.update_xaxes(
        title_text="input patch" if row == rows else None, showgrid=False, **_ticks(grid.shape[1]), row=row, col=column
    )
    figure.update_yaxes(
        title_text="output patch" if column == 1 else None,
        autorange="reversed",
        showgrid=False,
        **_ticks(grid.shape[0]),
        row=row,
        col=column,
    )


def _ticks(count: int) -> dict[str, Any]:
    """Return plotly options that put about six ticks, at integers, on an axis that shows ``count`` patches."""
    return {"tick0": 0, "dtick": max(1, round(count / 6))}


def _nothing_sampled(figure: go.Figure) -> go.Figure:
    write_inside(figure, "The epitome is as large as the weight on every axis,<br>so this layer has no starts.")
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure
