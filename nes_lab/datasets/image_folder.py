"""Any tree of images in ImageNet's layout: ``root/train/<class>/*`` and ``root/val/<class>/*``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from nes_lab.datasets.checks import check_images, check_same_classes, read_rgb, scan_split
from nes_lab.datasets.sampling import (
    Shard,
    batch_indices,
    check_shard,
    epoch_order,
    share_of,
    stratified_subset,
    stream_seed,
)
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import DataError

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "FolderSplit", "eval_transform", "load_image_folder", "train_transform"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_RESIZE_RATIO = 256 / 224
_DEFAULT_SIZE = 224

Key = tuple[int, int]
"""Position of an image and the seed of its augmentation."""


def _to_tensor() -> list[Any]:
    return [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]


def train_transform(image_size: int) -> Callable[[Image.Image], Tensor]:
    """Random-resized crop and mirror, as ImageNet networks are trained."""
    return v2.Compose([v2.RandomResizedCrop(image_size), v2.RandomHorizontalFlip(), *_to_tensor()])


def eval_transform(image_size: int) -> Callable[[Image.Image], Tensor]:
    """Resize the shorter side to ``image_size * 256 / 224``, then crop the center."""
    resize = v2.Resize(math.floor(image_size * _RESIZE_RATIO))
    return v2.Compose([resize, v2.CenterCrop(image_size), *_to_tensor()])


class _Images(Dataset):
    """Reads one image; its augmentation draws from a stream of its own, whichever worker reads it."""

    def __init__(self, paths: list[Path], labels: Tensor, transform: Callable[[Image.Image], Tensor]) -> None:
        self.paths, self.labels, self.transform = paths, labels, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor]:
        position, seed = key
        image = read_rgb(self.paths[position])
        before = torch.default_generator.get_state()
        torch.default_generator.manual_seed(seed)  # torchvision draws from the global generator only
        try:
            return self.transform(image), self.labels[position]
        finally:
            torch.default_generator.set_state(before)


class _Batches:
    """The batches a loader shall read next; set before each pass, so that the workers live on between epochs."""

    def __init__(self) -> None:
        self.batches: list[Tensor] = []
        self.key: tuple[int, ...] = ()

    def __iter__(self) -> Iterator[list[Key]]:
        for batch in self.batches:
            yield [(position, stream_seed(*self.key, position)) for position in batch.tolist()]

    def __len__(self) -> int:
        return len(self.batches)


@dataclass
class FolderSplit:
    """Images on disk, read by ``workers`` processes (0: by this one). The number of workers never changes a batch.

    Args:
        paths: One file per image.
        labels: ``(N,)``, int64.
        transform: PIL image to normalized tensor; random parts use torch's global generator, which is seeded for
            each image and put back afterwards.
        plain_transform: The same without randomness, for :meth:`eval_batches`.
        workers: Processes that read and transform.
    """

    paths: list[Path]
    labels: Tensor
    transform: Callable[[Image.Image], Tensor]
    plain_transform: Callable[[Image.Image], Tensor]
    workers: int = 0

    def __post_init__(self) -> None:
        self._loaders: dict[bool, DataLoader] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def train_batches(
        self, batch_size: int, seed: int, epoch: int, start: int = 0, shard: Shard = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield shuffled, augmented batches of one epoch, from batch number ``start`` on; see :class:`Split`."""
        batches = batch_indices(epoch_order(len(self), seed, epoch), batch_size, drop_last=True)[start:]
        return self._read([share_of(batch, shard) for batch in batches], (seed, epoch, 1), training=True)

    def eval_batches(self, batch_size: int, shard: Shard = (0, 1)) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every image once, in order, without augmentation; process ``rank`` every ``world``-th batch."""
        rank, world = check_shard(shard)
        batches = batch_indices(torch.arange(len(self)), batch_size, drop_last=False)
        return self._read(batches[rank::world], (), training=False)

    def _read(self, batches: list[Tensor], key: tuple[int, ...], training: bool) -> Iterator[tuple[Tensor, Tensor]]:
        loader = self._loader(training)
        sampler = loader.batch_sampler
        assert isinstance(sampler, _Batches)  # as _loader made it
        sampler.batches, sampler.key = batches, key
        try:
            yield from loader
        except DataError as error:  # a worker wraps its traceback around the message: the last line is what happened
            last = str(error).strip().splitlines()[-1]
            raise DataError(last.removeprefix("nes_lab.errors.DataError: ")) from error

    def _loader(self, training: bool) -> DataLoader:
        if training not in self._loaders:
            self._loaders[training] = DataLoader(
                _Images(self.paths, self.labels, self.transform if training else self.plain_transform),
                batch_sampler=_Batches(),  # type: ignore[arg-type]  # any iterable of lists serves
                num_workers=self.workers,
                persistent_workers=self.workers > 0 and training,
                pin_memory=torch.cuda.is_available(),
                generator=torch.Generator(),  # else every pass would draw from the global generator
            )
        return self._loaders[training]


def _split(files: dict[str, list[Path]], limit: int | None, seed: int, size: int, workers: int) -> FolderSplit:
    paths = [path for of_class in files.values() for path in of_class]
    labels = torch.tensor([label for label, of_class in enumerate(files.values()) for _ in of_class])
    if limit is not None and limit < len(paths):
        chosen = stratified_subset(labels, limit, seed)
        paths, labels = [paths[i] for i in chosen.tolist()], labels[chosen]
    return FolderSplit(paths, labels, train_transform(size), eval_transform(size), workers)


def load_image_folder(
    *,
    root: Path | None,
    image_size: int | None = None,
    limit: int | None = None,
    workers: int = 0,
    seed: int = 0,
) -> DatasetSpec:
    """Load ``root/{train,val}/<class>/*`` and check it before anything is trained.

    Both splits must be there, with the same classes and no class empty; images are decoded once (all of them up to
    5,000 a split, else an even sample) and the unreadable ones named. Grey images become RGB.

    Args:
        root: The folder that holds ``train`` and ``val``.
        image_size: Pixels the network sees; None means 224.
        limit: At most this many training images, every class in proportion.
        workers: Processes that read images.
        seed: Decides which images a limit keeps.

    Raises:
        DataError: Naming what is missing, empty, different or unreadable.
    """
    if root is None:
        raise DataError("data.name='image_folder' needs data.root: a folder that holds train/<class>/ and val/<class>/")
    root, size = Path(root), image_size or _DEFAULT_SIZE
    train_files, val_files = scan_split(root, "train"), scan_split(root, "val")
    check_same_classes(list(train_files), list(val_files), root)
    train = _split(train_files, limit, seed, size, workers)
    val = _split(val_files, None, seed, size, workers)
    notes = () if limit is None else (f"limited to {limit} training images",)
    for split in (train, val):
        checked = check_images(split.paths)
        if checked < len(split):
            notes += (f"{checked} of {len(split)} images were decoded before step 1",)
    return DatasetSpec(
        name="image_folder",
        classes=tuple(train_files),
        image_size=size,
        in_channels=3,
        train=train,
        val=val,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        notes=notes,
    )
