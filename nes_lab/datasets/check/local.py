"""List the data sets that are on this computer already. Nothing here imports torch.

Tests: tests/datasets/check/test_ready.py
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from nes_lab.datasets.check.layouts import detect_dataset
from nes_lab.datasets.uploads.stored import list_uploads
from nes_lab.errors import DataError
from nes_lab.records.dataset_facts import DATASET_FACTS, default_data_root

__all__ = ["LocalData", "local_data"]

_OTHERS = ("runs", "uploads", "sweeps", "zoo")


@dataclass(frozen=True)
class LocalData:
    """A data set on this computer.

    Attributes:
        title: What a list calls it.
        name: Name of the data set in a configuration.
        root: Its folder; None for a data set that comes with a Python package.
    """

    title: str
    name: str
    root: Path | None

    @property
    def fields(self) -> dict[str, str]:
        """The fields of a configuration that choose this data set: dotted path and value."""
        name = {"data.name": self.name}
        return name if self.root is None else name | {"data.root": str(self.root)}


def local_data() -> list[LocalData]:
    """Return the data sets on this computer: digits, what lies in ``$NES_LAB_HOME`` or ``data``, and uploads.

    Examples:
        >>> local_data()[0].title
        'digits'
    """
    found = [LocalData("digits", "digits", None)]
    for folder in _folders(default_data_root("")):
        try:
            name, root = detect_dataset(folder)
        except (DataError, OSError):
            continue
        title = name if folder.name == name else f"{folder.name} ({DATASET_FACTS[name].contents})"
        found.append(LocalData(title, name, root.resolve()))
    uploads = [
        LocalData(f"upload {item.name} ({item.id[-6:]})", "image_folder", item.folder) for item in list_uploads()
    ]
    return found + uploads


def _folders(home: Path) -> list[Path]:
    try:
        with os.scandir(home) as entries:
            names = [item.name for item in entries if item.is_dir() and not item.name.startswith(".")]
    except OSError:
        return []
    return [home / name for name in sorted(names) if name not in _OTHERS]
