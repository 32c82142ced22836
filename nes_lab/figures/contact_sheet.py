"""Draw examples of every class side by side: images, or the outlines of sounds.

Tests: tests/figures/test_data_figures.py
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
import plotly.graph_objects as go

from nes_lab.errors import OptionError
from nes_lab.figures.theme import OKABE_ITO, new_figure, plain
from nes_lab.packages import needed_for
from nes_lab.text import shorten_middle

__all__ = ["MAX_NAME", "contact_sheet", "picture_uri", "sound_outline", "thumbnails"]

_GAP = 0.04
_ROW_PIXELS = {"image": 78, "audio": 54}
_LEAST_SIDE, _MOST_SIDE = 64, 96
_POINTS = 120
_MOST_TILES = 240
MAX_NAME = 22
"""Largest number of characters of a class name in a figure."""
_MOST_BYTES = 5600  # size of one picture; 240 pictures in base64 take 1.8 MB
_QUALITIES = (88, 70, 45, 20, 5)


def contact_sheet(examples: Mapping[str, Sequence[np.ndarray]], title: str = "Examples by class") -> go.Figure:
    """Draw examples of a data set as a grid with one row per class.

    Args:
        examples: Class name -> images ``(H, W)`` or ``(H, W, 3)`` as uint8, or sounds of ``T`` samples ``(T,)``.
        title: Title of the figure.

    Returns:
        A figure of less than 2 MB. A sound is drawn as its outline over time. The loudest sample of the sound fills the
        height of the row.

    Raises:
        OptionError: If there are no examples or more than 240, or an array has another shape or type.

    Examples:
        >>> import nes_lab, numpy
        >>> image = numpy.zeros((8, 8), dtype="uint8")
        >>> nes_lab.figures.contact_sheet({"zero": [image, image], "one": [image]}).layout.title.subtitle.text
        '3 images of 2 classes'
    """
    rows = [(name, list(items)) for name, items in examples.items() if len(items)]
    if not rows:
        raise OptionError("examples is empty; give at least one image or sound")
    count = sum(len(items) for _, items in rows)
    if count > _MOST_TILES:
        raise OptionError(
            f"examples holds {count} examples; give at most {_MOST_TILES}, because more are too small to see"
        )
    kind = "audio" if rows[0][1][0].ndim == 1 else "image"
    columns = max(len(items) for _, items in rows)
    what = "sounds" if kind == "audio" else "images"
    figure = new_figure(
        f"{count} {what} of {len(rows)} classes, one row per class.",
        title={"text": plain(title), "subtitle": {"text": f"{count} {what} of {len(rows)} classes"}},
        height=84 + 16 + _ROW_PIXELS[kind] * len(rows),
        margin={"t": 84, "b": 16, "l": 12, "r": 12},
        showlegend=False,
    )
    for row, (name, items) in enumerate(rows):
        (_add_sounds if kind == "audio" else _add_hover)(figure, row, name, items)
    if kind == "image":
        figure.update_layout(images=_layout_images(rows))
    figure.update_xaxes(range=[0, columns], visible=False, fixedrange=True)
    figure.update_yaxes(
        range=[len(rows), 0],
        tickvals=[row + 0.5 for row in range(len(rows))],
        ticktext=[plain(shorten_middle(name, MAX_NAME)) for name, _ in rows],
        showgrid=False,
        zeroline=False,
        showline=False,
        ticks="",
        fixedrange=True,
    )
    return figure


def thumbnails(examples: Mapping[str, Sequence[np.ndarray]], most: int = 8) -> list[tuple[str, str]]:
    """Return a few images of different classes, each as a class name and a ``data:`` URL. Sounds give an empty list.

    Args:
        examples: Class name -> images ``(H, W)`` or ``(H, W, 3)`` as uint8, or sounds of ``T`` samples ``(T,)``.
        most: Largest number of images. One image of each class comes first, then a second one.

    Examples:
        >>> [name for name, url in thumbnails({"a": [np.zeros((8, 8), "uint8")] * 2, "b": [np.zeros((8, 8), "uint8")]})]
        ['a', 'b', 'a']
    """
    longest = max((len(items) for items in examples.values()), default=0)
    pairs = [(name, items[turn]) for turn in range(longest) for name, items in examples.items() if turn < len(items)]
    return [(name, picture_uri(image)) for name, image in pairs[:most] if image.ndim > 1]


def _add_hover(figure: go.Figure, row: int, name: str, items: Sequence[np.ndarray]) -> None:
    """Add an invisible point in the middle of each image. Hovering over this point shows the class and the image size."""
    sizes = [f"{image.shape[1]}×{image.shape[0]} pixels as drawn" for image in items]
    figure.add_scatter(
        x=[column + 0.5 for column in range(len(items))],
        y=[row + 0.5] * len(items),
        mode="markers",
        marker={"size": 40, "opacity": 0},
        text=sizes,
        hovertemplate=f"<b>{plain(name)}</b><br>%{{text}}<extra></extra>",
    )


def _layout_images(rows: Sequence[tuple[str, Sequence[np.ndarray]]]) -> list[dict[str, Any]]:
    """Return the plotly layout entries of all images on the contact sheet."""
    # Adding all entries in one call is faster than adding one after the other.
    place = {"xref": "x", "yref": "y", "xanchor": "center", "yanchor": "middle", "sizing": "contain", "layer": "below"}
    place |= {"sizex": 1 - 2 * _GAP, "sizey": 1 - 2 * _GAP}
    return [
        place | {"source": picture_uri(image), "x": column + 0.5, "y": row + 0.5}
        for row, (_, items) in enumerate(rows)
        for column, image in enumerate(items)
    ]


def picture_uri(image: np.ndarray) -> str:
    """Return an image as a data address that a browser shows: a small JPEG picture of less than 8 kB.

    Args:
        image: Image ``(H, W)`` or ``(H, W, 3)`` as uint8.

    Raises:
        OptionError: If the array has another shape or type.
    """
    with needed_for("a contact sheet"):
        from PIL import Image

    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise OptionError(
            f"an example has shape {image.shape} and type {image.dtype}; an image should be (H, W) or (H, W, 3) and uint8"
        )
    picture = Image.fromarray(image)
    longest = max(picture.size)
    if longest < _LEAST_SIDE:  # the factor is an integer, so that 8x8 digits stay sharp
        factor = ceil(_LEAST_SIDE / longest)
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    picture.thumbnail((_MOST_SIDE, _MOST_SIDE))
    for quality in _QUALITIES:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        if file.tell() <= _MOST_BYTES:
            break
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _add_sounds(figure: go.Figure, row: int, name: str, items: Sequence[np.ndarray]) -> None:
    xs: list[float | None] = []
    ys: list[float | None] = []
    for column, wave in enumerate(items):
        places, heights = sound_outline(wave)
        xs += [round(column + _GAP + (1 - 2 * _GAP) * place, 4) for place in places] + [None]
        ys += [round(row + 0.5 - (0.5 - _GAP) * height, 3) for height in heights] + [None]
    figure.add_scatter(
        x=xs,
        y=ys,
        mode="lines",
        line={"width": 1, "color": OKABE_ITO[row % len(OKABE_ITO)]},
        hovertemplate=f"<b>{plain(name)}</b><extra></extra>",
    )


def sound_outline(wave: np.ndarray) -> tuple[list[float], list[float]]:
    """Return the outline of a sound ``(T,)`` as a list of positions and a list of heights.

    The sound is cut into up to 120 short parts. Each part gives two points: its smallest and its largest sample.
    Positions go from 0 to 1. Heights are scaled so that the loudest sample of the sound is 1 or -1.
    """
    values = np.asarray(wave, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise OptionError(f"an example has shape {values.shape}; a sound should be (T,), finite and not empty")
    edges = np.unique(np.linspace(0, len(values), min(_POINTS, len(values)) + 1).astype(int))[:-1]
    low, high = np.minimum.reduceat(values, edges), np.maximum.reduceat(values, edges)
    peak = max(float(np.abs(values).max()), 1e-9)
    heights = np.stack([low, high], axis=1).ravel() / peak
    return np.repeat(edges / len(values), 2).tolist(), heights.tolist()
