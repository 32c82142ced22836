"""Draw all cells of an epitome in one heatmap. The color scale is symmetric around zero and ignores outliers.

Tests: tests/figures/test_pictures.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import plotly.graph_objects as go

from nes_lab.errors import OptionError, check_choice
from nes_lab.figures.flat_epitome import flat_cells
from nes_lab.figures.grids import LIMIT, Pages, kernel_slices, shrink, symmetric_limit
from nes_lab.figures.inputs import Layer, snapshot_of
from nes_lab.figures.theme import DIVERGING, heat_colorbar, new_figure, plain, title_at_top
from nes_lab.text import format_shape, shorten_name

if TYPE_CHECKING:
    from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["atlas_pages", "epitome_atlas"]


def atlas_pages(layer: Layer) -> int:
    """Return how many pages :func:`epitome_atlas` needs for a layer's epitome. A page shows up to 64 kernel positions."""
    snapshot = snapshot_of(layer)
    return 1 if snapshot.scope == "flat" else kernel_slices(np.empty(snapshot.epitome_shape, dtype=np.int8)).count


def epitome_atlas(
    layer: Layer,
    initial: Layer | None = None,
    mode: Literal["value", "change"] = "value",
    page: int = 1,
) -> go.Figure:
    """Draw a layer's epitome as heatmaps side by side, one per kernel position.

    The rows of a heatmap are the output channels of the epitome, its columns the input channels.

    Args:
        layer: An epitome layer, or a copy of its epitome and starts, such as ``run.snapshots()[step][name]``.
        initial: The same layer before training, in one of these forms; needed only for ``mode="change"``.
        mode: ``"value"`` draws the value of each cell, ``"change"`` its change since ``initial``.
        page: Number of the page, from 1. There are several pages if the kernel has more than 64 positions.

    Returns:
        A figure. The hover text shows a cell, its value and how often it is read for the layer's weight. Up to 256 cells are
        drawn in each direction. If there are more, each point is the mean of a block of cells, and the subtitle says so. A flat
        epitome is drawn row by row.

    Raises:
        OptionError: If the mode is unknown, ``layer`` has no epitome, or ``mode="change"`` has no initial epitome of
            the same shape.

    Examples:
        >>> import nes_lab
        >>> layer = nes_lab.EpitomeLinear(16, 32, epitome_shape=(16, 8), patch_channels=(8, 4), routing="free")
        >>> nes_lab.figures.epitome_atlas(layer).layout.title.subtitle.text
        '16×8 cells, value'
    """
    check_choice("mode", mode, ("value", "change"))
    snapshot = snapshot_of(layer)
    values = _values(snapshot, None if initial is None else snapshot_of(initial), mode)
    if snapshot.scope == "flat":
        return flat_cells(snapshot, values, mode)
    pages = kernel_slices(values, page)
    reads = np.asarray(snapshot.coverage(), dtype=np.float32)
    budget = LIMIT // max(pages.slices.shape[:2])
    tiles = [[shrink(tile, budget)[0] for tile in row] for row in pages.slices]
    small_reads, block = shrink(reads, budget)
    noun = "value" if mode == "value" else "change since the first step"
    title = f"Epitome of {plain(shorten_name(snapshot.name))}"
    shape = format_shape(snapshot.epitome_shape)
    note = f"{shape} cells, {noun}" + _block_note(block)
    figure = new_figure(
        f"Heatmap of the epitome of layer {snapshot.name}: {shape} cells, {noun}, colors around zero.",
        title=title_at_top(title, note),
        margin_t=78,
        height=520,
    )
    canvas, custom = _canvas(tiles, small_reads, block)
    bound = symmetric_limit(canvas)
    figure.add_heatmap(
        z=canvas,
        customdata=custom,
        zmin=-bound,
        zmax=bound,
        zmid=0,
        colorscale=DIVERGING,
        colorbar=heat_colorbar(noun.split()[0]),
        hoverongaps=False,
        hovertemplate="output cell %{customdata[0]}, input cell %{customdata[1]}<br>"
        + noun.split()[0]
        + " %{z:.4g}<br>read %{customdata[2]:.3~g} times<extra></extra>",
    )
    _label_axes(figure, pages, small_reads.shape, block)
    return figure


