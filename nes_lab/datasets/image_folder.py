"""Load the data set ``image_folder``: any images in ImageNet's layout, ``root/train/<class>/*`` and ``root/val/<class>/*``."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from nes_lab.datasets.check.listing import (
    SPLITS,
    DatasetFiles,
    SplitFiles,
    check_class_folders,
    check_same_classes,
    collect_error,
    list_class_folders,
)
from nes_lab.datasets.knobs import FileOptions
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.datasets.tree_dataset import required_root, tree_dataset

__all__ = ["list_image_folder", "load_image_folder"]


def list_image_folder(root: Path, name: str = "image_folder", one_split: bool = False) -> DatasetFiles:
    """List the images of ``root/{train,val}/<class>/*`` without decoding them, and collect the problems of the folders.

    Args:
        root: Folder that holds ``train`` and ``val``.
        name: Name of the data set.
        one_split: List the only split of a folder that holds just one of ``train`` and ``val``.
    """
    present = [split for split in SPLITS if (root / split).is_dir()]
    wanted = present if one_split and len(present) == 1 else SPLITS
    problems: list[str] = []
    notes: list[str] = []
    images: dict[str, dict[str, list[Path]]] = {}
    for split in wanted:
        listing = collect_error(problems, list_class_folders, root, split)
        images[split] = listing.images if listing else {}
        if listing:
            collect_error(problems, check_class_folders, listing)
            notes += listing.notes
    if len(images) == 2 and all(images.values()):
        collect_error(problems, check_same_classes, list(images["train"]), list(images["val"]), root)
    classes = tuple(sorted({name for by_class in images.values() for name in by_class}))
    splits = {split: _labeled(by_class, classes) for split, by_class in images.items()}
    return DatasetFiles(name, root, "image", classes, splits, tuple(problems), tuple(notes))


def _labeled(by_class: dict[str, list[Path]], classes: tuple[str, ...]) -> SplitFiles:
    index = {name: label for label, name in enumerate(classes)}
    paths = [path for files in by_class.values() for path in files]
    return SplitFiles(paths, [index[name] for name, files in by_class.items() for _ in files])


def load_image_folder(*, root: Path | None, one_split: bool = False, **options: Unpack[FileOptions]) -> DatasetSpec:
    """Load and check images in one folder per class, ``root/{train,val}/<class>/*``. Gray images become RGB.

    Args:
        root: Folder that holds ``train`` and ``val``.
        one_split: Accept a folder that holds only one of the two, to calibrate or to evaluate on it. Its images are then both
            splits of the result, on which no network can be trained.
        options: Side of the images (``image_size``), number of training images (``limit``), number of reading processes
            (``workers``), ``seed``, augmentation (``knobs``), share of unreadable images that is allowed (``skip_broken``),
            and order of the classes (``class_order``), as in :class:`~nes_lab.datasets.knobs.FileOptions`.

    Raises:
        DataError: If a folder or an image is missing or unreadable, if a class is empty, or if the splits have different
            classes. The message names the folder, image or class.
    """
    return tree_dataset(list_image_folder(required_root("image_folder", root), one_split=one_split), **options)
