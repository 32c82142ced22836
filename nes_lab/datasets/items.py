"""Describe where an image lies: in its own file, or inside a tar archive.

Tests: tests/datasets/test_image_shards.py
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Item", "Member", "Members", "select_items"]


@dataclass(frozen=True)
class Member:
    """A file inside an uncompressed tar archive, which can be opened without unpacking the archive.

    Args:
        archive: Path of the archive.
        name: Name of the file in the archive.
        offset: Position of the file's first byte in the archive.
        size: Size of the file in bytes.
    """

    archive: Path
    name: str
    offset: int
    size: int

    def open(self, mode: str = "rb") -> BinaryIO:
        """Open the archived file for reading."""
        with self.archive.open("rb") as file:
            # the file ends early if the archive was cut short after it was listed
            file.seek(self.offset)
            return io.BytesIO(file.read(self.size))

    def __str__(self) -> str:
        return f"{self.archive}:{self.name}"


Item = Path | Member


class Members(Sequence[Item]):
    """A sequence of files in tar archives, stored in little memory.

    Args:
        members: The archived files, in the order of the data set.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        # arrays, because a million objects would need gigabytes
        self._archives = sorted({member.archive for member in members})
        place = {archive: index for index, archive in enumerate(self._archives)}
        self._archive = np.array([place[member.archive] for member in members], dtype=np.int32)
        self._names = np.array([os.fsencode(member.name) for member in members], dtype=np.bytes_)
        self._offsets = np.array([member.offset for member in members], dtype=np.int64)
        self._sizes = np.array([member.size for member in members], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, index: int) -> Member:  # type: ignore[override]  # slices are not used
        return Member(
            self._archives[self._archive[index]],
            os.fsdecode(self._names[index]),
            int(self._offsets[index]),
            int(self._sizes[index]),
        )

    def __iter__(self) -> Iterator[Member]:
        return (self[index] for index in range(len(self)))


def select_items(items: Sequence[Item], indices: Tensor | slice) -> Sequence[Item]:
    """Return the image files or archive members at the given positions.

    If they are given as a :class:`Members`, the result is a :class:`Members` too.

    Args:
        items: Image files, or members of tar archives.
        indices: Positions ``(N,)``, or ``slice(None)`` for all of them.

    Examples:
        >>> import torch
        >>> select_items([Path("a"), Path("b")], torch.tensor([1]))
        [PosixPath('b')]
    """
    if isinstance(indices, slice):
        return items
    selected = [items[index] for index in indices.tolist()]
    return Members(selected) if isinstance(items, Members) else selected  # type: ignore[arg-type]
