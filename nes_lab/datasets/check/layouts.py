"""Which data set lies in a folder, and what it holds; what is wrong is collected, not raised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nes_lab.datasets.audio_table import AudioTable, Clip, read_audio_table
from nes_lab.datasets.check.listing import Listing, check_listing, check_same_classes, list_split
from nes_lab.datasets.imagenet import IMAGENETTE_CLASSES, imagenet_notes, imagenette_folder
from nes_lab.datasets.items import Item, Member, Members
from nes_lab.datasets.registry import dataset_names
from nes_lab.datasets.shards import label_problems, read_shard, shard_archives, shard_classes
from nes_lab.datasets.torchvision_sets import TORCHVISION_SETS, default_root, raw_splits
from nes_lab.errors import DataError, closest
from nes_lab.text import list_some

__all__ = ["Found", "Part", "find_data", "recognize"]

_SPLITS = ("train", "val")
_TORCHVISION_FOLDERS = {
    "cifar-10-batches-py": "cifar10",
    "cifar-100-python": "cifar100",
    "FashionMNIST": "fashion_mnist",
}


@dataclass(frozen=True)
class Part:
    """One split: files, or one array ``(N, C, H, W)``; and the class of each example.

    Attributes:
        examples: Where they lie, or what they are.
        labels: Positions in the class names.
        white: The largest pixel value of an array.
    """

    examples: Sequence[Item] | np.ndarray
    labels: list[int]
    white: float = 255.0


@dataclass(frozen=True)
class Found:
    """A data set as it lies there."""

    name: str
    root: Path | None
    kind: str
    classes: tuple[str, ...]
    parts: dict[str, Part]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def recognize(path_or_name: str | Path, root: Path | None = None) -> tuple[str, Path | None]:
    """Return the registry's name for a folder, and where its data lies; a name of the registry stays as it is.

    Raises:
        DataError: If there is no such folder or name, or nothing in the folder is known.

    Examples:
        >>> recognize("digits")
        ('digits', None)
    """
    text = str(path_or_name)
    if text in dataset_names():
        return text, root if root is not None or text == "digits" else default_root(text)
    if root is not None:
        raise DataError(f"{text!r} is no data set; with --root give one of {', '.join(dataset_names())}")
    path = Path(path_or_name)
    if "\0" in text or not path.is_dir():
        raise DataError(
            f"{text!r} is neither a folder nor a data set ({', '.join(dataset_names())}).{closest(text, dataset_names())}"
        )
    return _layout(path)


def _layout(path: Path) -> tuple[str, Path]:
    for folder, name in _TORCHVISION_FOLDERS.items():
        if (path / folder).is_dir():
            return name, path
        if path.name == folder:
            return name, path.resolve().parent
    if (path / "meta").is_dir() or (path / "audio").is_dir():
        return "audio_folder", path
    splits = [path / split for split in _SPLITS if (path / split).is_dir()]
    if any(next(split.glob("*.tar*"), None) for split in splits):
        return "image_shards", path
    if splits:
        return "image_folder", path
    if any(path.glob("imagenette2*")):
        return "imagenette", path
    held = list_some(sorted(item.name for item in path.iterdir())) or "nothing"
    raise DataError(
        f"{str(path)!r} holds {held}; a data set is train/<class>/ and val/<class>/, train/*.tar and val/*.tar, audio/ and "
        f"meta/, or what torchvision unpacks ({', '.join(_TORCHVISION_FOLDERS)})"
    )


def find_data(name: str, root: Path | None, val_fold: int = 5) -> Found:
    """Look what a data set of a known name holds.

    Args:
        name: Of the registry.
        root: Where it lies.
        val_fold: The fold of an audio set that validates.
    """
    if name == "digits":
        return _digits()
    assert root is not None  # recognize gives every other set a place
    if name in TORCHVISION_SETS:
        return _torchvision(name, root)
    if name == "audio_folder":
        return _audio(root, val_fold)
    return _shards(root) if name == "image_shards" else _tree(name, root)


def _tried(problems: list[str], call: Callable, *arguments: object) -> object:
    """Call, and keep what it complains of."""
    try:
        return call(*arguments)
    except DataError as error:
        problems.append(str(error))
        return None


def _digits() -> Found:
    from nes_lab.datasets.digits import load_digits

    spec = load_digits()
    parts = {
        name: Part(split.images.numpy(), split.labels.tolist(), split.white)
        for name, split in (("train", spec.train), ("val", spec.val))
    }
    return Found(
        "digits", None, "image", spec.classes, parts, notes=("split 80/20 by the run's seed; seed 0 is shown",)
    )


def _torchvision(name: str, root: Path) -> Found:
    problems: list[str] = []
    read = _tried(problems, raw_splits, name, root)
    if not isinstance(read, tuple):
        return Found(name, root, "image", (), {}, tuple(problems))
    classes, *splits = read
    parts = {part: Part(x.numpy(), y.tolist()) for part, (x, y) in zip(_SPLITS, splits, strict=True)}
    return Found(name, root, "image", classes, parts)


def _tree(name: str, root: Path) -> Found:
    problems: list[str] = []
    if name == "imagenette":
        found = _tried(problems, imagenette_folder, root)
        if not isinstance(found, Path):
            return Found(name, root, "image", (), {}, tuple(problems))
        root = found
    held: dict[str, dict[str, list[Path]]] = {}
    notes: list[str] = []
    for split in _SPLITS:
        listed = _tried(problems, list_split, root, split)
        held[split] = listed.images if isinstance(listed, Listing) else {}
        if isinstance(listed, Listing):
            _tried(problems, check_listing, listed)
            notes += listed.notes
    if all(held.values()):
        _tried(problems, check_same_classes, list(held["train"]), list(held["val"]), root)
    classes = tuple(sorted({*held["train"], *held["val"]}))
    place = {label: index for index, label in enumerate(classes)}
    parts = {
        split: Part(
            [path for files in of_class.values() for path in files],
            [place[label] for label, files in of_class.items() for _ in files],
        )
        for split, of_class in held.items()
    }
    if name == "imagenette" and classes != tuple(IMAGENETTE_CLASSES):
        problems.append(f"the classes of {str(root)!r} are not Imagenette's: {list_some(classes)}")
    notes += imagenet_notes(classes) if name == "imagenet" else ()
    return Found(name, root, "image", classes, parts, tuple(problems), tuple(notes))


def _shards(root: Path) -> Found:
    problems: list[str] = []
    pairs: dict[str, list[tuple[Member, int]]] = {}
    for split in _SPLITS:
        archives = _tried(problems, shard_archives, root, split)
        pairs[split] = []
        for path in archives if isinstance(archives, list) else []:
            found = _tried(problems, read_shard, path)
            pairs[split] += found if isinstance(found, list) else []
        if isinstance(archives, list) and not pairs[split]:
            problems.append(f"the archives of {str(root / split)!r} hold no image that can be used: an empty split")
    classes = _tried(problems, shard_classes, root, [label for _, label in pairs["train"]])
    classes = classes if isinstance(classes, tuple) else ()
    parts = {}
    for split, found in pairs.items():
        if classes and found:
            problems += label_problems(root, split, classes, found)
        inside = [(member, label) for member, label in found if 0 <= label < len(classes)]
        parts[split] = Part(Members([member for member, _ in inside]), [label for _, label in inside])
    return Found("image_shards", root, "image", classes, parts, tuple(problems))


def _audio(root: Path, val_fold: int) -> Found:
    problems: list[str] = []
    table = _tried(problems, read_audio_table, root)
    if not isinstance(table, AudioTable):
        return Found("audio_folder", root, "audio", (), {}, tuple(problems))
    _tried(problems, table.split, val_fold)
    parts = {
        split: _clips(table, tuple(clip for clip in table.clips if (clip.fold == val_fold) == (split == "val")))
        for split in _SPLITS
    }
    notes = (f"folds {', '.join(map(str, table.folds))}; fold {val_fold} is shown as val",)
    return Found("audio_folder", root, "audio", table.classes, parts, tuple(problems), notes)


def _clips(table: AudioTable, clips: tuple[Clip, ...]) -> Part:
    return Part([clip.path for clip in clips], table.labels(clips))
