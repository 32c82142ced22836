"""Draw which parts of its inputs two networks look at, side by side, and where they differ.

Tests: tests/figures/test_attributions.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import plotly.graph_objects as go

from nes_lab.errors import OptionError
from nes_lab.figures.contact_sheet import picture_uri
from nes_lab.figures.grids import shrink, symmetric_limit, thin
from nes_lab.figures.theme import DIVERGING, new_figure, plain, title_at_top
from nes_lab.text import format_share, shorten_middle

__all__ = ["HasMaps", "attribution_rows", "attributions"]

MOST_ROWS = 24
SIDE = 64
"""Largest number of rows or columns of a map. Larger maps are drawn as means of blocks."""
_POINTS = 160
_CELL = 98
_BAND, _HEAD, _GAP = 0.46, 0.2, 0.03
_TOP = 108
_NAME = 13


class HasMaps(Protocol):
    """Holds the attributions of two networks and how far they agree, as :func:`nes_lab.attribution.compare_attributions` returns them."""

    first: Any
    second: Any
    rank_correlation: np.ndarray
    overlap: np.ndarray


def attributions(
    agreement: HasMaps | Sequence[Mapping[str, Any]],
    inputs: Any = None,
    *,
    names: tuple[str, str] = ("dense", "compressed"),
    classes: Sequence[str] = (),
    labels: Sequence[int] | None = None,
    title: str = "What the networks look at",
) -> go.Figure:
    """Draw one row per input: the input, the map of each network, and their difference.

    Each map is divided by its own largest values, because the outputs of two networks may have different scales. Red parts speak for
    the explained class, blue ones against it. In the last column, red parts matter more to the second network.

    Args:
        agreement: What :func:`nes_lab.attribution.compare_attributions` returned, or rows of :func:`attribution_rows`.
        inputs: The inputs as they should be shown, ``(N, C, *S)`` with 1 or 3 channels: images, or signals ``(N, C, L)``. They are
            scaled to the range of each. Not needed with rows.
        names: Names of the two networks.
        classes: Names of the classes; empty: their numbers are shown.
        labels: True class of each input; None: not known.
        title: Title of the figure.

    Raises:
        OptionError: If there are no inputs, more than 24, or they do not fit the maps.

    Examples:
        >>> import nes_lab, torch
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4))
        >>> images = torch.rand(2, 1, 8, 8)
        >>> agreement = nes_lab.attribution.compare_attributions(network, network, images)
        >>> nes_lab.figures.attributions(agreement, images).layout.title.text
        'What the networks look at'
    """
    rows = agreement if isinstance(agreement, Sequence) else attribution_rows(agreement, inputs, labels=labels)
    _check_count(len(rows))
    short = [plain(shorten_middle(name, _NAME)) for name in names]
    note = f"{len(rows)} input{'s' * (len(rows) > 1)}, each map on its own scale"
    height = _TOP + round(_CELL * (_HEAD + len(rows) * (1 + _BAND)))
    figure = new_figure(
        f"{title}: {note}. {' '.join(_sentence(row, names) for row in rows)}",
        title=title_at_top(plain(title), note),
        height=height,
        margin={"t": _TOP, "b": 4, "l": 8, "r": 8},
        showlegend=False,
        coloraxis=_color_axis(height),
        images=[_picture(row["picture"], number) for number, row in enumerate(rows) if "picture" in row],
    )
    for number, row in enumerate(rows):
        (_add_signal if "signal" in row else _add_maps)(figure, row, number, short)
        _write(figure, _words(row, names, classes), 0.0, _top_of(number) - 0.04, "left")
    for column, heading in enumerate(("input", *short, "difference")):
        _write(figure, f"<b>{heading}</b>", column + 0.5, _HEAD, "center")
    _set_axes(figure, len(rows))
    return figure


def attribution_rows(agreement: HasMaps, inputs: Any, *, labels: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """Return what :func:`attributions` draws, as data for JSON: one dict per input.

    Args:
        agreement: What :func:`nes_lab.attribution.compare_attributions` returned.
        inputs: The inputs as they should be shown, ``(N, C, *S)``.
        labels: True class of each input; None: not known.

    Raises:
        OptionError: If the inputs do not fit the maps, or are neither images nor signals.
    """
    shown = np.asarray(inputs, dtype=np.float64)
    first, second = (np.asarray(found.maps, dtype=np.float64) for found in (agreement.first, agreement.second))
    if shown.ndim not in (3, 4) or shown.shape[:1] + shown.shape[2:] != first.shape or first.shape != second.shape:
        raise OptionError(
            f"inputs has shape {shown.shape}, and the maps {first.shape} and {second.shape}; give images (N, C, H, W) or signals "
            "(N, C, L) of the same call"
        )
    return [
        {
            "label": None if labels is None else int(labels[place]),
            "target": int(agreement.first.target[place]),
            "answers": [int(agreement.first.answers[place]), int(agreement.second.answers[place])],
            "rank_correlation": _number(agreement.rank_correlation[place]),
            "overlap": float(agreement.overlap[place]),
            **_shown(shown[place]),
            "first": _scaled(first[place]),
            "second": _scaled(second[place]),
        }
        for place in range(len(shown))
    ]


def _check_count(count: int) -> None:
    if not 0 < count <= MOST_ROWS:
        raise OptionError(f"agreement has {count} inputs; give at least one and at most {MOST_ROWS}")


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _shown(values: np.ndarray) -> dict[str, Any]:
    scaled = (values - values.min()) / max(float(np.ptp(values)), 1e-9)
    if values.ndim == 2:
        return {"signal": _resampled(scaled.mean(0)).round(4).tolist()}
    pixels = (scaled * 255).round().astype(np.uint8)
    return {"picture": picture_uri(pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0])}


def _scaled(values: np.ndarray) -> list[Any]:
    """Return a map divided by its largest values, with at most :data:`SIDE` rows and columns."""
    small = _resampled(values) if values.ndim == 1 else shrink(values, SIDE)[0]
    return np.clip(small.astype(np.float64) / symmetric_limit(small), -1, 1).round(3).tolist()


def _resampled(values: np.ndarray) -> np.ndarray:
    """Return at most 160 values of a signal, evenly spaced."""
    return values[thin(len(values), _POINTS)]


def _top_of(number: int) -> float:
    return _HEAD + number * (1 + _BAND) + _BAND


def _picture(source: str, number: int) -> dict[str, Any]:
    place = {"xref": "x", "yref": "y", "xanchor": "left", "yanchor": "top", "sizing": "stretch", "layer": "below"}
    side = 1 - 2 * _GAP
    return place | {"source": source, "x": _GAP, "y": _top_of(number) + _GAP, "sizex": side, "sizey": side}


def _parts(row: Mapping[str, Any]) -> list[np.ndarray]:
    first, second = np.asarray(row["first"]), np.asarray(row["second"])
    return [first, second, second - first]


def _add_maps(figure: go.Figure, row: Mapping[str, Any], number: int, names: Sequence[str]) -> None:
    for column, (values, name) in enumerate(zip(_parts(row), (*names, "difference"), strict=True), start=1):
        down, across = values.shape
        steps = [(1 - 2 * _GAP) / count for count in (across, down)]
        figure.add_heatmap(
            z=values,
            x0=column + _GAP + steps[0] / 2,
            dx=steps[0],
            y0=_top_of(number) + _GAP + steps[1] / 2,
            dy=steps[1],
            coloraxis="coloraxis",
            name=name,
            customdata=np.moveaxis(np.indices(values.shape), 0, -1),
            hovertemplate=f"{name}<br>row %{{customdata[0]}}, column %{{customdata[1]}}: %{{z:.2f}}<extra></extra>",
        )


def _add_signal(figure: go.Figure, row: Mapping[str, Any], number: int, names: Sequence[str]) -> None:
    signal = np.asarray(row["signal"])
    across = np.linspace(_GAP, 1 - _GAP, len(signal))
    heights = _top_of(number) + 1 - _GAP - (1 - 2 * _GAP) * signal
    line = {"width": 1, "color": "#8C8C8C"}
    figure.add_scatter(x=across, y=heights, mode="lines", line=line, hoverinfo="skip", name="input")
    for column, (values, name) in enumerate(zip(_parts(row), (*names, "difference"), strict=True), start=1):
        figure.add_scatter(
            x=column + across,
            y=heights,
            mode="lines+markers",
            line=line,
            marker={"size": 5, "color": values, "coloraxis": "coloraxis"},
            name=name,
            customdata=np.stack([np.linspace(0, 100, len(signal)), values], axis=1),
            hovertemplate=f"{name}<br>at %{{customdata[0]:.0f}} % of the signal: %{{customdata[1]:.2f}}<extra></extra>",
        )


def _write(figure: go.Figure, text: str, x: float, y: float, align: str) -> None:
    place = {"xref": "x", "yref": "y", "xanchor": align, "yanchor": "bottom", "align": align}
    figure.add_annotation(text=text, x=x, y=y, showarrow=False, font={"size": 11}, **place)


def _words(row: Mapping[str, Any], names: Sequence[str], classes: Sequence[str]) -> str:
    """Return the title of a row in two lines: the answers, and the agreement of the maps."""

    def named(number: int) -> str:
        return plain(shorten_middle(classes[number] if number < len(classes) else str(number), _NAME))

    answers = [
        f"{plain(shorten_middle(name, _NAME))}: {named(answer)}"
        for name, answer in zip(names, row["answers"], strict=True)
    ]
    given = [] if row.get("label") is None else [f"label {named(row['label'])}"]
    if row.get("name"):
        given = [plain(shorten_middle(str(row["name"]), 20))]
    return " · ".join(given + answers) + "<br>" + _agreement(row)


def _agreement(row: Mapping[str, Any]) -> str:
    rank = row["rank_correlation"]
    shown = "–" if rank is None else f"{round(rank, 2) + 0.0:.2f}"  # + 0.0: no negative zero
    return f"rank correlation {shown} · {format_share(row['overlap'], digits=0)} of the top tenth shared"


def _sentence(row: Mapping[str, Any], names: Sequence[str]) -> str:
    answers = " and ".join(f"{name} answers {answer}" for name, answer in zip(names, row["answers"], strict=True))
    return f"{answers}, {_agreement(row)}."


def _color_axis(height: int) -> dict[str, Any]:
    bar = {
        "orientation": "h",
        "thickness": 10,
        "lenmode": "pixels",
        "len": 260,
        "x": 0,
        "xanchor": "left",
        "yref": "container",
        "y": 1 - 62 / height,
        "yanchor": "top",
        "tickvals": [-0.72, 0, 0.72],
        "ticktext": ["against", "0", "for the class"],
        "outlinewidth": 0,
    }
    return {"cmin": -1, "cmax": 1, "cmid": 0, "colorscale": DIVERGING, "colorbar": bar}


def _set_axes(figure: go.Figure, rows: int) -> None:
    common = {"visible": False, "fixedrange": True, "constrain": "domain"}
    figure.update_xaxes(range=[0, 4], constraintoward="left", **common)
    figure.update_yaxes(
        range=[_HEAD + rows * (1 + _BAND), 0], constraintoward="top", scaleanchor="x", scaleratio=1, **common
    )
