"""Make a data set from images in class folders or tar archives.

Each layout has a function that lists its files (:class:`~nes_lab.datasets.check.listing.DatasetFiles`).
:func:`tree_dataset` checks these files and makes the splits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nes_lab.datasets.augment import eval_transform, train_transform
from nes_lab.datasets.check.listing import SPLITS, DatasetFiles
from nes_lab.datasets.class_order import ordered_files
from nes_lab.datasets.file_split import FileSplit
from nes_lab.datasets.images import check_images
from nes_lab.datasets.items import Item, select_items
from nes_lab.datasets.knobs import IMAGENET_MEAN, IMAGENET_STD, STANDARD, ImageKnobs
from nes_lab.datasets.sampling import hold_out, limit_examples
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import DataError
from nes_lab.records.dataset_facts import DATASET_FACTS
from nes_lab.records.options import ClassOrder
from nes_lab.text import list_some

__all__ = ["required_root", "tree_dataset"]

_DEFAULT_SIZE = 224


def required_root(name: str, root: Path | None) -> Path:
    """Check that the user gave a folder for a data set without a default folder, and return it.

    Raises:
        DataError: If ``root`` is None; the message says what the folder should hold.
    """
    if root is None:
        raise DataError(f"data.name={name!r} needs data.root: a folder that holds {DATASET_FACTS[name].layout}")
    return Path(root)


def tree_dataset(
    files: DatasetFiles,
    *,
    image_size: int | None = None,
    limit: int | None = None,
    holdout: int | None = None,
    workers: int = 0,
    seed: int = 0,
    knobs: ImageKnobs = STANDARD,
    skip_broken: float = 0.0,
    class_order: ClassOrder | Path = "own",
) -> DatasetSpec:
    """Check the listed image files of a data set and make its training and validation splits.

    All images of a split are decoded once, to find unreadable images. If there are more than 5,000, only an evenly spaced
    sample is decoded.

    Args:
        files: The files of the data set, listed but not decoded.
        image_size: Side of the images that the network gets, in pixels; None means 224.
        limit: Keep at most this many training images, each class in proportion to its size; None keeps all.
        holdout: Number of training images that are held out and used for validation instead of the validation split; None: it is
            used.
        workers: Number of worker processes that read images; with 0, the main process reads them.
        seed: Seed for choosing the images that ``limit`` keeps.
        knobs: Options for augmentation, interpolation and normalization; for folders, ``normalize="own"`` takes
            the mean and deviation of ImageNet.
        skip_broken: Share of all images that may be unreadable. Such images are left out; a larger share is an error.
        class_order: Order of the classes: ``own``, ``text``, ``natural``, or the path of a file with one class name per line.

    Raises:
        DataError: If ``files`` has a problem, or too many images cannot be read. The message names the problem or the
            images.
    """
    if files.problems:
        raise DataError(files.problems[0])
    files = ordered_files(files, class_order)
    size = image_size or _DEFAULT_SIZE
    mean, std = knobs.statistics((IMAGENET_MEAN, IMAGENET_STD))
    transforms = train_transform(size, knobs, mean, std), eval_transform(size, knobs, mean, std)
    notes, splits = files.notes, []
    names = [split for split in SPLITS if split in files.splits]
    given = {split: _items_and_labels(files, split) for split in names}
    if holdout is not None:
        given, held_notes = _with_holdout(given, holdout, len(files.classes))
        notes, names = notes + held_notes, list(given)
    for split, (items, labels) in given.items():
        if split == names[0]:  # train, or the only split
            kept, limit_notes = limit_examples(labels, limit, seed, len(files.classes))
            items, labels = select_items(items, kept), labels[kept]
            notes += limit_notes
        listed = len(items)
        items, labels, broken_notes = _without_broken(items, labels, split, files.classes, skip_broken)
        may_break = int(skip_broken * listed) - (listed - len(items))  # images that are left out now count too
        splits.append(FileSplit(items, labels, *transforms, workers, max(0, may_break), files.root))
        notes += broken_notes
    only = names[0] if len(names) == 1 else ""
    known = {"only_split": only, "preprocessing": knobs.applied(size, mean, std, cropped=True)}
    return DatasetSpec(files.name, files.classes, size, 3, splits[0], splits[-1], mean, std, notes, **known)


def _with_holdout(
    given: Mapping[str, tuple[Sequence[Item], Tensor]], holdout: int, classes: int
) -> tuple[dict[str, tuple[Sequence[Item], Tensor]], tuple[str, ...]]:
    if "train" not in given:
        raise DataError(f"data.holdout={holdout} holds out training images, and this data set has none; leave it out")
    items, labels = given["train"]
    rest, held, notes = hold_out(labels, holdout, classes)
    assert held is not None
    splits = {"train": (select_items(items, rest), labels[rest]), "val": (select_items(items, held), labels[held])}
    return splits, notes


def _items_and_labels(files: DatasetFiles, split: str) -> tuple[Sequence[Item], Tensor]:
    examples = files.splits[split].examples
    assert not isinstance(examples, np.ndarray)  # arrays are in memory, not in files
    return examples, torch.tensor(files.splits[split].labels)


def _without_broken(
    items: Sequence[Item], labels: Tensor, split: str, classes: tuple[str, ...], skip_broken: float
) -> tuple[Sequence[Item], Tensor, tuple[str, ...]]:
    """Decode the images of a split, and leave out the unreadable ones. Raise an error if too many are unreadable.

    Returns:
        The remaining images, their labels, and notes about the images that were left out.
    """
    checked, broken = check_images(items, skip=skip_broken)
    notes = () if checked == len(items) else (f"{checked} of {len(items)} images were decoded before step 1",)
    if not broken:
        return items, labels, notes
    kept = torch.ones(len(items), dtype=torch.bool)
    kept[broken] = False
    if lost := sorted(set(labels[broken].tolist()) - set(labels[kept].tolist())):
        names = list_some([classes[label] for label in lost])
        raise DataError(f"no image of {names} can be read in {split}; replace them")
    names = list_some([items[index] for index in broken])
    note = f"left out {len(broken)} unreadable images of {split}: {names}"
    return select_items(items, kept.nonzero().flatten()), labels[kept], (*notes, note)
