"""Draw examples with their labels and what a network predicts, as a grid of pictures or sounds.

Tests: tests/figures/test_predictions.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from nes_lab.errors import OptionError
from nes_lab.figures.theme import OKABE_ITO, new_figure, plain
from nes_lab.text import format_share, shorten_middle

__all__ = ["COLUMNS", "prediction_sheet"]

COLUMNS = 8
"""Number of examples in a row of the grid, unless another is given."""
_RIGHT, _WRONG = OKABE_ITO[2], OKABE_ITO[1]
_ROW_PIXELS = 112
_PICTURE = 0.66
_NAME = 13


def prediction_sheet(
    examples: Sequence[Mapping[str, Any]], names: Sequence[str], title: str, columns: int = COLUMNS
) -> go.Figure:
    """Draw examples in a grid. Below each stand its label and, if it is another, the class that the network predicts.

    Args:
        examples: Dicts with ``label``, ``predicted`` (numbers of classes), ``probability``, ``loss``, ``index``, and ``picture`` (a
            data address) or ``outline`` (positions and heights of a sound), as the answer of
            :func:`nes_lab.experiment.predictions.predict_validation` has them.
        names: Names of the classes.
        title: Title of the figure.
        columns: Number of examples in a row.

    Raises:
        OptionError: If there are no examples.

    Examples:
        >>> row = {"index": 0, "label": 0, "predicted": 1, "probability": 0.9, "loss": 2.3}
        >>> prediction_sheet([row], ["cat", "dog"], "Worst").layout.title.subtitle.text
        '1 example, 1 of them wrong'
    """
    if not examples:
        raise OptionError("examples is empty; give at least one example")
    columns = min(columns, len(examples))
    rows = -(-len(examples) // columns)
    wrong = sum(row["label"] != row["predicted"] for row in examples)
    subtitle = f"{len(examples)} example{'s' * (len(examples) > 1)}, {wrong} of them wrong"
    figure = new_figure(
        f"{title}: {subtitle}.",
        title={"text": plain(title), "subtitle": {"text": subtitle}, "font": {"size": 15}},
        height=70 + _ROW_PIXELS * rows,
        margin={"t": 62, "b": 8, "l": 8, "r": 8},
        showlegend=False,
    )
    places = [(index % columns, index // columns) for index in range(len(examples))]
    _add_hover(figure, examples, names, places)
    _add_sounds(figure, examples, places)
    figure.update_layout(
        images=[
            {
                **{
                    "xref": "x",
                    "yref": "y",
                    "xanchor": "center",
                    "yanchor": "top",
                    "sizing": "contain",
                    "layer": "below",
                },
                **{"source": row["picture"], "x": x + 0.5, "y": y + 0.02, "sizex": 0.9, "sizey": _PICTURE},
            }
            for row, (x, y) in zip(examples, places, strict=True)
            if row.get("picture")
        ]
    )
    figure.update_xaxes(range=[0, columns], visible=False, fixedrange=True)
    figure.update_yaxes(range=[rows, 0], visible=False, fixedrange=True)
    return figure


def _add_hover(
    figure: go.Figure, examples: Sequence[Mapping[str, Any]], names: Sequence[str], places: Sequence[tuple[int, int]]
) -> None:
    """Write the words below each example. The whole story of an example is in its hover text."""
    for is_right, color in ((True, _RIGHT), (False, _WRONG)):
        chosen = [
            (row, place)
            for row, place in zip(examples, places, strict=True)
            if (row["label"] == row["predicted"]) == is_right
        ]
        figure.add_scatter(
            x=[x + 0.5 for _, (x, _) in chosen],
            y=[y + _PICTURE + 0.03 for _, (_, y) in chosen],
            mode="text",
            text=[_words(row, names) for row, _ in chosen],
            textposition="bottom center",
            textfont={"size": 11, "color": color},
            hovertext=[_story(row, names) for row, _ in chosen],
            hovertemplate="%{hovertext}<extra></extra>",
            name="right" if is_right else "wrong",
        )


def _words(row: Mapping[str, Any], names: Sequence[str]) -> str:
    label, predicted = (plain(shorten_middle(str(names[row[key]]), _NAME)) for key in ("label", "predicted"))
    sure = format_share(row["probability"], digits=0)
    if row["label"] == row["predicted"]:
        return f"{label}<br>{sure}"
    return f"{label}<br>✗ {predicted} {sure}"


def _story(row: Mapping[str, Any], names: Sequence[str]) -> str:
    label, predicted = (plain(names[row[key]]) for key in ("label", "predicted"))
    return (
        f"<b>label {label}</b><br>predicted {predicted} with {format_share(row['probability'])}<br>"
        f"loss {row['loss']:.3g} · example {row['index']:,}"
    )


def _add_sounds(figure: go.Figure, examples: Sequence[Mapping[str, Any]], places: Sequence[tuple[int, int]]) -> None:
    xs: list[float | None] = []
    ys: list[float | None] = []
    for row, (x, y) in zip(examples, places, strict=True):
        if "outline" not in row:
            continue
        across, heights = row["outline"]
        xs += [round(x + 0.05 + 0.9 * place, 4) for place in across] + [None]
        ys += [round(y + _PICTURE / 2 - _PICTURE / 2 * height, 4) for height in heights] + [None]
    if xs:
        line = {"width": 1, "color": OKABE_ITO[0]}
        figure.add_scatter(x=xs, y=ys, mode="lines", line=line, hoverinfo="skip", name="sounds")
