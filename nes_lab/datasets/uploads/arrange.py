"""Find the class folders among the images of an upload, and split the images into training and validation.

Tests: tests/datasets/uploads/test_arrange.py.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeVar

from nes_lab.errors import DataError
from nes_lab.text import format_share, list_some

__all__ = ["arrange"]

Entry = TypeVar("Entry")
Parts = tuple[str, ...]
_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def arrange(
    entries: Sequence[tuple[Parts, Entry]], val_share: float = 0.2, seed: int = 0
) -> tuple[list[tuple[Parts, Entry]], list[str]]:
    """Return where each image of an upload belongs: ``(split, class, file)``, where split is ``train`` or ``val``.

    Folders around everything are dropped. If there are folders such as ``train`` and ``val``, they are the splits. Otherwise the
    outermost folders are the classes, and the images of each class are split at random.

    Args:
        entries: The images: the parts of the path, and anything that stands for the image.
        val_share: Share of each class that is used for validation, if the upload has no folder for it.
        seed: Seed of the random split.

    Returns:
        The images with their new paths, and sentences about what was done.

    Raises:
        DataError: If there are fewer than two classes, images outside the class folders, or a class with too few images to split.

    Examples:
        >>> images = [(("pets", "cat", f"{i}.jpg"), i) for i in range(5)] + [(("pets", "dog", f"{i}.jpg"), i) for i in range(5)]
        >>> arranged, notes = arrange(images)
        >>> [parts for parts, _ in arranged if parts[0] == "val"]
        [('val', 'cat', '3.jpg'), ('val', 'dog', '3.jpg')]
    """
    entries = _without_wrapper(entries)
    if all(parts[0].lower() in _SPLITS for parts, _ in entries):
        arranged, notes = _given_splits(entries)
    else:
        arranged, notes = _random_split(entries, val_share, seed)
    classes = {parts[1] for parts, _ in arranged}
    if len(classes) < 2:
        raise DataError(
            f"The zip file has one class folder, {list_some(sorted(classes))}. Give one folder of images for each of at least two classes."
        )
    return arranged, notes


def _without_wrapper(entries: Sequence[tuple[Parts, Entry]]) -> Sequence[tuple[Parts, Entry]]:
    while len({parts[0] for parts, _ in entries}) == 1 and all(len(parts) > 2 for parts, _ in entries):
        entries = [(parts[1:], entry) for parts, entry in entries]
    return entries


def _given_splits(entries: Sequence[tuple[Parts, Entry]]) -> tuple[list[tuple[Parts, Entry]], list[str]]:
    found = {_SPLITS[parts[0].lower()] for parts, _ in entries}
    wanted = {"train": "train", "val": "val"} if "val" in found else {"train": "train", "test": "val"}
    if not set(wanted) <= found:
        raise DataError("The zip file has no folder train beside val. Give both, or only the folders of the classes.")
    arranged = []
    for parts, entry in entries:
        if len(parts) < 3:
            raise DataError(f"The image {'/'.join(parts)!r} lies outside the class folders. Move it into one.")
        split = wanted.get(_SPLITS[parts[0].lower()])
        if split is not None:
            arranged.append(((split, *parts[1:]), entry))
    if len(set(arranged_paths := [parts for parts, _ in arranged])) < len(arranged_paths):
        raise DataError("The zip file has two folders for one split, such as val and validation. Give one.")
    if "val" not in found:
        return arranged, ["The folder test is used for validation."]
    left = len(entries) - len(arranged)
    return arranged, [f"{left:,} images of the folder test are left out: val is there."] if left else []


def _random_split(
    entries: Sequence[tuple[Parts, Entry]], val_share: float, seed: int
) -> tuple[list[tuple[Parts, Entry]], list[str]]:
    by_class: dict[str, list[tuple[Parts, Entry]]] = defaultdict(list)
    for parts, entry in entries:
        if len(parts) < 2:
            raise DataError(f"The image {'/'.join(parts)!r} lies outside the class folders. Move it into one.")
        by_class[parts[0]].append((parts, entry))
    if few := sorted(name for name, images in by_class.items() if len(images) < 2):
        raise DataError(
            f"{len(few)} class(es) have one image: {list_some(few)}. Each needs at least two, one of them for validation."
        )
    arranged = []
    for name in sorted(by_class):
        images = sorted(by_class[name], key=lambda pair: pair[0])
        chosen = set(random.Random(f"{seed} {name}").sample(range(len(images)), max(1, round(val_share * len(images)))))
        arranged += [(("val" if i in chosen else "train", *parts), entry) for i, (parts, entry) in enumerate(images)]
    return arranged, [
        f"{format_share(val_share, digits=0)} of each class were chosen at random for validation (seed {seed})."
    ]
