"""Serve images from memory. The images of a split are one uint8 tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional as F

from nes_lab.datasets.augment import EachImage, check_augment
from nes_lab.datasets.contents import hash_tensors
from nes_lab.datasets.images import pixel_problems
from nes_lab.datasets.knobs import STANDARD, ImageKnobs
from nes_lab.datasets.sampling import (
    Shard,
    batch_indices,
    check_shard,
    epoch_order,
    hold_out,
    keyed_generator,
    limit_examples,
    share_of,
    stream_seed,
)
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import DataError
from nes_lab.text import list_some

__all__ = [
    "Augment",
    "TensorSplit",
    "in_memory_spec",
    "channel_statistics",
    "random_flip",
    "random_shift",
    "resized",
]

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""A function that augments a batch of raw images with the given random generator."""


def random_shift(images: Tensor, generator: torch.Generator, pixels: int) -> Tensor:
    """Shift every image at random by at most ``pixels`` pixels along each axis, and fill the gap with zeros.

    Shape:
        - images ``(N, C, H, W)``, any dtype; the result has the same shape and dtype

    Examples:
        >>> random_shift(torch.ones(2, 1, 4, 4), torch.Generator().manual_seed(0), 1).shape
        torch.Size([2, 1, 4, 4])
    """
    count, _, height, width = images.shape
    padded = F.pad(images, (pixels, pixels, pixels, pixels))
    moves = torch.randint(0, 2 * pixels + 1, (2, count, 1), generator=generator)
    rows = (torch.arange(height) + moves[0])[:, :, None]
    columns = (torch.arange(width) + moves[1])[:, None, :]
    picked = padded[torch.arange(count)[:, None, None], :, rows, columns]
    return picked.permute(0, 3, 1, 2)


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror every image left to right with probability one half.

    Examples:
        >>> random_flip(torch.arange(4.).reshape(1, 1, 1, 4), torch.Generator().manual_seed(0)).shape
        torch.Size([1, 1, 1, 4])
    """
    mirrored = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    return torch.where(mirrored, images.flip(-1), images)


def resized(images: Tensor, image_size: int | None, interpolation: str = "bilinear") -> Tensor:
    """Resize uint8 images to squares with a side of ``image_size`` pixels. With None, return the images unchanged."""
    if image_size is None or images.shape[-2:] == (image_size, image_size):
        return images
    size = (image_size, image_size)
    shrinks = image_size < images.shape[-1]
    changed = F.interpolate(images.float(), size, mode=interpolation, align_corners=False, antialias=shrinks)
    return changed.round().clamp(0, 255).to(torch.uint8)


def channel_statistics(images: Tensor, white: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and the standard deviation of each channel. Pixels are first scaled from 0..``white`` to 0..1."""
    pixels = images.double().div(white).transpose(0, 1).flatten(1)
    return tuple(pixels.mean(1).tolist()), tuple(pixels.std(1, correction=0).tolist())


