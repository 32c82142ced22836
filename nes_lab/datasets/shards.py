"""Images in tar archives (WebDataset's layout): ``root/{train,val}/*.tar`` with ``key.jpg`` beside ``key.cls``.

The archives are indexed once, by reading their headers, and images are then read at their offsets. So they are shuffled,
resumed and shared among workers and processes exactly as files of a folder are.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from nes_lab.datasets.check.listing import IMAGE_SUFFIXES
from nes_lab.datasets.image_folder import file_spec
from nes_lab.datasets.items import Member, Members
from nes_lab.datasets.knobs import STANDARD, ImageKnobs
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import DataError
from nes_lab.text import list_some

__all__ = ["label_problems", "load_image_shards", "read_shard", "shard_archives", "shard_classes"]

_LABELS = (".cls", ".json")  # in this order: a sample may have both
_MOST_LABEL_BYTES = _MOST_TAIL_BYTES = 1 << 20
_HINT = "make it again, or fetch it again"


def read_shard(path: Path) -> list[tuple[Member, int]]:
    """List the images of one archive with their labels, in the order of the archive.

    Raises:
        DataError: If the archive is cut short or damaged, a key is there twice, or an image has no label.
    """
    images: dict[str, Member] = {}
    by_kind: dict[str, dict[str, Member]] = {suffix: {} for suffix in _LABELS}
    for member in _members(path):
        key, suffix = _parted(member.name)
        if (known := images if suffix in IMAGE_SUFFIXES else by_kind.get(suffix)) is not None:
            _once(known, key, member)
            known[key] = member
    told = by_kind[".json"] | by_kind[".cls"]  # beside .cls, .json tells other things
    labels = {key: _label(member) for key, member in told.items()}
    bare, idle = [key for key in images if key not in labels], [key for key in labels if key not in images]
    if bare:
        raise DataError(f"{str(path)!r} has {len(bare)} images without a label ({list_some(bare)}); each needs KEY.cls")
    if idle:
        raise DataError(f"{str(path)!r} has {len(idle)} labels without an image ({list_some(idle)})")
    return [(member, labels[key]) for key, member in images.items()]


def _once(known: dict[str, Any], key: str, member: Member) -> None:
    if key in known:
        raise DataError(f"{str(member)!r}: the key {key!r} is there twice; {_HINT}")


def _parted(name: str) -> tuple[str, str]:
    """Part a member's name as WebDataset does, at the first dot of its last part."""
    path = PurePosixPath(name)
    stem, dot, rest = path.name.partition(".")
    return str(path.parent / stem), (dot + rest).lower()


def _members(path: Path) -> list[Member]:
    """Read the headers; an end that is not marked as such means that something is missing."""
    try:
        with tarfile.open(path, "r:") as archive:
            found = [Member(path, item.name, item.offset_data, item.size) for item in archive if item.isfile()]
            end = archive.offset
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise DataError(f"{str(path)!r} cannot be read as an uncompressed tar archive ({error}); {_HINT}") from error
    with path.open("rb") as file:
        file.seek(end)
        tail = file.read(_MOST_TAIL_BYTES)
    if len(tail) < tarfile.BLOCKSIZE:
        raise DataError(f"{str(path)!r} is cut short after {len(found)} members: it has no end mark; {_HINT}")
    if tail.strip(b"\0"):
        raise DataError(f"{str(path)!r} is damaged after {len(found)} members, at byte {end}; {_HINT}")
    return found


def _label(member: Member) -> int:
    with member.open() as file:
        text = file.read(_MOST_LABEL_BYTES)
    try:
        value = json.loads(text)
        value = value["label"] if isinstance(value, dict) else value
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("not a whole number")
    except (ValueError, KeyError, RecursionError) as error:
        shown = text[:40].decode("utf-8", "replace")
        raise DataError(
            f'{str(member)!r}: {shown!r} is no label; it should be a class index such as 7, or {{"label": 7}} in JSON'
        ) from error
    return value


def shard_archives(root: Path, split: str) -> list[Path]:
    """List ``root/split/*.tar``.

    Raises:
        DataError: If there is none.
    """
    if not root.is_dir():
        raise DataError(f"data.root={str(root)!r} is not a folder; it should hold train/*.tar and val/*.tar")
    archives = sorted((root / split).glob("*.tar"))
    if not archives:
        packed = sorted(path.name for path in (root / split).glob("*.tar.*"))
        hint = f"; unpack {list_some(packed)}, as archives must not be compressed" if packed else ""
        raise DataError(f"{str(root / split)!r} has no .tar archive; it should hold {split}/*.tar{hint}")
    return archives


def _read_split(root: Path, split: str) -> list[tuple[Member, int]]:
    archives = shard_archives(root, split)
    pairs = [pair for path in archives for pair in read_shard(path)]
    if not pairs:
        raise DataError(f"the {len(archives)} archives of {str(root / split)!r} hold no image: an empty split")
    return pairs


def shard_classes(root: Path, train: Sequence[int]) -> tuple[str, ...]:
    """Read class names from ``root/classes.txt``, one a line; without it they are the labels of the training split.

    Raises:
        DataError: If the file names a class twice or cannot be read, or labels leave a gap.
    """
    path = root / "classes.txt"
    if not path.exists():
        gap = sorted(set(train))
        if gap != list(range(len(gap))):
            raise DataError(
                f"labels of the training split of {str(root)!r} are {list_some([str(label) for label in gap])}; without "
                f"classes.txt they should be 0, 1, 2 ... with none left out"
            )
        return tuple(str(label) for label in gap)
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{str(path)!r} cannot be read: {error}") from error
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{str(path)!r} names a class twice: {list_some(twice)}")
    return tuple(names)


def label_problems(root: Path, split: str, classes: Sequence[str], pairs: Sequence[tuple[Member, int]]) -> list[str]:
    """Say which labels are out of range, and which classes have no image."""
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


def load_image_shards(
    *,
    root: Path | None,
    image_size: int | None = None,
    limit: int | None = None,
    workers: int = 0,
    seed: int = 0,
    knobs: ImageKnobs = STANDARD,
    skip_broken: float = 0.0,
) -> DatasetSpec:
    """Load images from tar archives, checked as a folder of images is.

    Args:
        root: The folder that holds ``train/*.tar``, ``val/*.tar`` and perhaps ``classes.txt``.
        image_size: Pixels the network sees; None means 224.
        limit: At most this many training images, every class in proportion.
        workers: Processes that read images.
        seed: Decides which images a limit keeps.
        knobs: Augmentation, interpolation and normalization.
        skip_broken: Largest share of unreadable images that is left out instead of refused.

    Raises:
        DataError: Naming what is missing, torn, out of range or unreadable.
    """
    if root is None:
        raise DataError("data.name='image_shards' needs data.root: a folder that holds train/*.tar and val/*.tar")
    root = Path(root)
    splits = {split: _read_split(root, split) for split in ("train", "val")}
    classes = shard_classes(root, [label for _, label in splits["train"]])
    for split, pairs in splits.items():
        for problem in label_problems(root, split, classes, pairs):
            raise DataError(problem)
    train, val = (
        (Members([member for member, _ in pairs]), torch.tensor([label for _, label in pairs]))
        for pairs in splits.values()
    )
    return file_spec(
        "image_shards",
        classes,
        train,
        val,
        image_size=image_size,
        limit=limit,
        workers=workers,
        seed=seed,
        knobs=knobs,
        skip_broken=skip_broken,
    )
