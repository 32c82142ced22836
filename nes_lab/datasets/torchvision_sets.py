"""CIFAR-10 and Fashion-MNIST through torchvision; downloaded only when asked."""

from __future__ import annotations

import os
import pickle
import tarfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nes_lab.datasets.in_memory import (
    Augment,
    TensorSplit,
    channel_statistics,
    limited,
    random_flip,
    random_shift,
    resized,
)
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import DataError

__all__ = ["default_root", "load_cifar10", "load_fashion_mnist"]

# What torchvision lets through when files are absent, cut short or altered; URLError and BadGzipFile are OSErrors.
_READ_ERRORS = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    pickle.UnpicklingError,
    zlib.error,
    tarfile.TarError,
)


def default_root(name: str) -> Path:
    """Where a set lives unless told otherwise: ``$NES_LAB_HOME/<name>``, else ``data/<name>``."""
    return Path(os.environ.get("NES_LAB_HOME") or "data") / name


def _flip_and_shift(images: Tensor, generator: torch.Generator, pixels: int) -> Tensor:
    return random_shift(random_flip(images, generator), generator, pixels)


def _arrays(name: str, cls: Callable, root: Path, train: bool, download: bool) -> tuple[Tensor, Tensor, list[str]]:
    """Read one split, images as ``(N, C, H, W)`` uint8; say how to get the data when it is not there."""
    try:
        data = cls(root=str(root), train=train, download=download)
    except _READ_ERRORS as error:
        part = "train" if train else "test"
        if download:
            raise DataError(
                f"data.name={name!r}: the download of the {part} split to {str(root)!r} failed ({error}); check "
                "the network, or copy the files there by hand"
            ) from error
        raise DataError(
            f"data.name={name!r}: no intact {part} split in data.root={str(root)!r} ({error}); set data.download "
            "to true to fetch it, or point data.root at the folder that holds torchvision's files"
        ) from error
    images = torch.from_numpy(np.array(data.data))
    images = images.permute(0, 3, 1, 2).contiguous() if images.ndim == 4 else images[:, None]
    return images, torch.as_tensor(data.targets, dtype=torch.long), list(data.classes)


def _load(
    name: str,
    cls: Callable,
    augment: Callable[[int], Augment],
    root: Path | None,
    download: bool,
    image_size: int | None,
    limit: int | None,
    seed: int,
) -> DatasetSpec:
    folder = default_root(name) if root is None else Path(root)
    train_images, train_labels, classes = _arrays(name, cls, folder, True, download)
    val_images, val_labels, _ = _arrays(name, cls, folder, False, download)
    train_images, train_labels = limited(train_images, train_labels, limit, seed)
    train_images, val_images = resized(train_images, image_size), resized(val_images, image_size)
    mean, std = channel_statistics(train_images, 255.0)
    size = train_images.shape[-1]
    return DatasetSpec(
        name=name,
        classes=tuple(classes),
        image_size=size,
        in_channels=train_images.shape[1],
        train=TensorSplit(train_images, train_labels, mean, std, augment=augment(size)),
        val=TensorSplit(val_images, val_labels, mean, std),
        mean=mean,
        std=std,
        notes=() if limit is None else (f"limited to {limit} training images",),
    )


def load_cifar10(
    *,
    root: Path | None = None,
    download: bool = False,
    image_size: int | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> DatasetSpec:
    """Load CIFAR-10: 50,000 + 10,000 color images of 32x32 pixels; flipped and moved by up to 4 pixels in training.

    Args:
        root: Folder of torchvision's files; None means :func:`default_root`.
        download: Fetch them when absent.
        image_size: Resize to this square; None keeps 32.
        limit: At most this many training images, every class in proportion.
        seed: Decides which images a limit keeps.

    Raises:
        DataError: If the files are absent or damaged; says how to get them.
    """
    from torchvision.datasets import CIFAR10

    def augment(size: int) -> Augment:
        return partial(_flip_and_shift, pixels=max(1, size // 8))

    return _load("cifar10", CIFAR10, augment, root, download, image_size, limit, seed)


def load_fashion_mnist(
    *,
    root: Path | None = None,
    download: bool = False,
    image_size: int | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> DatasetSpec:
    """Load Fashion-MNIST: 60,000 + 10,000 grey images of 28x28 pixels; flipped and moved by up to 2 pixels in training.

    Args:
        root: Folder of torchvision's files; None means :func:`default_root`.
        download: Fetch them when absent.
        image_size: Resize to this square; None keeps 28.
        limit: At most this many training images, every class in proportion.
        seed: Decides which images a limit keeps.

    Raises:
        DataError: If the files are absent or damaged; says how to get them.
    """
    from torchvision.datasets import FashionMNIST

    def augment(size: int) -> Augment:
        return partial(_flip_and_shift, pixels=max(1, size // 14))

    return _load("fashion_mnist", FashionMNIST, augment, root, download, image_size, limit, seed)
