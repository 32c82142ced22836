"""List the files of a data set without decoding them, and collect all problems for a report.

Tests: tests/datasets/test_image_folder.py, tests/datasets/check/test_check.py
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np

from nes_lab.datasets.items import Item
from nes_lab.errors import DataError, closest
from nes_lab.text import list_some

__all__ = [
    "IMAGE_SUFFIXES",
    "SPLITS",
    "ClassFolders",
    "DatasetFiles",
    "SplitFiles",
    "check_class_folders",
    "check_same_classes",
    "collect_error",
    "list_class_folders",
]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
READ = f"images that are read end in {', '.join(IMAGE_SUFFIXES)}"
SPLITS = ("train", "val")
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class SplitFiles:
    """The listed examples of one split of a data set, with their labels.

    Attributes:
        examples: A list of files (alone or inside archives), or images in memory as one array ``(N, C, H, W)``.
        labels: Class index of every example.
        white: Pixel value that means white; used only for images in memory.
    """

    examples: Sequence[Item] | np.ndarray
    labels: list[int]
    white: float = 255.0


@dataclass(frozen=True)
class DatasetFiles:
    """The files of a data set, listed but not decoded.

    Attributes:
        name: Name of the data set, such as ``cifar10`` or ``image_folder``.
        root: Folder that holds the data set; None for a data set that comes with a Python package.
        kind: ``"image"`` or ``"audio"``.
        classes: Class names. The label of a class is its position in this list.
        splits: The splits, by name: ``train`` and ``val``. Empty when nothing could be listed.
        problems: Faults that keep the data set from being used, one sentence per fault.
        notes: Sentences about things to know that are not faults, such as files that are left out.
    """

    name: str
    root: Path | None
    kind: str = "image"
    classes: tuple[str, ...] = ()
    splits: dict[str, SplitFiles] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def collect_error(problems: list[str], call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
    """Call a function and return its result. If it raises a DataError, add the message to ``problems`` and return None.

    Examples:
        >>> problems = []
        >>> collect_error(problems, list_class_folders, Path("nowhere"), "train"), len(problems)
        (None, 1)
    """
    try:
        return call(*args, **kwargs)
    except DataError as error:
        if str(error) not in problems:
            problems.append(str(error))
        return None


@dataclass(frozen=True)
class ClassFolders:
    """The images of one split that has one folder per class.

    Attributes:
        folder: Folder of the split.
        images: For each class name, the paths of its images, sorted; a class may have none.
        others: For each file suffix, such as ``.txt``, the number of files that are not images.
        stray: Number of images that lie outside the class folders and so have no class.
    """

    folder: Path
    images: dict[str, list[Path]]
    others: Counter[str]
    stray: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """Return sentences about the files of the split that are left out."""
        notes = []
        if self.others:
            by_count = sorted(self.others.items(), key=lambda kind: (-kind[1], kind[0]))
            kinds = list_some([f"{count:,} {suffix or 'without a suffix'}" for suffix, count in by_count])
            notes.append(f"{self.folder.name}: files of types that are not read here are left out ({kinds}); {READ}")
        if self.stray:
            notes.append(f"{self.folder.name}: {self.stray:,} images outside the class folders are left out")
        return tuple(notes)


def list_class_folders(root: Path, split: str) -> ClassFolders:
    """List the images of one split in the class folders ``root/split/<class>/``, including subfolders. Classes and files are sorted.

    Hidden files and folders, such as ``.ipynb_checkpoints``, are ignored.

    Raises:
        DataError: If the folder ``root`` or the folder of the split is missing.
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
    return ClassFolders(folder, images, others, sum(_is_image(item.name) and not item.is_dir() for item in items))


def check_class_folders(listing: ClassFolders) -> None:
    """Check that a split has at least one class, and every class at least one image.

    Raises:
        DataError: If a split or a class is empty; the message names the split, or the classes without an image.
    """
    folder = str(listing.folder)
    if not listing.images:
        move = f"; move the {listing.stray:,} images in it into the folders of their classes" if listing.stray else ""
        raise DataError(f"{folder!r} is an empty split: it should hold one folder of images per class{move}")
    empty = [name for name, files in listing.images.items() if not files]
    if empty:
        raise DataError(f"{folder!r} has {len(empty)} class folder(s) without an image: {list_some(empty)}; {READ}")


def check_same_classes(train: Sequence[str], val: Sequence[str], root: Path) -> None:
    """Check that the training and the validation split have the same classes.

    Raises:
        DataError: If the classes differ; the message names the classes that only one split has.
    """
    only_train, only_val = sorted(set(train) - set(val)), sorted(set(val) - set(train))
    if only_train or only_val:
        parts = [f"only in train: {list_some(only_train)}"] if only_train else []
        parts += [f"only in val: {list_some(only_val)}"] if only_val else []
        raise DataError(f"the splits of {str(root)!r} have different classes; {'; '.join(parts)}")


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _images_in(folder: Path, others: Counter[str]) -> list[Path]:
    """Return the paths of the images in a folder and its subfolders, sorted.

    Count the other files by suffix in the dict ``others``.
    """
    images = []
    for place, folders, names in os.walk(folder):  # os.walk tells files from folders without one system call per file
        folders[:] = [name for name in folders if not name.startswith(".")]
        visible = [name for name in names if not name.startswith(".")]
        images += [Path(place, name) for name in visible if _is_image(name)]
        others.update(Path(name).suffix.lower() for name in visible if not _is_image(name))
    return sorted(images)
