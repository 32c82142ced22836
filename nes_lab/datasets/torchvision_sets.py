"""CIFAR-10, CIFAR-100 and Fashion-MNIST through torchvision; downloaded only when asked."""

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

from nes_lab.datasets.in_memory import Augment, in_memory_spec, random_flip, random_shift
from nes_lab.datasets.knobs import STANDARD, ImageKnobs
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import DataError, check_choice

__all__ = ["READ_ERRORS", "TORCHVISION_SETS", "default_root", "load_torchvision_set", "raw_splits"]

# What torchvision lets through when files are absent, cut short or altered; URLError and BadGzipFile are OSErrors.
READ_ERRORS = (
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


def _augment(size: int, share: int) -> Augment:
    return partial(_flip_and_shift, pixels=max(1, size // share))


TORCHVISION_SETS = {"cifar10": ("CIFAR10", 8), "cifar100": ("CIFAR100", 8), "fashion_mnist": ("FashionMNIST", 14)}
"""Name -> torchvision's class, and which part of the side an image is moved by."""


def _arrays(name: str, cls: Callable, root: Path, train: bool, download: bool) -> tuple[Tensor, Tensor, list[str]]:
    """Read one split, images as ``(N, C, H, W)`` uint8; say how to get the data when it is not there."""
    try:
        data = cls(root=str(root), train=train, download=download)
    except READ_ERRORS as error:
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


def raw_splits(
    name: str, root: Path | None = None, download: bool = False
) -> tuple[tuple[str, ...], tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Read class names, training and test split as they are: images ``(N, C, H, W)`` uint8, and labels.

    Args:
        name: One of :data:`TORCHVISION_SETS`.
        root: Folder of torchvision's files; None means :func:`default_root`.
        download: Fetch them when absent.

    Raises:
        DataError: If the files are absent or damaged; says how to get them.
    """
    import torchvision.datasets

    cls = getattr(torchvision.datasets, TORCHVISION_SETS[check_choice("data.name", name, TORCHVISION_SETS)][0])
    folder = default_root(name) if root is None else Path(root)
    train, labels, classes = _arrays(name, cls, folder, True, download)
    val, val_labels, _ = _arrays(name, cls, folder, False, download)
    for part, found in (("train", labels), ("test", val_labels)):
        _check_labels(name, part, found, len(classes))
    return tuple(classes), (train, labels), (val, val_labels)


def _check_labels(name: str, part: str, labels: Tensor, classes: int) -> None:
    if len(labels) == 0:
        raise DataError(f"data.name={name!r}: the {part} split is empty")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"data.name={name!r}: labels of the {part} split run from {int(labels.min())} to {int(labels.max())}; with "
            f"{classes} classes they should be 0 to {classes - 1}"
        )


def load_torchvision_set(
    name: str,
    *,
    root: Path | None = None,
    download: bool = False,
    image_size: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    knobs: ImageKnobs = STANDARD,
) -> DatasetSpec:
    """Load CIFAR-10 or -100 (50,000 + 10,000 of 32x32 pixels) or Fashion-MNIST (60,000 + 10,000 of 28x28).

    Training images are mirrored and moved, by up to 4 pixels in the first two and 2 in the third.

    Args:
        name: ``cifar10``, ``cifar100`` or ``fashion_mnist``.
        root: Folder of torchvision's files; None means :func:`default_root`.
        download: Fetch them when absent.
        image_size: Resize to this square; None keeps the size.
        limit: At most this many training images, every class in proportion.
        seed: Decides which images a limit keeps.
        knobs: Augmentation, interpolation and normalization.

    Raises:
        DataError: If the files are absent or damaged; says how to get them.
    """
    classes, train, val = raw_splits(name, root, download)
    return in_memory_spec(
        name,
        classes,
        train,
        val,
        augment=partial(_augment, share=TORCHVISION_SETS[name][1]),
        knobs=knobs,
        image_size=image_size,
        limit=limit,
        seed=seed,
    )
