"""Say within a moment whether a training could begin with a data set: its folders and their names are read, but no image.

Nothing here imports torch, so that the app can call it.

Tests: tests/datasets/check/test_ready.py
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from nes_lab.datasets.check.listing import IMAGE_SUFFIXES, SPLITS
from nes_lab.datasets.check.report import count_text
from nes_lab.import_spec import is_import_spec
from nes_lab.records.dataset_facts import DATASET_FACTS, DatasetFacts, default_data_root
from nes_lab.text import list_some

__all__ = ["Ready", "folder_mark", "ready_to_train"]

MOST_COUNTED = 50_000
"""Number of images after which they are no longer counted, so that the answer comes at once. ImageNet has 1.3 million."""
_MOST_FOLDERS = 5000
_NEEDS_ROOT = ("image_folder", "image_shards", "audio_folder")


@dataclass(frozen=True)
class Ready:
    """The answer of :func:`ready_to_train`: what is known about a data set before it is read.

    Attributes:
        reason: Why a training would fail at once, in a sentence; None if nothing speaks against it.
        text: What the data set holds, in one line; may be empty.
        classes: Number of classes; None if it is not known.
        folder: Folder of the data set; None if it has none, or it is not known.

    Examples:
        >>> ready_to_train({"name": "digits"}).text
        '1,797 images · 10 classes'
    """

    reason: str | None
    text: str = ""
    classes: int | None = None
    folder: Path | None = None


def ready_to_train(data: Mapping[str, Any]) -> Ready:
    """Return whether a training could begin with a data set, by what its folders tell. No image is read.

    Args:
        data: The ``data`` section of a configuration: ``name``, and optionally ``root`` and ``download``.

    Examples:
        >>> ready_to_train({"name": "image_folder", "root": None}).reason
        'The folder of the images is missing. It holds train and val, and in each one folder per class.'
    """
    name = str(data["name"])
    if is_import_spec(name) or name not in DATASET_FACTS:
        return Ready(None, "Your own function is called when the run starts.")
    facts, root = DATASET_FACTS[name], data.get("root")
    if facts.source == "bundled":
        return Ready(None, _known_text(facts), facts.classes)
    if name in _NEEDS_ROOT and not root:
        return Ready(_MISSING[name])
    folder = Path(root) if root else default_data_root(name)
    if "\0" in str(folder):
        return Ready("The path of the folder holds a character that no path can hold.")
    try:
        if facts.source == "download":
            return _download_ready(name, facts, folder, bool(data.get("download")))
        if not folder.is_dir():
            return Ready(f"There is no folder {str(folder)!r}. {_LAYOUTS.get(name, _LAYOUTS['image_folder'])}")
        return _LISTERS.get(name, _image_folder)(folder)
    except OSError as error:
        return Ready(f"The folder {str(folder)!r} cannot be read: {error.strerror or error}.")


def folder_mark(folder: str | Path) -> str:
    """Return a text that changes when files are added to a folder, renamed or removed, up to four levels deep.

    Args:
        folder: The folder. It need not exist.
    """
    digest = hashlib.sha256()
    for path in islice(_folders(Path(folder), 4), _MOST_FOLDERS):
        try:
            digest.update(f"{path}\0{os.stat(path).st_mtime_ns}\n".encode(errors="surrogateescape"))
        except (OSError, ValueError):  # a path with a NUL is a ValueError
            digest.update(f"{path}\0gone\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


_LAYOUTS = {
    "image_folder": "It should hold train and val, and in each one folder per class.",
    "image_shards": "It should hold train and val, with tar archives in each.",
    "audio_folder": "It should hold audio, with WAV files, and meta, with a table.",
}
_MISSING = {
    "image_folder": "The folder of the images is missing. It holds train and val, and in each one folder per class.",
    "image_shards": "The folder of the archives is missing. It holds train and val, with tar archives in each.",
    "audio_folder": "The folder of the sounds is missing. It holds audio, with WAV files, and meta, with a table.",
}


def _known_text(facts: DatasetFacts) -> str:
    return f"{sum(facts.examples or ()):,} images · {facts.classes:,} classes"


def _download_ready(name: str, facts: DatasetFacts, folder: Path, download: bool) -> Ready:
    there = any(folder.glob(facts.folder)) or (name == "imagenette" and (folder / "train").is_dir())
    if there:
        return Ready(None, _known_text(facts), facts.classes, folder)
    if download:
        return Ready(None, f"{_known_text(facts)} · downloaded when the run starts", facts.classes)
    return Ready(
        f"{name} is not on this computer (no {facts.folder} in {str(folder)!r}). Turn on Download, or choose another data set."
    )


def _image_folder(folder: Path) -> Ready:
    classes: dict[str, list[str]] = {}
    for split in SPLITS:
        if not (folder / split).is_dir():
            found = list_some(sorted(path.name for path in _folders(folder, 1) if path != folder)) or "no folders"
            return Ready(f"{str(folder)!r} has no folder {split}; it holds {found}. {_LAYOUTS['image_folder']}")
        classes[split] = sorted(path.name for path in _folders(folder / split, 1) if path != folder / split)
        if not classes[split]:
            return Ready(f"{str(folder / split)!r} has no class folders. {_LAYOUTS['image_folder']}")
    if different := sorted(set(classes["train"]) ^ set(classes["val"])):
        return Ready(f"train and val have different classes: {list_some(different)} in one of them only.")
    counts, complete = _count_images(folder, classes["train"])
    if empty := [path for path, count in counts.items() if not count]:
        return Ready(
            f"{len(empty)} class folders have no image: {list_some(empty)}. Add images, or remove the folders."
        )
    return Ready(None, _counted_text(counts, complete, classes["train"]), len(classes["train"]), folder)


def _count_images(folder: Path, classes: list[str]) -> tuple[dict[str, int], bool]:
    """Return the number of images of each class in each split, and whether all were counted. If not, each number is at most 1."""
    counts, left = {}, MOST_COUNTED
    for place in (f"{split}/{name}" for split in SPLITS for name in classes):
        count = sum(1 for _ in islice(_images(folder / place), left if left > 0 else 1))
        counts[place], left = count, left - count
    return counts, left > 0


def _counted_text(counts: dict[str, int], complete: bool, classes: list[str]) -> str:
    if not complete:
        return f"over {MOST_COUNTED:,} images · {len(classes):,} classes"
    return count_text("image", [sum(counts[f"{split}/{name}"] for split in SPLITS) for name in classes])


def _image_shards(folder: Path) -> Ready:
    missing = [split for split in SPLITS if not any((folder / split).glob("*.tar"))]
    if missing:
        return Ready(f"{str(folder)!r} has no tar archive in {' and '.join(missing)}. {_LAYOUTS['image_shards']}")
    archives = sum(1 for split in SPLITS for _ in (folder / split).glob("*.tar"))
    return Ready(None, f"{archives:,} archives", None, folder)


def _audio_folder(folder: Path) -> Ready:
    if not (folder / "audio").is_dir() or not any((folder / "meta").glob("*.csv")):
        return Ready(f"{str(folder)!r} has no folder audio, or no table in meta. {_LAYOUTS['audio_folder']}")
    sounds = sum(1 for _ in (folder / "audio").glob("*.wav"))
    return Ready(None if sounds else f"{str(folder / 'audio')!r} has no WAV file.", f"{sounds:,} sounds", None, folder)


_LISTERS = {"image_shards": _image_shards, "audio_folder": _audio_folder}


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    """Yield a folder and the folders below it, up to a depth. Hidden folders are left out."""
    yield folder
    if depth == 0:
        return
    try:
        with os.scandir(folder) as entries:
            below = sorted(item.path for item in entries if item.is_dir() and not item.name.startswith("."))
    except (OSError, ValueError):
        return
    for path in below:
        yield from _folders(Path(path), depth - 1)


def _images(folder: Path) -> Iterator[str]:
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (name for name in names if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."))
