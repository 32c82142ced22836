"""Load the data set ``image_shards``: images in tar archives, ``root/{train,val}/*.tar``, in the WebDataset layout.

In an archive, each image ``NAME.jpg`` has its label in the file ``NAME.cls``. Images are read from their positions in the
archive, in any order.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Unpack

from nes_lab.datasets.check.listing import IMAGE_SUFFIXES, SPLITS, DatasetFiles, SplitFiles, collect_error
from nes_lab.datasets.items import Member, Members
from nes_lab.datasets.knobs import FileOptions
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.datasets.tree_dataset import required_root, tree_dataset
from nes_lab.errors import DataError
from nes_lab.text import list_some

__all__ = ["label_problems", "list_image_shards", "load_image_shards", "read_shard", "shard_archives", "shard_classes"]

_LABELS = (".cls", ".json")  # if an image has both files, .cls holds the label and .json something else
_MOST_LABEL_BYTES = _MOST_TAIL_BYTES = 1 << 20
_HINT = "make it again, or fetch it again"


def read_shard(path: Path) -> list[tuple[Member, int]]:
    """List the images of one tar archive with their labels, in the order of the archive.

    Raises:
        DataError: If the archive is cut short or damaged, if two images have the same name, or if an image has no label.
    """
    images: dict[str, Member] = {}
    by_kind: dict[str, dict[str, Member]] = {suffix: {} for suffix in _LABELS}
    for member in _members(path):
        key, suffix = _split_name(member.name)
        if (by_key := images if suffix in IMAGE_SUFFIXES else by_kind.get(suffix)) is not None:
            if key in by_key:
                raise DataError(f"{str(member)!r}: the key {key!r} occurs twice; {_HINT}")
            by_key[key] = member
    labels = {key: _read_label(member) for key, member in (by_kind[".json"] | by_kind[".cls"]).items()}
    unlabeled = [key for key in images if key not in labels]
    if unlabeled:
        raise DataError(
            f"{str(path)!r} has {len(unlabeled)} images without a label ({list_some(unlabeled)}); each needs KEY.cls"
        )
    if unused := [key for key in labels if key not in images]:
        raise DataError(f"{str(path)!r} has {len(unused)} labels without an image ({list_some(unused)})")
    return [(member, labels[key]) for key, member in images.items()]


def _split_name(name: str) -> tuple[str, str]:
    """Split a file name such as ``dir/name.ext`` at its first dot, into ``dir/name`` and ``.ext``."""
    path = PurePosixPath(name)
    stem, dot, rest = path.name.partition(".")  # as WebDataset does
    return str(path.parent / stem), (dot + rest).lower()


def _members(path: Path) -> list[Member]:
    """Return the files in a tar archive, with their positions. An archive that was cut short is an error."""
    try:
        with tarfile.open(path, "r:") as archive:
            members = [Member(path, item.name, item.offset_data, item.size) for item in archive if item.isfile()]
            end = archive.offset
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise DataError(f"{str(path)!r} cannot be read as an uncompressed tar archive ({error}); {_HINT}") from error
    with path.open("rb") as file:
        file.seek(end)
        tail = file.read(_MOST_TAIL_BYTES)
    if len(tail) < tarfile.BLOCKSIZE:
        raise DataError(f"{str(path)!r} is cut short after {len(members)} members: it has no end mark; {_HINT}")
    if tail.strip(b"\0"):
        raise DataError(f"{str(path)!r} is damaged after {len(members)} members, at byte {end}; {_HINT}")
    return members


def _read_label(member: Member) -> int:
    with member.open() as file:
        text = file.read(_MOST_LABEL_BYTES)
    try:
        value = json.loads(text)
        value = value["label"] if isinstance(value, dict) else value
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("not an integer")
    except (ValueError, KeyError, RecursionError) as error:
        shown = text[:40].decode("utf-8", "replace")
        raise DataError(
            f'{str(member)!r}: {shown!r} is not a label; it should be a class index such as 7, or {{"label": 7}} in JSON'
        ) from error
    return value


def shard_archives(root: Path, split: str) -> list[Path]:
    """Return the paths of the tar archives of one split, ``root/split/*.tar``.

    Raises:
        DataError: If the split has no tar archive, or ``root`` is not a folder.
    """
    if not root.is_dir():
        raise DataError(f"data.root={str(root)!r} is not a folder; it should hold train/*.tar and val/*.tar")
    archives = sorted((root / split).glob("*.tar"))
    if not archives:
        packed = sorted(path.name for path in (root / split).glob("*.tar.*"))
        hint = f"; unpack {list_some(packed)}, as archives must not be compressed" if packed else ""
        raise DataError(f"{str(root / split)!r} has no .tar archive; it should hold {split}/*.tar{hint}")
    return archives


def shard_classes(root: Path, train: Sequence[int]) -> tuple[str, ...]:
    """Read the class names of tar archives from ``root/classes.txt``, one per line.

    Without this file, the labels in the training archives are the class names.

    Raises:
        DataError: If the file names a class twice or cannot be read. Also if there is no file and the labels are not 0, 1, 2 and
            so on without a gap.
    """
    path = root / "classes.txt"
    if not path.exists():
        labels = sorted(set(train))
        if labels != list(range(len(labels))):
            raise DataError(
                f"labels of the training split of {str(root)!r} are {list_some(labels)}; without "
                "classes.txt they should be 0, 1, 2 ... without a gap"
            )
        return tuple(str(label) for label in labels)
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{str(path)!r} cannot be read: {error}") from error
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{str(path)!r} names a class twice: {list_some(twice)}")
    return tuple(names)


def label_problems(root: Path, split: str, classes: Sequence[str], pairs: Sequence[tuple[Member, int]]) -> list[str]:
    """Return a sentence about each fault: labels of a split that are out of range, and classes without an image."""
    problems = []
    odd = [f"{str(member)!r} has label {label}" for member, label in pairs if not 0 <= label < len(classes)]
    if odd:
        problems.append(f"{list_some(odd)}; with {len(classes)} classes labels are 0 to {len(classes) - 1}")
    held = {label for _, label in pairs}
    missing = [name for index, name in enumerate(classes) if index not in held]
    if missing:
        problems.append(
            f"the {split} split of {str(root)!r} has {len(missing)} class(es) without an image: {list_some(missing)}"
        )
    return problems


def list_image_shards(root: Path) -> DatasetFiles:
    """List the images in the archives ``root/{train,val}/*.tar`` with their labels, and collect the problems of the archives."""
    problems: list[str] = []
    pairs: dict[str, list[tuple[Member, int]]] = {}
    for split in SPLITS:
        archives = collect_error(problems, shard_archives, root, split)
        pairs[split] = [pair for path in archives or () for pair in collect_error(problems, read_shard, path) or ()]
        if archives and not pairs[split]:
            problems.append(
                f"the {len(archives)} archives of {str(root / split)!r} hold no readable image: an empty split"
            )
    classes = collect_error(problems, shard_classes, root, [label for _, label in pairs["train"]]) or ()
    splits = {}
    for split, labeled in pairs.items():
        if classes and labeled:
            problems += label_problems(root, split, classes, labeled)
        in_range = [(member, label) for member, label in labeled if 0 <= label < len(classes)]
        splits[split] = SplitFiles(Members([member for member, _ in in_range]), [label for _, label in in_range])
    return DatasetFiles("image_shards", root, "image", classes, splits, tuple(problems))


def load_image_shards(*, root: Path | None, **options: Unpack[FileOptions]) -> DatasetSpec:
    """Load and check images from tar archives, ``root/{train,val}/*.tar``.

    Args:
        root: Folder that holds ``train/*.tar``, ``val/*.tar`` and optionally ``classes.txt``.
        options: Side of the images (``image_size``), number of training images (``limit``), number of reading processes
            (``workers``), ``seed``, augmentation (``knobs``), share of unreadable images that is allowed (``skip_broken``),
            and order of the classes (``class_order``), as in :class:`~nes_lab.datasets.knobs.FileOptions`.

    Raises:
        DataError: If an archive is missing or cut short, if a label is out of range, or if an image cannot be read. The
            message names the archive or the image.
    """
    return tree_dataset(list_image_shards(required_root("image_shards", root)), **options)
