"""What a dataset is to the rest of the lab: two splits that yield normalized batches, and a few facts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

__all__ = ["DatasetSpec", "Split"]


class Split(Protocol):
    """A train or validation split: its labels, and its batches in any order asked for.

    ``train_batches(epoch, start)`` must depend on its arguments and the split's own seed only, never on what was read
    before: that is what makes an interrupted run resume exactly.
    """

    labels: Tensor

    def __len__(self) -> int: ...

    def train_batches(self, batch_size: int, seed: int, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield shuffled, augmented ``(images, labels)`` of one epoch, from batch number ``start`` on."""
        ...

    def eval_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every image once, in order, without augmentation."""
        ...


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset that is loaded, checked and ready.

    Attributes:
        name: The registry's name.
        classes: Class names; their positions are the labels.
        image_size: Height and width, in pixels.
        in_channels: 1 (grey) or 3 (RGB).
        train: What the network learns from.
        val: What it is judged by.
        mean: Per channel, of pixels scaled to 0..1.
        std: Per channel, of pixels scaled to 0..1.
        notes: What a reader should know, e.g. that a limit was applied.
    """

    name: str
    classes: tuple[str, ...]
    image_size: int
    in_channels: int
    train: Split
    val: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one image: ``(channels, height, width)``."""
        return (self.in_channels, self.image_size, self.image_size)

    def steps_per_epoch(self, batch_size: int) -> int:
        """How many training batches an epoch has; a short last one is left out unless it is the only one."""
        return max(1, len(self.train) // batch_size)