def _values(snapshot: LayerSnapshot, initial: LayerSnapshot | None, mode: str) -> np.ndarray:
    if snapshot.epitome is None:
        raise OptionError(
            f"the snapshot of {snapshot.name} has starts but no epitome; use the snapshot of the first or the latest step"
        )
    values = np.asarray(snapshot.epitome, dtype=np.float32)
    if mode == "value":
        return values
    have = None if initial is None or initial.epitome is None else initial.epitome.shape
    if initial is None or have != values.shape:
        raise OptionError(f"mode='change' needs an initial epitome of shape {values.shape}, got {have}.")
    return values - np.asarray(initial.epitome, dtype=np.float32)


def _block_note(block: tuple[int, int]) -> str:
    return "" if block == (1, 1) else f"; each point is the mean of {block[0]} × {block[1]} cells"


def _canvas(tiles: list[list[np.ndarray]], reads: np.ndarray, block: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Join the heatmaps of all kernel positions into one heatmap, with NaN between them.

    Returns:
        The joined heatmap, and an array with three numbers for each point of the heatmap: the index of the output
        channel, the index of the input channel, and how often this point of the epitome is read.
    """
    height, width = reads.shape
    gap = max(1, round(0.04 * max(height, width))) if len(tiles) * len(tiles[0]) > 1 else 0
    rows, columns = len(tiles), len(tiles[0])
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan, dtype=np.float32)
    custom = np.full((*canvas.shape, 3), np.nan, dtype=np.float32)
    cells = np.stack(np.meshgrid(np.arange(height) * block[0], np.arange(width) * block[1], indexing="ij"), axis=-1)
    for row, line in enumerate(tiles):
        for column, tile in enumerate(line):
            top, left = row * (height + gap), column * (width + gap)
            canvas[top : top + height, left : left + width] = tile
            custom[top : top + height, left : left + width, :2] = cells
            custom[top : top + height, left : left + width, 2] = reads
    return canvas, custom


def _label_axes(figure: go.Figure, pages: Pages, tile: tuple[int, ...], block: tuple[int, int]) -> None:
    height, width = tile
    rows, columns = pages.slices.shape[:2]
    if rows * columns == 1:
        ticks_x, ticks_y = _cell_ticks(width, block[1]), _cell_ticks(height, block[0])
        figure.update_xaxes(title_text="input channel (cell)", showgrid=False, **ticks_x)
        figure.update_yaxes(title_text="output channel (cell)", showgrid=False, **ticks_y)
    else:
        gap = max(1, round(0.04 * max(height, width)))
        middles_x = [index * (width + gap) + (width - 1) / 2 for index in range(columns)]
        middles_y = [index * (height + gap) + (height - 1) / 2 for index in range(rows)]
        figure.update_xaxes(
            title_text="kernel position; inside: input channel",
            tickvals=middles_x,
            ticktext=pages.column_names,
            showgrid=False,
        )
        figure.update_yaxes(
            title_text="kernel position; inside: output channel",
            tickvals=middles_y,
            ticktext=pages.row_names,
            showgrid=False,
        )
    figure.update_yaxes(autorange="reversed")


def _cell_ticks(count: int, block: int) -> dict[str, Any]:
    """Return the positions and labels of up to eight ticks for a plot axis. The labels are round numbers."""
    cells = count * block
    step = next(size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10**9) if cells / size <= 8)
    marks = list(range(0, cells, step))
    return {"tickvals": [mark / block for mark in marks], "ticktext": [str(mark) for mark in marks]}
