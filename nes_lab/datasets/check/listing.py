"""What a folder of images holds, and whether its splits agree."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nes_lab.errors import DataError, closest
from nes_lab.text import list_some

__all__ = ["IMAGE_SUFFIXES", "Listing", "check_listing", "check_same_classes", "list_split", "scan_split"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Listing:
    """What the folder of a split holds.

    Attributes:
        folder: The folder.
        images: By class, in order; a class may have none.
        others: How many files of other types lie in the folders of classes, by suffix.
        stray: Images that lie beside those folders, and so belong to no class.
    """

    folder: Path
    images: dict[str, list[Path]]
    others: Counter[str]
    stray: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """Say what is passed over."""
        notes = []
        if self.others:
            sorted_kinds = sorted(self.others.items(), key=lambda kind: (-kind[1], kind[0]))
            kinds = list_some([f"{count:,} {suffix or 'without a suffix'}" for suffix, count in sorted_kinds])
            notes.append(f"{self.folder.name}: files that are no known image type are passed over ({kinds})")
        if self.stray:
            notes.append(f"{self.folder.name}: {self.stray:,} images beside the folders of classes are passed over")
        return tuple(notes)


def list_split(root: Path, split: str) -> Listing:
    """List the images of ``root/split/<class>/``, classes and files sorted, subfolders of a class included.

    What is hidden, as ``.ipynb_checkpoints`` is, counts as absent.

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
            f"but it holds {list_some(present) or 'no folders'}.{closest(split, present)}"
        )
    items = [item for item in folder.iterdir() if not item.name.startswith(".")]
    names = sorted(item.name for item in items if item.is_dir())
    others: Counter[str] = Counter()
    images = {name: _images_in(folder / name, others) for name in names}
    return Listing(folder, images, others, sum(_is_image(item.name) and not item.is_dir() for item in items))


def check_listing(listing: Listing) -> None:
    """Refuse a split without classes, or with an empty one.

    Raises:
        DataError: Naming the split, or the classes that have no image.
    """
    folder = str(listing.folder)
    if not listing.images:
        beside = f"{listing.stray:,} images lie in it without one: move each into the folder of its class"
        hint = f"; {beside}" if listing.stray else ""
        raise DataError(f"{folder!r} is an empty split: it should hold one folder of images for each class{hint}")
    empty = [name for name, files in listing.images.items() if not files]
    if empty:
        raise DataError(
            f"{folder!r} has {len(empty)} class folder(s) without an image: {list_some(empty)}; known image types are "
            f"{', '.join(IMAGE_SUFFIXES)}"
        )


def scan_split(root: Path, split: str) -> Listing:
    """List a split as :func:`list_split` does, and refuse an empty one.

    Raises:
        DataError: If the root, the split or its classes are missing, or a class has no image.
    """
    listing = list_split(root, split)
    check_listing(listing)
    return listing


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _images_in(folder: Path, others: Counter[str]) -> list[Path]:
    """Return the images, and count the other files; os.walk tells folders from files without a look at each."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        seen = [name for name in names if not name.startswith(".")]
        found += [Path(place, name) for name in seen if _is_image(name)]
        others.update(Path(name).suffix.lower() for name in seen if not _is_image(name))
    return sorted(found)


def check_same_classes(train: Sequence[str], val: Sequence[str], root: Path) -> None:
    """Raise unless both splits have the same classes.

    Raises:
        DataError: With the classes that only one split has.
    """
    only_train, only_val = sorted(set(train) - set(val)), sorted(set(val) - set(train))
    if only_train or only_val:
        parts = [f"only in train: {list_some(only_train)}"] if only_train else []
        parts += [f"only in val: {list_some(only_val)}"] if only_val else []
        raise DataError(f"the splits of {str(root)!r} have different classes; {'; '.join(parts)}")
