"""A few examples of every class, small enough to be drawn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from nes_lab.datasets.check.layouts import Found, Part
from nes_lab.datasets.checks import READ_ERRORS, as_rgb
from nes_lab.datasets.items import Item
from nes_lab.datasets.wav import read_wav
from nes_lab.errors import DataError

__all__ = ["examples_by_class"]

_TRIES = 3


def examples_by_class(found: Found, classes: int = 20, each: int = 8, size: int = 64) -> dict[str, list[np.ndarray]]:
    """Read the same number of examples of each class, evenly spread over the training split (or what there is).

    Args:
        found: A data set as it lies there.
        classes: At most this many, evenly spread over all.
        each: At most this many of a class.
        size: Longer side of an image, in pixels; smaller ones stay as they are.

    Returns:
        By class name: images ``(H, W)`` or ``(H, W, 3)``, uint8, or sounds ``(T,)``, int16. What cannot be read is left out.
    """
    part = found.parts.get("train") or next(iter(found.parts.values()), None)
    if part is None or not len(part.labels):
        return {}
    labels = np.asarray(part.labels)
    chosen = _spread(np.arange(len(found.classes)), classes)
    shown = {}
    for label in chosen.tolist():
        positions = _spread(np.flatnonzero(labels == label), each * _TRIES)
        readable = (
            picture for place in _in_turn(positions, each) if (picture := _read(found, part, place, size)) is not None
        )
        shown[found.classes[label]] = [picture for picture, _ in zip(readable, range(each), strict=False)]
    return {name: pictures for name, pictures in shown.items() if pictures}


def _spread(values: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the values, evenly apart."""
    return values[np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))]


def _in_turn(positions: np.ndarray, each: int) -> Iterator[int]:
    """Every third first; what lies between stands in for what cannot be read."""
    first = _spread(np.arange(len(positions)), each).tolist()
    rest = sorted(set(range(len(positions))) - set(first))
    return (int(positions[index]) for index in [*first, *rest])


def _read(found: Found, part: Part, place: int, size: int) -> np.ndarray | None:
    if isinstance(part.examples, np.ndarray):
        image = part.examples[place]
        pixels = np.clip(np.nan_to_num(image.astype(np.float64)) * 255 / part.white, 0, 255).round().astype(np.uint8)
        return pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    item = part.examples[place]
    return _sound(item) if found.kind == "audio" else _picture(item, size)


def _picture(item: Item, size: int) -> np.ndarray | None:
    try:
        with item.open("rb") as file, Image.open(file) as image:
            image.draft("RGB", (2 * size, 2 * size))
            small = as_rgb(image)
            small.thumbnail((size, size))
            return np.asarray(small)
    except READ_ERRORS:
        return None


def _sound(item: Item) -> np.ndarray | None:
    try:
        return read_wav(item)[1]  # type: ignore[arg-type]  # sounds are files
    except DataError:
        return None
