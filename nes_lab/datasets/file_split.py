"""Serve a split of images in files or archives. Each image is decoded when it is needed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from nes_lab.datasets.contents import hash_files
from nes_lab.datasets.images import read_rgb
from nes_lab.datasets.items import Item
from nes_lab.datasets.loader_split import SeededSplit
from nes_lab.datasets.seeded import Key, seeded
from nes_lab.errors import DataError
from nes_lab.packages import needed_for

with needed_for("reading images"):
    from PIL import Image

__all__ = ["FileSplit"]

Transform = Callable[[Image.Image], Tensor]
MAX_TRIES = 20
"""Largest number of images of the same class that are tried in place of an unreadable one."""


class _Images(Dataset):
    """A torch data set that reads and augments single images. Each image is augmented with its own seed."""

    def __init__(self, items: Sequence[Item], labels: Tensor, transform: Transform, replace: bool) -> None:
        self.items, self.labels, self.transform, self.replace = items, labels, transform, replace

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor, int]:
        position, seed = key
        image, broken = self._readable(position)
        with seeded(seed):
            return self.transform(image), self.labels[position], broken

    def _readable(self, position: int) -> tuple[Image.Image, int]:
        """Read the image at a position. If it is unreadable, read the next readable image of its class instead.

        Returns:
            The image, and a number: -1 if the image was readable, otherwise the position of the unreadable image.
        """
        try:
            return read_rgb(self.items[position]), -1
        except DataError:
            if not self.replace:
                raise
        of_class = (self.labels == self.labels[position]).nonzero().flatten().tolist()
        place = of_class.index(position)
        for other in (of_class[place + 1 :] + of_class[:place])[:MAX_TRIES]:
            try:
                return read_rgb(self.items[other]), position
            except DataError:
                continue
        raise DataError(
            f"image {str(self.items[position])!r} cannot be read, and neither can the next {MAX_TRIES} of its class"
        )


@dataclass
class FileSplit(SeededSplit):
    """A training or validation split of images in files or archives. The number of reading processes does not change the batches.

    Args:
        items: Image files, or members of tar archives.
        labels: Labels ``(N,)``, int64.
        transform: Function that turns a PIL image into a normalized tensor for training. It may use the global random
            generators of Python, NumPy and torch, which are seeded for each image.
        plain_transform: Function that turns a PIL image into a normalized tensor for :meth:`eval_batches`, without randomness.
        workers: Number of processes that read and transform images; with 0, the main process does it.
        max_replaced: Largest number of unreadable images that training accepts. Each is replaced by another image of its
            class, with a warning. More unreadable images are an error.
        root: Folder to which the paths of the files are relative when they are compared; None: full paths are compared.
    """

    items: Sequence[Item]
    labels: Tensor
    transform: Transform
    plain_transform: Transform
    workers: int = 0
    max_replaced: int = 0
    root: Path | None = None

    def __post_init__(self) -> None:
        self.replaced: set[int] = set()

    def __len__(self) -> int:
        return len(self.items)

    def contents(self) -> str:
        """Return a hash of the relative path and the size of each file."""
        return hash_files(self.items, self.root)

    def examples(self, training: bool) -> Dataset:
        """Return the images as a torch data set, augmented or not."""
        return _Images(
            self.items, self.labels, self.transform if training else self.plain_transform, self.max_replaced > 0
        )

    def served(self, batches: Iterable[Any]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches ``(images, labels)``, and note the images that were replaced."""
        for images, labels, broken in batches:
            self._note_replaced(broken)
            yield images, labels

    def _note_replaced(self, broken: Tensor) -> None:
        for position in sorted(set(broken[broken >= 0].tolist()) - self.replaced):
            self.replaced.add(position)
            name, count = str(self.items[position]), len(self.replaced)
            if count > self.max_replaced:
                raise DataError(f"image {name!r} cannot be read, and more are broken than data.skip_broken allows")
            warnings.warn(
                f"image {name!r} cannot be read; the next image of its class is used instead ({count} so far)"
            )
