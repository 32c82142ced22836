"""Recognize which data set a folder holds, by the names of its files and folders.

Tests: tests/datasets/check/test_check.py
"""

from __future__ import annotations

from pathlib import Path

from nes_lab.datasets.check.listing import SPLITS
from nes_lab.errors import DataError, closest
from nes_lab.records.dataset_facts import DATASET_FACTS, default_data_root
from nes_lab.text import list_some

__all__ = ["detect_dataset"]


def detect_dataset(path_or_name: str | Path, root: Path | None = None) -> tuple[str, Path]:
    """Return the name of a data set and the folder that holds it.

    Args:
        path_or_name: A folder or the name of a data set. The data set in a folder is recognized by its files.
        root: Folder of the data set, if a name is given; None means the data set's default folder.

    Raises:
        DataError: If there is no such folder or name, or the layout of the folder is not known.

    Examples:
        >>> detect_dataset("cifar10", Path("images"))
        ('cifar10', PosixPath('images'))
    """
    text, names = str(path_or_name), ", ".join(DATASET_FACTS)
    if text in DATASET_FACTS:
        return text, root or default_data_root(text)
    if root is not None:
        raise DataError(f"{text!r} is not a data set; with --root give one of {names}")
    path = Path(path_or_name)
    if "\0" in text or not path.is_dir():
        raise DataError(f"{text!r} is neither a folder nor a data set ({names}).{closest(text, DATASET_FACTS)}")
    return _detect_layout(path)


def _detect_layout(path: Path) -> tuple[str, Path]:
    folders = {name: facts.folder for name, facts in DATASET_FACTS.items() if facts.folder}
    for name, folder in folders.items():
        if (path / folder).is_dir():
            return name, path
        if path.name == folder:
            return name, path.resolve().parent
    if (path / "meta").is_dir() or (path / "audio").is_dir():
        return "audio_folder", path
    splits = [path / split for split in SPLITS if (path / split).is_dir()]
    if any(any(split.glob("*.tar*")) for split in splits):
        return "image_shards", path
    if splits:
        return "image_folder", path
    for name, pattern in folders.items():
        if any(path.glob(pattern)):
            return name, path
    contents = list_some(sorted(item.name for item in path.iterdir())) or "nothing"
    raise DataError(
        f"{str(path)!r} holds {contents}; a data set is train/<class>/ and val/<class>/, train/*.tar and val/*.tar, "
        f"audio/ and meta/, or what a download unpacks ({', '.join(folders.values())})"
    )