@dataclass
class TensorSplit:
    """A training or validation split with its images and labels in memory.

    Args:
        images: Images ``(N, C, H, W)``, uint8.
        labels: Labels ``(N,)``, int64.
        mean: Mean per channel, of pixels scaled to 0..1.
        std: Standard deviation per channel, of pixels scaled to 0..1.
        white: Pixel value that means white (16 for digits).
        augment: Function that augments a batch of uint8 images in training; None means no such augmentation.
        each: Random changes to single images, made after ``augment`` in training; None means no such changes.
        original: Hash of the images before they were resized, because resizing may round differently on another machine.
            Empty: they were not resized.

    Examples:
        >>> split = TensorSplit(torch.zeros(8, 1, 4, 4, dtype=torch.uint8), torch.arange(8), (0.5,), (0.5,))
        >>> images, labels = next(split.train_batches(4, seed=0, epoch=0))
        >>> images.shape, float(images[0, 0, 0, 0])
        (torch.Size([4, 1, 4, 4]), -1.0)
    """

    images: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    white: float = 255.0
    augment: Augment | None = None
    each: EachImage | None = None
    original: str = ""

    def __post_init__(self) -> None:
        std = torch.tensor(self.std).reshape(-1, 1, 1)
        self._scale = 1.0 / (std * self.white)
        self._shift = -torch.tensor(self.mean).reshape(-1, 1, 1) / std

    def __len__(self) -> int:
        return len(self.labels)

    def contents(self) -> str:
        """Return a hash of the images, before they were resized."""
        return self.original or hash_tensors(self.images)

    def _normalized(self, images: Tensor) -> Tensor:
        return torch.addcmul(self._shift, images.to(torch.float32), self._scale)

    def train_batches(
        self, batch_size: int, seed: int, epoch: int, start: int = 0, shard: Shard = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the training batches ``(images, labels)`` of one epoch, shuffled and augmented, from batch number ``start`` on.

        ``shard=(rank, world)`` divides each batch among ``world`` processes. Process number ``rank`` gets
        ``batch[rank::world]``.
        """
        batches = batch_indices(epoch_order(len(self), seed, epoch), batch_size, drop_last=True)
        for position in range(start, len(batches)):
            images, chosen = self.images[batches[position]], share_of(batches[position], shard)
            # the images of a batch share one random generator, so the complete batch is augmented before it is divided
            if self.augment is not None:
                images = self.augment(images, keyed_generator(seed, epoch, 2 + position))
            images = share_of(images, shard)
            if self.each is not None and self.each.on:
                seeds = [stream_seed(seed, epoch, 1, image) for image in chosen.tolist()]
                yield self.each(images, seeds, self._normalized), self.labels[chosen]
            else:
                yield self._normalized(images), self.labels[chosen]

    def eval_batches(self, batch_size: int, shard: Shard = (0, 1)) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all images in batches ``(images, labels)``: each image once, in order, without augmentation.

        ``shard=(rank, world)`` divides the batches among ``world`` processes. Process number ``rank`` gets the batches
        number ``rank``, ``rank + world`` and so on.
        """
        rank, world = check_shard(shard)
        pairs = zip(self.images.split(batch_size), self.labels.split(batch_size), strict=True)
        for images, labels in islice(pairs, rank, None, world):
            yield self._normalized(images), labels


def in_memory_spec(
    name: str,
    classes: tuple[str, ...],
    train: tuple[Tensor, Tensor],
    val: tuple[Tensor, Tensor],
    *,
    augment: Callable[[int], Augment],
    knobs: ImageKnobs = STANDARD,
    white: float = 255.0,
    image_size: int | None = None,
    limit: int | None = None,
    holdout: int | None = None,
    seed: int = 0,
) -> DatasetSpec:
    """Make a data set from images in memory. Check, limit, resize and normalize the images.

    Args:
        name: Name of the data set.
        classes: Class names.
        train: Training images ``(N, C, H, W)``, uint8, and labels ``(N,)``.
        val: Validation images and labels, with the same axes and dtypes.
        augment: Function that gets the side of the images in pixels. It returns a function that augments a batch.
        knobs: Options for augmentation, interpolation and normalization.
        white: Pixel value that means white.
        image_size: Side of the images that the network gets, in pixels; None keeps their size.
        limit: Keep at most this many training images, each class in proportion to its size; None keeps all.
        holdout: Number of training images that are held out and used for validation instead of ``val``; None: ``val`` is used.
        seed: Seed for choosing the images that ``limit`` keeps.

    Raises:
        DataError: If a split is empty, or a pixel or a label is out of range.
    """
    for part, (pixels, labels) in (("train", train), ("val", val)):
        problems = pixel_problems(pixels.numpy(), white)
        if wrong := [str(i) for i, label in enumerate(labels.tolist()) if not 0 <= label < len(classes)]:
            problems.append(f"{len(wrong)} labels are not from 0 to {len(classes) - 1}: number {list_some(wrong)}")
        if problems:
            raise DataError(f"data.name={name!r}, {part}: {'; '.join(problems)}")
    rest, held, held_notes = hold_out(train[1], holdout, len(classes))
    if held is not None:
        val = train[0][held], train[1][held]
    train = train[0][rest], train[1][rest]
    kept, notes = limit_examples(train[1], limit, seed, len(classes))
    images, labels = train[0][kept], train[1][kept]
    given = images, val[0]
    images, val_images = (resized(part, image_size, knobs.resize) for part in given)
    hashes = ["" if new is old else hash_tensors(old) for new, old in zip((images, val_images), given, strict=True)]
    mean, std = knobs.statistics(channel_statistics(images, white))
    size = images.shape[-1]
    standard = None if knobs.augment == "none" else augment(size)
    each = EachImage(knobs, size, mean, white)
    check_augment(knobs.augment)
    return DatasetSpec(
        name=name,
        classes=classes,
        image_size=size,
        in_channels=images.shape[1],
        train=TensorSplit(images, labels, mean, std, white, standard, each, hashes[0]),
        val=TensorSplit(val_images, val[1], mean, std, white, original=hashes[1]),
        mean=mean,
        std=std,
        preprocessing=knobs.applied(size, mean, std, cropped=False),
        notes=held_notes + notes,
    )
