"""Read a few examples of every class of a data set, shrunk to be shown in a figure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from nes_lab.datasets.check.listing import DatasetFiles, SplitFiles
from nes_lab.datasets.images import IMAGE_ERRORS, as_rgb, open_image
from nes_lab.datasets.items import Item
from nes_lab.datasets.wav import read_wav
from nes_lab.errors import DataError

__all__ = ["examples_by_class"]

CANDIDATES = 3
"""Number of candidates per example shown; the spare ones replace examples that cannot be read."""


def examples_by_class(
    files: DatasetFiles, classes: int = 20, each: int = 8, size: int = 64
) -> dict[str, list[np.ndarray]]:
    """Read a few evenly spaced examples of each class from the training split. If that split is missing, read the validation split.

    Args:
        files: The listed data set.
        classes: Largest number of classes to read. If there are more, evenly spaced classes are chosen.
        each: Largest number of examples per class.
        size: Longer side of an image after shrinking, in pixels; smaller images keep their size.

    Returns:
        A dictionary from class name to examples: uint8 images ``(H, W)`` or ``(H, W, 3)``, or int16 sounds ``(T,)``.
        Examples that cannot be read are left out.
    """
    split = files.splits.get("train") or next(iter(files.splits.values()), None)
    if split is None or not len(split.labels):
        return {}
    labels, examples = np.asarray(split.labels), {}
    for label in _spread(np.arange(len(files.classes)), classes).tolist():
        candidates = _spread(np.flatnonzero(labels == label), each * CANDIDATES)
        arrays = (_read(files.kind, split, index, size) for index in _in_order(candidates, each))
        readable = (array for array in arrays if array is not None)
        if chosen := list(islice(readable, each)):
            examples[files.classes[label]] = chosen
    return examples


def _spread(values: np.ndarray, most: int) -> np.ndarray:
    """Return evenly spaced entries of an array, or all entries if the array is short."""
    return values[np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))]


def _in_order(candidates: np.ndarray, each: int) -> Iterator[int]:
    """Return the indices of all examples of a class, in the order in which they should be read.

    Evenly spaced examples come first, as many as are wanted. The others follow. They are read only if some of the first cannot
    be read.
    """
    first = _spread(np.arange(len(candidates)), each).tolist()
    rest = sorted(set(range(len(candidates))) - set(first))
    return (int(candidates[index]) for index in [*first, *rest])


def _read(kind: str, split: SplitFiles, index: int, size: int) -> np.ndarray | None:
    if isinstance(split.examples, np.ndarray):
        image = np.nan_to_num(split.examples[index].astype(np.float64))
        pixels = np.clip(image * 255 / split.white, 0, 255).round().astype(np.uint8)
        return pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    item = split.examples[index]
    return _sound(item) if kind == "audio" else _picture(item, size)


def _picture(item: Item, size: int) -> np.ndarray | None:
    try:
        with item.open("rb") as file, open_image(file) as image:
            image.draft("RGB", (2 * size, 2 * size))
            small = as_rgb(image)
            small.thumbnail((size, size))
            return np.asarray(small)
    except IMAGE_ERRORS:
        return None


def _sound(item: Item) -> np.ndarray | None:
    try:
        return read_wav(item)[1]  # type: ignore[arg-type]  # sounds are files
    except DataError:
        return None
