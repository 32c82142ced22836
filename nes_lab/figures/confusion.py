"""Draw which classes a network takes for which, and list the most confused pairs.

Tests: tests/figures/test_predictions.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from nes_lab.figures.theme import COUNTS, heat_colorbar, new_figure, plain, share_ticks
from nes_lab.records.columns import Column
from nes_lab.records.table import Table
from nes_lab.text import NO_VALUE, format_share, shorten_middle

__all__ = ["class_table", "confusion", "pair_table"]

_NAME = 16
_MOST_NUMBERS = 20
"""Largest number of classes whose cells hold their numbers as text."""


def confusion(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> go.Figure:
    """Draw a confusion matrix as shares of each row: how the examples of each class were predicted. Hover shows the counts.

    Args:
        matrix: For each class, how many of its examples were predicted as each class: ``(classes, classes)``.
        names: Names of the classes.

    Examples:
        >>> confusion([[8, 2], [0, 5]], ["cat", "dog"]).layout.title.subtitle.text
        '13 of 15 are right: those on the diagonal'
    """
    counts = np.asarray(matrix, dtype=np.int64)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, counts / np.maximum(totals, 1), np.nan)
    labels = [plain(shorten_middle(name, _NAME)) for name in names]
    right = f"{np.trace(counts):,} of {counts.sum():,} are right: those on the diagonal"
    places = list(range(len(names)))
    figure = new_figure(
        f"Confusion matrix of {len(names)} classes. {right}.",
        title={"text": "Confusion", "subtitle": {"text": right}, "font": {"size": 15}},
        height=int(min(760, max(360, 150 + 26 * len(names)))),
        margin={"l": 80, "r": 20, "t": 66, "b": 70},
    )
    figure.add_heatmap(
        z=shares,
        x=places,
        y=places,
        colorscale=COUNTS,
        zmin=0,
        zmax=1,
        text=counts,
        texttemplate="%{text}" if len(names) <= _MOST_NUMBERS else "",
        customdata=_hover(labels, counts, shares),
        hovertemplate="%{customdata}<extra></extra>",
        showscale=len(names) > _MOST_NUMBERS,
        colorbar=heat_colorbar("share of the class", **share_ticks(1.0)),
        name="confusion",
    )
    shown = places[:: -(-len(places) // 30)]
    ticks = {
        "tickvals": shown,
        "ticktext": [labels[place] for place in shown],
        "showgrid": False,
        "title_font_size": 12,
    }
    figure.update_xaxes(title_text="predicted", **ticks)
    figure.update_yaxes(title_text="label", autorange="reversed", **ticks)
    return figure


def _hover(labels: Sequence[str], counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the text of each cell: the two classes, the number of examples, and its share of the class."""
    cells = [
        f"{labels[row]} → {labels[column]}<br>{count:,} examples, {format_share(float(shares[row, column]))} of the class"
        for (row, column), count in np.ndenumerate(counts)
    ]
    return np.array(cells).reshape(counts.shape)


def pair_table(pairs: Sequence[Mapping[str, int]], classes: Sequence[Mapping[str, Any]]) -> Table:
    """Return the most confused pairs as a table: the label, what was predicted, how often, and the share of the class.

    Args:
        pairs: Dicts with ``label``, ``predicted`` (numbers of classes) and ``count``.
        classes: For each class a dict with its ``name`` and its number of ``examples``.
    """
    shown = (
        Column("label", "label", "Class of the examples."),
        Column("predicted", "taken for", "Class that the network predicted."),
        Column("count", "examples", "Number of examples.", "count"),
        Column("share", "share of the class", "Share of the examples of the class.", "share"),
    )
    rows = [
        {
            "label": classes[pair["label"]]["name"],
            "predicted": classes[pair["predicted"]]["name"],
            "count": pair["count"],
            "share": pair["count"] / max(1, classes[pair["label"]]["examples"]),
        }
        for pair in pairs
    ]
    return Table(shown, rows)


def class_table(classes: Sequence[Mapping[str, Any]]) -> Table:
    """Return how well each class is recognized as a table, the worst F1 score first. A class without examples comes last.

    Args:
        classes: Dicts with ``name``, ``precision``, ``recall``, ``f1`` and ``examples``; a value may be None.
    """
    shown = (
        Column("name", "class", "Name of the class."),
        Column("recall", "recall", "Share of the class's examples that were recognized.", "share", NO_VALUE),
        Column("precision", "precision", "Share of the predictions of this class that were right.", "share", NO_VALUE),
        Column("f1", "F1 score", "Harmonic mean of precision and recall.", "share", NO_VALUE),
        Column("examples", "examples", "Number of examples.", "count"),
    )
    order = sorted(classes, key=lambda row: (not row["examples"], 2 if row["f1"] is None else row["f1"]))
    return Table(shown, order)
