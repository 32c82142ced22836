"""Draw flat epitomes, which layers can share: the cells, who reads them, and the windows of one layer.

A flat epitome has one axis. Its cells are drawn row by row, like text.

Tests: tests/figures/test_flat_epitome.py
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from nes_lab.errors import OptionError
from nes_lab.figures.grids import LIMIT, symmetric_limit, thin
from nes_lab.figures.theme import COUNTS, DIVERGING, OKABE_ITO, heat_colorbar, new_figure, plain, title_at_top
from nes_lab.geometry.flat_reads import cell_readers, sharing_layers
from nes_lab.text import format_share, list_some, shorten_name

if TYPE_CHECKING:
    from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["add_cells", "flat_cells", "flat_windows", "shared_epitome", "window_outlines"]

MOST_BINS = 240
"""Largest number of bins into which the cells are put, where layers are compared."""
MOST_WINDOWS = 24
"""Largest number of windows drawn as lines."""


def shared_epitome(layers: Mapping[str, LayerSnapshot], name: str, cell: int | None = None) -> go.Figure:
    """Draw a flat epitome, and how often each layer that shares it reads its cells.

    Args:
        layers: Copies of all layers at one training step, by name, such as ``run.snapshots()[step]``.
        name: Name of one of the layers that read the epitome.
        cell: Number of a cell to mark, from 0. The subtitle then says which layers read it. None marks no cell.

    Returns:
        A figure with two panels. The upper one shows the cells, row by row. In the lower one each row is a layer, and each column
        is a range of cells: the color is the mean number of reads per cell.

    Raises:
        OptionError: If the layer has no flat epitome, or the epitome has no such cell.

    Examples:
        >>> import nes_lab
        >>> flat = {"epitome_shape": (300,), "scope": "flat", "routing": "random", "windows": 2}
        >>> layers = {"fc": nes_lab.EpitomeLinear(32, 32, **flat).snapshot("fc")}
        >>> nes_lab.figures.shared_epitome(layers, "fc", cell=7).layout.title.text
        'Epitome of 300 cells, read by 1 layer'
    """
    readers = sharing_layers(layers, name)
    if readers[name].scope != "flat":
        raise OptionError(f"layer {name!r} has scope={readers[name].scope!r}; give one with a flat epitome")
    reads = np.stack([layer.coverage() for layer in readers.values()])
    cells = reads.shape[1]
    count = f"{len(readers)} layer{'s' if len(readers) > 1 else ''}"
    note = _reading_note(readers, reads, cell)
    figure = go.Figure(make_subplots(rows=2, cols=1, row_heights=[0.55, 0.45], vertical_spacing=0.16))
    height = 440 + 18 * min(len(readers), 30)
    title = title_at_top(f"Epitome of {cells:,} cells, read by {count}", note)
    alt = f"Flat epitome with {cells} cells that {count} read, and how often each layer reads them."
    figure.update_layout(new_figure(alt, title=title, height=height, margin_t=112).layout)
    layer = readers[name]
    if layer.epitome is not None:
        add_cells(figure, np.asarray(layer.epitome, np.float32), reads.sum(0), row=1)
    edges = np.unique(np.linspace(0, cells, min(cells, MOST_BINS) + 1).astype(int))
    means = np.add.reduceat(reads, edges[:-1], axis=1) / np.diff(edges)
    figure.add_heatmap(
        z=means.astype(np.float32),
        x=(edges[:-1] + edges[1:] - 1) / 2,
        y=[shorten_name(reader) for reader in readers],
        colorscale=COUNTS,
        zmin=0,
        colorbar=heat_colorbar("reads<br>per cell", len=0.42, y=0.2, yanchor="middle"),
        hovertemplate="%{y}<br>near cell %{x:.0f}: %{z:.3~g} reads per cell<extra></extra>",
        row=2,
        col=1,
    )
    figure.update_xaxes(title_text="cell of the epitome", showgrid=False, row=2, col=1)
    figure.update_yaxes(autorange="reversed", showgrid=False, row=2, col=1)
    if cell is not None:
        _mark(figure, cell, cells, layer.epitome is not None)
    return figure


def flat_cells(layer: LayerSnapshot, values: np.ndarray, what: str) -> go.Figure:
    """Draw one number per cell of a flat epitome, row by row: its values, their change, or how often a layer reads them.

    Args:
        layer: Copy of the layer.
        values: One number per cell.
        what: What the numbers are: ``value``, ``change`` or ``reads``.
    """
    reads, cells = layer.coverage(), len(values)
    noun = {"value": "value", "change": "change since the first step", "reads": "reads by this layer"}[what]
    note = f"{cells:,} cells, row by row; {noun}"
    if layer.reads:
        note += "<br>other layers read this epitome too"
    share = float((reads > 0).mean())
    note += (
        f"<br>{format_share(share, digits=0)} of the cells are read here, {reads.mean():.3g} times on average"
        if what == "reads"
        else ""
    )
    figure = new_figure(
        f"Flat epitome of layer {layer.name}: {cells} cells, {noun}.",
        title=title_at_top(f"Epitome of {plain(shorten_name(layer.name))}", note),
        margin_t=104,
        height=520,
    )
    add_cells(figure, values, reads, around_zero=what != "reads", noun=noun.split()[0])
    return figure


def flat_windows(layer: LayerSnapshot) -> go.Figure:
    """Draw the windows of a layer as lines along its flat epitome. Those of one patch have one color and are side by side.

    Args:
        layer: Copy of a layer with a flat epitome.
    """
    rows, columns = layer.geometry.patch_grid
    starts = np.asarray(layer.starts[0], np.float64).reshape(rows * columns, -1)
    cells, length = layer.epitome_shape[0], math.prod(layer.patch_shape)
    drawn = thin(len(starts), max(1, MOST_WINDOWS // starts.shape[1]))
    note = f"{len(starts):,} patches of {length} numbers, each a sum of {starts.shape[1]} window" + (
        "s" if starts.shape[1] > 1 else ""
    )
    note += f"<br>{len(drawn)} of them are drawn" if len(drawn) < len(starts) else ""
    figure = new_figure(
        f"Windows of layer {layer.name} along its flat epitome of {cells} cells.",
        title=title_at_top(f"Patches of {plain(shorten_name(layer.name))}", note),
        height=200 + 16 * len(drawn) * starts.shape[1],
        margin_t=88,
        showlegend=False,
    )
    for place, patch in enumerate(drawn):
        xs, ys = [], []
        for window, start in enumerate(starts[patch] % cells):
            level = place + window * 0.8 / starts.shape[1]
            for left in (start, start - cells) if start + length > cells else (start,):
                xs += [max(left, 0) - 0.5, min(left + length, cells) - 0.5, None]
                ys += [level, level, None]
        figure.add_scatter(
            x=xs,
            y=ys,
            mode="lines",
            line={"color": OKABE_ITO[place % len(OKABE_ITO)], "width": 4},
            name=f"patch {patch // columns}, {patch % columns}",
            hovertemplate="cell %{x:.0f}",
        )
    labels = [f"{patch // columns}, {patch % columns}" for patch in drawn]
    figure.update_yaxes(
        title_text="patch (output, input)", tickvals=list(range(len(drawn))), ticktext=labels, showgrid=False
    )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title_text="cell of the epitome", range=[-0.5, cells - 0.5])
    return figure


def window_outlines(layer: LayerSnapshot, row: int, column: int) -> tuple[list[float | None], list[float | None]]:
    """Return the outlines of the windows of one patch where cells are drawn line by line: x and y, with None between outlines.

    Args:
        layer: Copy of a layer with a flat epitome.
        row: Number of the patch along output channels.
        column: Number of the patch along input channels.
    """
    cells, length = layer.epitome_shape[0], math.prod(layer.patch_shape)
    block, width = _wrapped(cells)
    xs: list[float | None] = []
    ys: list[float | None] = []
    for start in (np.asarray(layer.starts[0], np.float64)[row, column] % cells).tolist():
        for first, last in ((start, min(start + length, cells)), (0.0, start + length - cells)):
            at = first / block
            while at < last / block:
                line = int(at // width)
                end = min(last / block, (line + 1) * width)
                left, right = at - line * width - 0.5, end - line * width - 0.5
                xs += [left, right, right, left, left, None]
                ys += [line - 0.5, line - 0.5, line + 0.5, line + 0.5, line - 0.5, None]
                at = end
    return xs, ys


def _reading_note(readers: Mapping[str, LayerSnapshot], reads: np.ndarray, cell: int | None) -> str:
    total = reads.sum(0)
    note = f"On average {total.mean():.3g} reads of a cell, by {(reads > 0).sum(0).mean():.2g} layers"
    if cell is None:
        return note
    found = Counter(reader.layer for reader in cell_readers(readers, cell))
    if not found:
        return f"{note}<br>Cell {cell:,} is not read"
    named = list_some([f"{shorten_name(name)} ({count})" for name, count in found.most_common()], 2)
    return f"{note}<br>Cell {cell:,} is read {sum(found.values())} times, by<br>{named}"


def _wrapped(cells: int) -> tuple[int, int]:
    """Return how many cells one point of the picture stands for, and how many points a row has."""
    block = max(1, math.ceil(cells / LIMIT**2))
    points = -(-cells // block)
    return block, min(points, LIMIT, max(16, math.ceil(math.sqrt(2.5 * points))))


def add_cells(
    figure: go.Figure,
    values: np.ndarray,
    reads: np.ndarray,
    around_zero: bool = True,
    noun: str = "value",
    row: int | None = None,
    col: int = 1,
) -> None:
    """Draw one number per cell of a flat epitome, line by line.

    Args:
        figure: The figure; a heatmap is added.
        values: One number per cell.
        reads: How often each cell is read.
        around_zero: True: colors for numbers around 0; False: for counts.
        noun: What the numbers are.
        row: Row of the panel, from 1; None if the figure has one panel.
        col: Column of the panel, from 1.
    """
    block, width = _wrapped(len(values))
    edges = np.arange(0, len(values), block)
    sizes = np.diff(np.append(edges, len(values)))
    points = [np.add.reduceat(part.astype(np.float64), edges) / sizes for part in (values, reads)]
    rows = -(-len(edges) // width)
    z, read, first = (np.full(rows * width, np.nan, np.float32) for _ in range(3))
    z[: len(edges)], read[: len(edges)], first[: len(edges)] = points[0], points[1], edges
    bound = symmetric_limit(z) if around_zero else max(float(np.nanmax(z)), 1.0)
    place: Any = {} if row is None else {"row": row, "col": col}
    figure.add_heatmap(
        z=z.reshape(rows, width),
        customdata=np.stack([first, read], -1).reshape(rows, width, 2),
        zmin=-bound if around_zero else 0,
        zmax=bound,
        colorscale=DIVERGING if around_zero else COUNTS,
        colorbar=heat_colorbar(noun, **({} if row is None else {"len": 0.5, "y": 0.78, "yanchor": "middle"})),
        hoverongaps=False,
        hovertemplate="cell %{customdata[0]:.0f}<br>"
        + noun
        + " %{z:.4g}<br>read %{customdata[1]:.3~g} times<extra></extra>",
        **place,
    )
    figure.update_xaxes(title_text=f"cells, {width * block} in a row", showgrid=False, showticklabels=False, **place)
    ticks = thin(rows, 5)
    labels = [f"{tick * width * block:,}" for tick in ticks]
    figure.update_yaxes(title_text="first cell", tickvals=ticks, ticktext=labels, showgrid=False, **place)
    figure.update_yaxes(autorange="reversed", **place)


def _mark(figure: go.Figure, cell: int, cells: int, has_cells: bool) -> None:
    """Mark a cell in both panels: by a ring, and by a line through all layers."""
    figure.add_vline(x=cell, line={"color": OKABE_ITO[1], "width": 2}, row=2, col=1)  # type: ignore[arg-type]
    if has_cells:
        block, width = _wrapped(cells)
        ring = {"symbol": "circle-open", "size": 14, "color": OKABE_ITO[1], "line": {"width": 3}}
        where = {"x": [cell // block % width], "y": [cell // block // width]}
        figure.add_scatter(**where, mode="markers", marker=ring, showlegend=False, hoverinfo="skip", row=1, col=1)
