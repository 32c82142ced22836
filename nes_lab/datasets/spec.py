"""What a dataset is to the rest of the lab: two splits that yield normalized batches, and a few facts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from nes_lab.datasets.sampling import Shard

__all__ = ["DatasetSpec", "Split"]


class Split(Protocol):
    """A train or validation split: its labels, and its batches in any order asked for.

    Batches depend on the arguments and the split's own seed only, never on what was read before: that is what makes an
    interrupted run resume exactly. With ``shard=(rank, world)`` they are cut from the very batches that one process
    would get, with the same augmentation of every image, so that several processes together train on the same data.
    """

    labels: Tensor

    def __len__(self) -> int: ...

    def train_batches(
        self, batch_size: int, seed: int, epoch: int, start: int = 0, shard: Shard = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield shuffled, augmented ``(images, labels)`` of one epoch, from batch number ``start`` on.

        Args:
            batch_size: Images a step takes over all processes.
            seed: Of the run.
            epoch: Which epoch.
            start: Batches to leave out at the beginning.
            shard: ``(rank, world)``: of every batch, yield ``batch[rank::world]``.
        """
        ...

    def eval_batches(self, batch_size: int, shard: Shard = (0, 1)) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every image once, in order, without augmentation; process ``rank`` every ``world``-th batch."""
        ...


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset that is loaded, checked and ready.

    Attributes:
        name: The registry's name.
        classes: Class names; their positions are the labels.
        image_size: Height and width, in pixels; 0 for audio.
        in_channels: 1 (grey, or one microphone) or 3 (RGB).
        train: What the network learns from.
        val: What it is judged by.
        mean: Per channel, of pixels scaled to 0..1.
        std: Per channel, of pixels scaled to 0..1.
        notes: What a reader should know, e.g. that a limit was applied.
        length: Samples of a clip, of audio only.
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
    length: int | None = None

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def kind(self) -> str:
        """What an example is: ``"image"`` or ``"audio"``."""
        return "image" if self.length is None else "audio"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example: ``(channels, height, width)``, or ``(channels, length)`` of audio."""
        size = (self.image_size, self.image_size) if self.length is None else (self.length,)
        return (self.in_channels, *size)

    def steps_per_epoch(self, batch_size: int) -> int:
        """How many training batches an epoch has; a short last one is left out unless it is the only one."""
        return max(1, len(self.train) // batch_size)
