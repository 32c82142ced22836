"""Read image files as RGB, and describe what is wrong with an image file or with images in memory."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from nes_lab.datasets.items import Item
from nes_lab.errors import DataError
from nes_lab.packages import needed_for
from nes_lab.text import list_some

with needed_for("reading images"):
    from PIL import Image, UnidentifiedImageError

__all__ = [
    "IMAGE_ERRORS",
    "MAX_DECODED",
    "as_rgb",
    "check_images",
    "image_problem",
    "open_image",
    "pixel_problems",
    "read_rgb",
    "unreadable_text",
]

MAX_DECODED = 5000
"""Largest number of images of a split that a check decodes; of a larger split it decodes an even sample."""
IMAGE_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""Errors that Pillow raises for damaged files and for files that are not images."""
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "DIB", "TIFF", "WEBP", "GIF")
"""Formats that are decoded, whatever the name of the file says. Pillow would run another program for some others, such as EPS."""


def open_image(file: BinaryIO) -> Image.Image:
    """Open an image without decoding its pixels. Formats other than those in :data:`FORMATS` are not read.

    Raises:
        OSError: If the file is not an image, or of another format (see :data:`IMAGE_ERRORS` for all errors).
    """
    return Image.open(file, formats=FORMATS)


def check_images(items: Sequence[Item], most: int = MAX_DECODED, skip: float = 0.0) -> tuple[int, list[int]]:
    """Decode images and return the positions of those that cannot be read.

    If there are more than ``most`` images, only an evenly spaced sample is decoded.

    Args:
        items: Image files, or members of tar archives.
        most: Largest number of images to decode.
        skip: Share of the decoded images that may be unreadable. A larger share is an error.

    Returns:
        The number of decoded images, and the positions of those that cannot be read.

    Raises:
        DataError: If more images than ``skip`` allows cannot be read; the message names the first five.
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
    """Return the reason why an image cannot be read. Return an empty string if it can be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with item.open("rb") as file, open_image(file) as image:
                image.draft("RGB", (64, 64))  # decodes a JPEG file at reduced size, which is faster
                image.load()
                _check_white_is_known(image)
    except IMAGE_ERRORS as error:
        return unreadable_text(item, error)
    return ""


def unreadable_text(item: Item, error: Exception) -> str:
    """Return the path of an unreadable image, followed by the reason why it cannot be read."""
    reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
    return f"{str(item)!r} ({reason})"


def read_rgb(item: Item) -> Image.Image:
    """Read an image as RGB; gray images get three equal channels.

    Raises:
        DataError: If the image cannot be read; the message names its path.
    """
    try:
        with item.open("rb") as file, open_image(file) as image:
            return as_rgb(image)
    except IMAGE_ERRORS as error:
        raise DataError(f"image {unreadable_text(item, error)} cannot be read; replace or remove it") from error


def as_rgb(image: Image.Image) -> Image.Image:
    """Return an image as RGB. Of gray pixels with 16 bits, the upper 8 bits are kept.

    Raises:
        ValueError: If the image has float or 32-bit pixels. It is not known which pixel value means white in such an image.

    Examples:
        >>> as_rgb(Image.fromarray(np.array([[0, 65535]], dtype=np.uint16))).getpixel((1, 0))
        (255, 255, 255)
    """
    _check_white_is_known(image)
    if image.mode.startswith("I"):
        # Pillow alone would clip 16-bit pixels at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns when it drops the transparency of a palette directly
    return image.convert("RGB")


def _check_white_is_known(image: Image.Image) -> None:
    """Raise a ValueError if an image has float or 32-bit pixels.

    It is not known which pixel value means white in such an image.
    """
    # Pillow gives the pixels of a 16-bit PGM file 32 bits, but 65,535 is white
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
        raise ValueError(f"pixels of mode {image.mode!r} have no fixed value for white; save it with 8 or 16 bits")


def pixel_problems(images: np.ndarray, white: float = 255.0) -> list[str]:
    """Return sentences about wrong pixels of images in memory: NaN, infinite, negative or above the value of white.

    Args:
        images: Images ``(N, C, H, W)``.
        white: Pixel value that means white, the largest value allowed.

    Examples:
        >>> pixel_problems(np.array([[[[np.nan, 0.0]]]]))
        ['1 of 1 images hold NaN or infinite pixels: number 0']
    """
    if len(images) == 0:
        return ["an empty split"]
    flat = images.reshape(len(images), -1)
    not_finite = ~np.asarray(np.isfinite(flat).all(1))
    outside = np.asarray(((flat < 0) | (flat > white)).any(1))
    faults = {"hold NaN or infinite pixels": not_finite, f"have pixels outside 0 to {white:g}": outside}
    return [
        f"{wrong.sum()} of {len(images)} images {fault}: number {list_some(np.flatnonzero(wrong).tolist())}"
        for fault, wrong in faults.items()
        if wrong.any()
    ]
