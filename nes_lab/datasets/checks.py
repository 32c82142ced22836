"""Checks of images before the first training step: what is wrong is named, with its path."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

from nes_lab.datasets.items import Item
from nes_lab.errors import DataError
from nes_lab.text import list_some

__all__ = [
    "MOST_DECODED",
    "READ_ERRORS",
    "array_problems",
    "as_rgb",
    "check_images",
    "describe",
    "image_problem",
    "read_rgb",
]

MOST_DECODED = 5000
"""At most this many images are decoded by a check; larger sets are sampled evenly."""
READ_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises on files that are no images, or damaged."""


def check_images(items: Sequence[Item], most: int = MOST_DECODED, skip: float = 0.0) -> tuple[int, list[int]]:
    """Decode images and name those that cannot be read.

    All of them when there are at most ``most``, otherwise an even sample of that size; an image that escapes the
    sample is named when training reaches it.

    Args:
        items: Where the images lie.
        most: How many to decode at most.
        skip: Largest share of unreadable ones that is no error.

    Returns:
        How many were decoded, and the positions of those that cannot be read.

    Raises:
        DataError: With the paths of unreadable images (the first five) and their number.
    """
    chosen = range(0, len(items), max(1, -(-len(items) // most)))
    problems = {index: problem for index in chosen if (problem := image_problem(items[index]))}
    if len(problems) > skip * len(chosen):
        allowed = f"; data.skip_broken={skip:g} allows {int(skip * len(chosen))}" if skip else ""
        raise DataError(
            f"{len(problems)} of {len(chosen)} images checked cannot be read: {list_some(list(problems.values()))}; replace "
            f"or remove them{allowed}"
        )
    return len(chosen), list(problems)


def image_problem(item: Item) -> str:
    """Say what keeps an image from being read, or nothing. A JPEG is decoded at reduced size, but to its end."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with item.open("rb") as file, Image.open(file) as image:
                image.draft("RGB", (64, 64))
                image.load()
                _check_scale(image)
    except READ_ERRORS as error:
        return describe(item, error)
    return ""


def describe(item: Item, error: Exception) -> str:
    """Name an image and what is wrong with it."""
    reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
    return f"{str(item)!r} ({reason})"


def read_rgb(item: Item) -> Image.Image:
    """Read an image as RGB; grey ones get three equal channels.

    Raises:
        DataError: Naming the path, if it cannot be read.
    """
    try:
        with item.open("rb") as file, Image.open(file) as image:
            return as_rgb(image)
    except READ_ERRORS as error:
        raise DataError(f"image {describe(item, error)} cannot be read; replace or remove it") from error


def as_rgb(image: Image.Image) -> Image.Image:
    """Return an image as RGB. Grey of 16 bits keeps the upper 8, as Pillow does to colors; it would cut grey off at 255.

    Raises:
        ValueError: If nobody can tell which of its numbers is white.

    Examples:
        >>> as_rgb(Image.fromarray(np.array([[0, 65535]], dtype=np.uint16))).getpixel((1, 0))
        (255, 255, 255)
    """
    _check_scale(image)
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGB")


def _check_scale(image: Image.Image) -> None:
    """Let pass what has 16 bits at most: a PGM of 16 bits is read as 32, with 65,535 as white."""
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
        raise ValueError(
            f"pixels of mode {image.mode!r}, for which white is no certain number; save it with 8 or 16 bits"
        )


def array_problems(images: np.ndarray, white: float = 255.0) -> list[str]:
    """Say what is wrong with the pixels of images in memory: NaN, infinite, or beyond black and white.

    Args:
        images: ``(N, C, H, W)``.
        white: The largest value allowed.

    Examples:
        >>> array_problems(np.array([[[[np.nan, 0.0]]]]))
        ['1 of 1 images hold NaN or infinite pixels: number 0']
    """
    if len(images) == 0:
        return ["an empty split"]
    problems = []
    flat = images.reshape(len(images), -1)
    finite = np.asarray(np.isfinite(flat).all(1))
    if not finite.all():
        problems.append(f"{(~finite).sum()} of {len(images)} images hold NaN or infinite pixels: {_numbers(~finite)}")
    outside = np.asarray(((flat < 0) | (flat > white)).any(1))
    if outside.any():
        problems.append(
            f"{outside.sum()} of {len(images)} images have pixels outside 0 to {white:g}: {_numbers(outside)}"
        )
    return problems


def _numbers(which: np.ndarray) -> str:
    return "number " + list_some([str(index) for index in np.flatnonzero(which)])
