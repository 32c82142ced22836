"""Any tree of images in ImageNet's layout: ``root/train/<class>/*`` and ``root/val/<class>/*``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from nes_lab.datasets.augment import eval_transform, train_transform
from nes_lab.datasets.check.listing import check_same_classes, scan_split
from nes_lab.datasets.checks import check_images
from nes_lab.datasets.file_split import FileSplit
from nes_lab.datasets.items import Item, taken
from nes_lab.datasets.knobs import IMAGENET_MEAN, IMAGENET_STD, STANDARD, ImageKnobs, statistics
from nes_lab.datasets.sampling import limit_notes, stratified_subset
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import DataError
from nes_lab.text import list_some

__all__ = ["file_spec", "load_image_folder"]

_DEFAULT_SIZE = 224


def _in_a_row(files: dict[str, list[Path]]) -> tuple[list[Path], Tensor]:
    paths = [path for of_class in files.values() for path in of_class]
    return paths, torch.tensor([label for label, of_class in enumerate(files.values()) for _ in of_class])


def file_spec(
    name: str,
    classes: Sequence[str],
    train: tuple[Sequence[Item], Tensor],
    val: tuple[Sequence[Item], Tensor],
    *,
    image_size: int | None = None,
    limit: int | None = None,
    workers: int = 0,
    seed: int = 0,
    knobs: ImageKnobs = STANDARD,
    skip_broken: float = 0.0,
) -> DatasetSpec:
    """Check and serve images that lie in files or archives.

    Args:
        name: The registry's name.
        classes: Class names.
        train: Where the training images lie, and their labels.
        val: The same of the validation images.
        image_size: Pixels the network sees; None means 224.
        limit: At most this many training images, every class in proportion.
        workers: Processes that read images.
        seed: Decides which images a limit keeps.
        knobs: Augmentation, interpolation and normalization; ``own`` means ImageNet's statistics here.
        skip_broken: Largest share of unreadable images that is left out instead of refused.

    Raises:
        DataError: Naming unreadable images.
    """
    size = image_size or _DEFAULT_SIZE
    mean, std = statistics(knobs.normalize, (IMAGENET_MEAN, IMAGENET_STD))
    transforms = train_transform(size, knobs, mean, std), eval_transform(size, knobs, mean, std)
    notes: tuple[str, ...] = ()
    splits = []
    for part, (items, labels), most in (("train", train, limit), ("val", val, None)):
        if most is not None and most < len(items):
            chosen = stratified_subset(labels, most, seed)
            items, labels = taken(items, chosen.tolist()), labels[chosen]
            notes += limit_notes(most, len(train[1]), labels, len(classes))
        items, labels, found = _without_broken(items, labels, part, classes, skip_broken)
        splits.append(FileSplit(items, labels, *transforms, workers, int(skip_broken * len(items))))
        notes += found
    return DatasetSpec(name, tuple(classes), size, 3, splits[0], splits[1], mean, std, notes)


def _without_broken(
    items: Sequence[Item], labels: Tensor, part: str, classes: Sequence[str], skip_broken: float
) -> tuple[Sequence[Item], Tensor, tuple[str, ...]]:
    """Decode images, leave out the broken ones if they are few enough, and say so."""
    checked, broken = check_images(items, skip=skip_broken)
    notes = () if checked == len(items) else (f"{checked} of {len(items)} images were decoded before step 1",)
    if not broken:
        return items, labels, notes
    gone = set(broken)
    kept = [index for index in range(len(items)) if index not in gone]
    names = [str(items[index]) for index in broken]
    lost = sorted(set(labels[broken].tolist()) - set(labels[kept].tolist()))
    if lost:
        raise DataError(
            f"no image of {list_some([str(classes[int(label)]) for label in lost])} can be read in {part}; replace them"
        )
    items, labels = taken(items, kept), labels[kept]
    return items, labels, (*notes, f"left out {len(names)} unreadable images of {part}: {list_some(names)}")


def load_image_folder(
    *,
    root: Path | None,
    image_size: int | None = None,
    limit: int | None = None,
    workers: int = 0,
    seed: int = 0,
    knobs: ImageKnobs = STANDARD,
    skip_broken: float = 0.0,
    name: str = "image_folder",
) -> DatasetSpec:
    """Load ``root/{train,val}/<class>/*`` and check it before anything is trained.

    Both splits must be there, with the same classes and no class empty; images are decoded once (all of them up to
    5,000 a split, else an even sample) and the unreadable ones named. Grey images become RGB.

    Args:
        root: The folder that holds ``train`` and ``val``.
        image_size: Pixels the network sees; None means 224.
        limit: At most this many training images, every class in proportion.
        workers: Processes that read images.
        seed: Decides which images a limit keeps.
        knobs: Augmentation, interpolation and normalization.
        skip_broken: Largest share of unreadable images that is left out instead of refused.
        name: The registry's name.

    Raises:
        DataError: Naming what is missing, empty, different or unreadable.
    """
    if root is None:
        raise DataError(f"data.name={name!r} needs data.root: a folder that holds train/<class>/ and val/<class>/")
    root = Path(root)
    train, val = scan_split(root, "train"), scan_split(root, "val")
    check_same_classes(list(train.images), list(val.images), root)
    spec = file_spec(
        name,
        list(train.images),
        _in_a_row(train.images),
        _in_a_row(val.images),
        image_size=image_size,
        limit=limit,
        workers=workers,
        seed=seed,
        knobs=knobs,
        skip_broken=skip_broken,
    )
    return replace(spec, notes=(*train.notes, *val.notes, *spec.notes))
