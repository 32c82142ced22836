"""Checks of a folder of images before the first training step: what is wrong is named, with its path."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from nes_lab.errors import DataError, closest

__all__ = ["IMAGE_SUFFIXES", "MOST_DECODED", "check_images", "check_same_classes", "read_rgb", "scan_split"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
MOST_DECODED = 5000
"""At most this many images are decoded by a check; larger sets are sampled evenly."""
_MOST_NAMED = 5


def scan_split(root: Path, split: str) -> dict[str, list[Path]]:
    """List the images of ``root/split/<class>/``, classes and files sorted, subfolders of a class included.

    Raises:
        DataError: If the root, the split or its classes are missing, or a class has no image.
    """
    if not root.is_dir():
        raise DataError(f"data.root={str(root)!r} is not a folder; it should hold train/<class>/ and val/<class>/")
    folder = root / split
    if not folder.is_dir():
        present = sorted(item.name for item in root.iterdir() if item.is_dir())
        raise DataError(
            f"data.root={str(root)!r} has no folder {split!r}; it should hold train/<class>/ and val/<class>/, "
            f"but it holds {', '.join(present[:_MOST_NAMED]) or 'no folders'}.{closest(split, present)}"
        )
    names = sorted(item.name for item in folder.iterdir() if item.is_dir() and not item.name.startswith("."))
    if not names:
        raise DataError(f"{str(folder)!r} is an empty split: it should hold one folder of images for each class")
    found = {name: _images_in(folder / name) for name in names}
    empty = [name for name, files in found.items() if not files]
    if empty:
        raise DataError(
            f"{str(folder)!r} has {len(empty)} class folder(s) without an image: {_some(empty)}; known image types are "
            f"{', '.join(IMAGE_SUFFIXES)}"
        )
    return found


def _images_in(folder: Path) -> list[Path]:
    files = (item for item in folder.rglob("*") if item.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(item for item in files if not item.name.startswith("."))


def check_same_classes(train: Sequence[str], val: Sequence[str], root: Path) -> None:
    """Raise unless both splits have the same classes.

    Raises:
        DataError: With the classes that only one split has.
    """
    only_train, only_val = sorted(set(train) - set(val)), sorted(set(val) - set(train))
    if only_train or only_val:
        parts = [f"only in train: {_some(only_train)}"] if only_train else []
        parts += [f"only in val: {_some(only_val)}"] if only_val else []
        raise DataError(f"the splits of {str(root)!r} have different classes; {'; '.join(parts)}")


def check_images(paths: Sequence[Path], most: int = MOST_DECODED) -> int:
    """Decode images and name those that cannot be read.

    All of them when there are at most ``most``, otherwise an even sample of that size; an image that escapes the
    sample is named when training reaches it.

    Returns:
        How many were decoded.

    Raises:
        DataError: With the paths of unreadable images (the first five) and their number.
    """
    step = max(1, -(-len(paths) // most))
    chosen = list(paths[::step])
    problems = [problem for path in chosen if (problem := _problem(path))]
    if problems:
        raise DataError(
            f"{len(problems)} of {len(chosen)} images checked cannot be read: {_some(problems)}; replace or remove them"
        )
    return len(chosen)


def _problem(path: Path) -> str:
    """Say what keeps an image from being read, or nothing. A JPEG is decoded at reduced size, but to its end."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                image.draft("RGB", (64, 64))
                image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return _describe(path, error)
    return ""


def _describe(path: Path, error: Exception) -> str:
    reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
    return f"{str(path)!r} ({reason})"


def read_rgb(path: Path) -> Image.Image:
    """Read an image as RGB; grey ones get three equal channels.

    Raises:
        DataError: Naming the path, if it cannot be read.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"image {_describe(path, error)} cannot be read; replace or remove it") from error


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
