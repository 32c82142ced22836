"""Name the group of runs that come with the app, and keep the runs of a folder from being changed.

Tests: tests/runs/test_bundled.py.
"""

from __future__ import annotations

from pathlib import Path

from nes_lab.errors import RunError
from nes_lab.runs import layout

__all__ = ["BUNDLED_GROUP", "is_read_only", "refuse_read_only"]

BUNDLED_GROUP = "bundled demo"
"""Group of the runs that come with the app."""


def is_read_only(root: Path) -> bool:
    """Return True if the runs in a folder can only be read, because it holds the file ``READ-ONLY.txt``.

    Args:
        root: Folder of all runs.
    """
    return (root / layout.READ_ONLY).exists()


def refuse_read_only(root: Path) -> None:
    """Refuse to change the runs in a folder if they can only be read.

    Args:
        root: Folder of all runs.

    Raises:
        RunError: If the runs can only be read.
    """
    if is_read_only(root):
        raise RunError(
            "the runs of the bundled demo can only be read. Launch a run with the same settings to get one of your own"
        )
