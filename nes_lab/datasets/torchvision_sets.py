"""Load the data sets ``cifar10``, ``cifar100`` and ``fashion_mnist`` with torchvision, downloaded only on request."""

from __future__ import annotations

import pickle
import tarfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from nes_lab.datasets.check.listing import SPLITS, DatasetFiles, SplitFiles, collect_error
from nes_lab.datasets.in_memory import Augment, in_memory_spec, random_flip, random_shift
from nes_lab.datasets.knobs import ImageOptions
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import DataError, check_choice
from nes_lab.packages import needed_for
from nes_lab.records.dataset_facts import default_data_root

__all__ = ["TORCHVISION_ERRORS", "TORCHVISION_SETS", "list_torchvision_set", "load_torchvision_set", "raw_splits"]

TORCHVISION_ERRORS = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    pickle.UnpicklingError,
    zlib.error,
    tarfile.TarError,
)
"""Errors that torchvision raises when files are absent, cut short or altered, or a download fails (URLError is an OSError)."""


def _flip_and_shift(images: Tensor, generator: torch.Generator, pixels: int) -> Tensor:
    return random_shift(random_flip(images, generator), generator, pixels)


def _augment(size: int, share: int) -> Augment:
    return partial(_flip_and_shift, pixels=max(1, size // share))


TORCHVISION_SETS = {"cifar10": ("CIFAR10", 8), "cifar100": ("CIFAR100", 8), "fashion_mnist": ("FashionMNIST", 14)}
"""Name -> torchvision's class, and a number ``n``: training shifts images by up to 1/n of their side."""


def _arrays(name: str, cls: Callable, root: Path, train: bool, download: bool) -> tuple[Tensor, Tensor, list[str]]:
    """Read one split with torchvision. The error for missing or damaged files says how to get them.

    Returns:
        The images ``(N, C, H, W)``, uint8, the labels, and the class names.
    """
    try:
        data = cls(root=str(root), train=train, download=download)
    except TORCHVISION_ERRORS as error:
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
    """Read a data set of torchvision: its class names, its training split and its test split.

    Args:
        name: ``cifar10``, ``cifar100`` or ``fashion_mnist``.
        root: Folder of torchvision's files; None means ``$NES_LAB_HOME/<name>`` or ``data/<name>``.
        download: Download the files if they are absent.

    Returns:
        The class names, the training split and the test split. Each split is a pair: uint8 images ``(N, C, H, W)`` and labels.

    Raises:
        DataError: If the files are absent or damaged; the message says how to get them.
    """
    with needed_for("this data set"):
        import torchvision.datasets

    cls = getattr(torchvision.datasets, TORCHVISION_SETS[check_choice("data.name", name, TORCHVISION_SETS)][0])
    folder = default_data_root(name) if root is None else Path(root)
    train, labels, classes = _arrays(name, cls, folder, True, download)
    val, val_labels, _ = _arrays(name, cls, folder, False, download)
    for part, part_labels in (("train", labels), ("test", val_labels)):
        _check_labels(name, part, part_labels, len(classes))
    return tuple(classes), (train, labels), (val, val_labels)


def _check_labels(name: str, part: str, labels: Tensor, classes: int) -> None:
    if len(labels) == 0:
        raise DataError(f"data.name={name!r}: the {part} split is empty")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"data.name={name!r}: labels of the {part} split run from {int(labels.min())} to {int(labels.max())}; with "
            f"{classes} classes they should be 0 to {classes - 1}"
        )


def list_torchvision_set(name: str, root: Path) -> DatasetFiles:
    """Read a data set of torchvision from the folder ``root``, to check it. If reading fails, the error is reported."""
    problems: list[str] = []
    read = collect_error(problems, raw_splits, name, root)
    if read is None:
        return DatasetFiles(name, root, problems=tuple(problems))
    classes, *pairs = read
    splits = {split: SplitFiles(x.numpy(), y.tolist()) for split, (x, y) in zip(SPLITS, pairs, strict=True)}
    return DatasetFiles(name, root, "image", classes, splits)


def load_torchvision_set(
    name: str, *, root: Path | None = None, download: bool = False, **options: Unpack[ImageOptions]
) -> DatasetSpec:
    """Load CIFAR-10, CIFAR-100 or Fashion-MNIST with torchvision.

    CIFAR has 50,000 training and 10,000 validation images of 32x32 pixels. Fashion-MNIST has 60,000 and 10,000 images of
    28x28 pixels. Training images are mirrored and shifted at random. The shift is at most 4 pixels in CIFAR and 2 in
    Fashion-MNIST.

    Args:
        name: ``cifar10``, ``cifar100`` or ``fashion_mnist``.
        root: Folder of torchvision's files; None means ``$NES_LAB_HOME/<name>`` or ``data/<name>``.
        download: Download the files if they are absent.
        options: Side of the images (``image_size``), number of training images (``limit``), ``seed``, and augmentation
            (``knobs``), as in :class:`~nes_lab.datasets.knobs.ImageOptions`.

    Raises:
        DataError: If the files are absent or damaged; the message says how to get them.
    """
    classes, train, val = raw_splits(name, root, download)
    augment = partial(_augment, share=TORCHVISION_SETS[name][1])
    return in_memory_spec(name, classes, train, val, augment=augment, **options)
