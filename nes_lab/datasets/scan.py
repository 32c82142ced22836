"""What a folder of images holds, and whether its splits agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nes_lab.datasets.words import some
from nes_lab.errors import DataError, closest

__all__ = ["IMAGE_SUFFIXES", "check_same_classes", "list_split", "scan_split"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def list_split(root: Path, split: str) -> dict[str, list[Path]]:
    """List the images of ``root/split/<class>/``, classes and files sorted, subfolders of a class included.

    Raises:
        DataError: If the root or the split is missing.
    """
    if not root.is_dir():
        raise DataError(f"data.root={str(root)!r} is not a folder; it should hold train/<class>/ and val/<class>/")
    folder = root / split
    if not folder.is_dir():
        present = sorted(item.name for item in root.iterdir() if item.is_dir())
        raise DataError(
            f"data.root={str(root)!r} has no folder {split!r}; it should hold train/<class>/ and val/<class>/, "
            f"but it holds {some(present) or 'no folders'}.{closest(split, present)}"
        )
    names = sorted(item.name for item in folder.iterdir() if item.is_dir() and not item.name.startswith("."))
    return {name: _images_in(folder / name) for name in names}


def scan_split(root: Path, split: str) -> dict[str, list[Path]]:
    """List a split as :func:`list_split` does, and refuse an empty one.

    Raises:
        DataError: If the root, the split or its classes are missing, or a class has no image.
    """
    found, folder = list_split(root, split), root / split
    if not found:
        raise DataError(f"{str(folder)!r} is an empty split: it should hold one folder of images for each class")
    empty = [name for name, files in found.items() if not files]
    if empty:
        raise DataError(
            f"{str(folder)!r} has {len(empty)} class folder(s) without an image: {some(empty)}; known image types are "
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
        parts = [f"only in train: {some(only_train)}"] if only_train else []
        parts += [f"only in val: {some(only_val)}"] if only_val else []
        raise DataError(f"the splits of {str(root)!r} have different classes; {'; '.join(parts)}")
