"""Where one image lies: a file, or a stretch of a tar archive."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

__all__ = ["Item", "Member", "Members", "taken"]


@dataclass(frozen=True)
class Member:
    """One file inside an uncompressed tar archive.

    Args:
        archive: The archive.
        name: Of the member.
        offset: Where its bytes begin.
        size: How many they are.
    """

    archive: Path
    name: str
    offset: int
    size: int

    def open(self, mode: str = "rb") -> BinaryIO:
        """Read the member as a file; a short read (the archive was cut meanwhile) gives what is left."""
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            return io.BytesIO(file.read(self.size))

    def __str__(self) -> str:
        return f"{self.archive}:{self.name}"


Item = Path | Member


class Members(Sequence[Item]):
    """Many members, kept as arrays: a million of them take tens of megabytes instead of gigabytes.

    Args:
        members: In the order of the data set.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self._archives = sorted({member.archive for member in members})
        place = {archive: index for index, archive in enumerate(self._archives)}
        self._archive = np.array([place[member.archive] for member in members], dtype=np.int32)
        self._names = np.array([os.fsencode(member.name) for member in members], dtype=np.bytes_)
        self._offsets = np.array([member.offset for member in members], dtype=np.int64)
        self._sizes = np.array([member.size for member in members], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, index: int) -> Member:  # type: ignore[override]  # one at a time is all that is needed
        return Member(
            self._archives[self._archive[index]],
            os.fsdecode(self._names[index]),
            int(self._offsets[index]),
            int(self._sizes[index]),
        )

    def take(self, indices: Sequence[int]) -> Members:
        """Return some of them."""
        return Members([self[index] for index in indices])

    def __iter__(self) -> Iterator[Member]:
        return (self[index] for index in range(len(self)))


def taken(items: Sequence[Item], indices: Sequence[int]) -> Sequence[Item]:
    """Return some items of a list or of an archive.

    Examples:
        >>> taken([Path("a"), Path("b")], [1])
        [PosixPath('b')]
    """
    return items.take(indices) if isinstance(items, Members) else [items[index] for index in indices]
