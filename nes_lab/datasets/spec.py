"""Define a loaded data set: a training split, a validation split, and facts such as the class names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from nes_lab.datasets.contents import contents_of
from nes_lab.datasets.sampling import Shard
from nes_lab.records.preprocessing import Preprocessing

__all__ = ["DatasetSpec", "Split"]


class Split(Protocol):
    """The interface of a training or validation split: its labels and its batches.

    Batches depend only on the arguments, never on earlier batches. With ``shard=(rank, world)``, several processes divide
    the batches. Process number ``rank`` of ``world`` processes gets its part.
    """

    labels: Tensor  # empty if they are not known before the examples are read

    def __len__(self) -> int: ...

    def train_batches(
        self, batch_size: int, seed: int, epoch: int, start: int = 0, shard: Shard = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the training batches ``(images, labels)`` of one epoch, shuffled and augmented, from batch number ``start`` on.

        Args:
            batch_size: Images per batch, all processes together.
            seed: Seed of the run.
            epoch: Number of the epoch, from 0.
            start: Number of the first batch to yield, from 0.
            shard: Number of this process and number of processes, ``(rank, world)``. This process gets
                ``batch[rank::world]`` of every batch.
        """
        ...

    def eval_batches(self, batch_size: int, shard: Shard = (0, 1)) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all images in batches ``(images, labels)``: each image once, in order, without augmentation.

        ``shard=(rank, world)`` divides the batches among ``world`` processes. Process number ``rank`` gets the batches
        number ``rank``, ``rank + world`` and so on.
        """
        ...


@dataclass(frozen=True)
class DatasetSpec:
    """A data set that is loaded, checked and ready to train on.

    Attributes:
        name: Name of the data set in a configuration (``data.name``).
        classes: Class names. The label of a class is its position in this list.
        image_size: Height and width in pixels; 0 for audio.
        in_channels: Channels of an example: 1 (gray, or one microphone) or 3 (RGB).
        train: The split that the network learns from.
        val: The split on which the network is evaluated.
        mean: Mean of each channel, subtracted from pixels that are scaled to 0..1.
        std: Standard deviation of each channel; after the mean is subtracted, pixels are divided by it.
        notes: Sentences about how the data was loaded, for example that a limit was applied.
        length: Samples per clip; None for images.
        shape: Shape of one example, without a batch axis; None: the shape follows from the other attributes.
        dtype: Type of the numbers of an example; class numbers and word numbers are integers.
        batch_size: Examples per training batch, if a loader chooses it; None: the recipe chooses it.
        batches: Number of training batches that a loader gives per epoch; None: the recipe's batch size decides.
        resumable: False if an interrupted training cannot get the same batches again. It then resumes from its last checkpoint,
            but its weights differ from those of an uninterrupted training.
        only_split: Name of the split that the data set has, if it has only one; ``train`` and ``val`` are then this split, and no
            network can be trained on it. Empty for other data sets.
        preprocessing: How images are prepared; None for sounds, and for data in memory whose preparation is not known.
        counted_classes: True if the classes were counted from the targets, so that there may be more of them.
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
    shape: tuple[int, ...] | None = None
    dtype: torch.dtype = torch.float32
    batch_size: int | None = None
    batches: int | None = None
    resumable: bool = True
    only_split: str = ""
    preprocessing: Preprocessing | None = None
    counted_classes: bool = False

    @property
    def num_classes(self) -> int:
        """Return the number of classes of the data set; 0 if it has no classes, or if their number is not known."""
        return len(self.classes)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Return the properties of the data that must be the same when a training resumes, by name. They are computed once.

        They are the numbers of training and validation examples, the class names, a hash of the labels, how images in files are
        prepared, and for each split a hash of its examples, if there is one (:mod:`nes_lab.datasets.contents`).
        """
        splits = {"training": self.train, "validation": self.val}
        numbers = {f"{name} examples": len(split) for name, split in splits.items()}
        digest = hashlib.sha256()
        for split in splits.values():
            digest.update(split.labels.cpu().numpy().tobytes())
        contents = {f"content of the {name} split": contents_of(split) for name, split in splits.items()}
        about = {**numbers, "classes": list(self.classes), "labels": digest.hexdigest()}
        shown = self.preprocessing
        if shown is not None and shown.crop is not None:  # the statistics of images in memory are computed from them
            about |= {"preparation": str(shown)}
        return about | {name: text for name, text in contents.items() if text}

    @property
    def kind(self) -> str:
        """Return the kind of the examples: ``"image"``, ``"audio"``, or ``"other"`` such as text."""
        if self.shape is not None and len(self.shape) != 3:
            return "other"
        return "image" if self.length is None else "audio"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of one example, without a batch axis.

        If the attribute ``shape`` is not None, it is returned. Otherwise the shape is ``(channels, length)`` for audio and
        ``(channels, height, width)`` for images.
        """
        if self.shape is not None:
            return self.shape
        size = (self.image_size, self.image_size) if self.length is None else (self.length,)
        return (self.in_channels, *size)

    def steps_per_epoch(self, batch_size: int) -> int:
        """Return the number of training steps per epoch. If the last batch of an epoch is shorter than the others, training leaves it out.

        Args:
            batch_size: Examples per step.
        """
        if self.batches is not None and self.batch_size is not None:
            return max(1, self.batches // max(1, batch_size // self.batch_size))
        return max(1, len(self.train) // batch_size)

    def example_input(self, device: torch.device | str = "cpu") -> Tensor:
        """Return an input of zeros for the network: one example, with a batch axis in front.

        Args:
            device: Device of the tensor.

        Examples:
            >>> from nes_lab.datasets.digits import load_digits
            >>> load_digits(limit=16).example_input().shape
            torch.Size([1, 1, 8, 8])
        """
        return torch.zeros(1, *self.input_shape, dtype=self.dtype, device=device)
