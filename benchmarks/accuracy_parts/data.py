"""Load CIFAR-10 and ESC-10 from a shared folder, by the script ``data/load.py`` in that folder; nothing is copied.

A configuration names these functions as ``data.name``. The validation split is the test split, unless ``data.holdout`` holds out
training images.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.fit_parts.data import shared_reader
from nes_lab.datasets.in_memory import Augment, in_memory_spec, random_flip, random_shift
from nes_lab.datasets.spec import DatasetSpec

__all__ = ["cifar10"]


def cifar10(
    root: Path, limit: int | None = None, holdout: int | None = None, image_size: int | None = None, seed: int = 0
) -> DatasetSpec:
    """Load CIFAR-10. Training images are mirrored and shifted by up to an eighth of their side, as in ``data.name: cifar10``.

    Args:
        root: The shared folder.
        limit: Train on at most this many images.
        holdout: Number of training images that are held out for choices; None validates on the test images.
        image_size: Side of the images, in pixels; None keeps 32.
        seed: Chooses the images that ``limit`` keeps.
    """
    load = shared_reader(Path(root))
    parts = []
    for split in ("train", "test"):
        images, labels, names = load.cifar10(split)
        parts.append((torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels).long()))
    size = {"image_size": image_size, "limit": limit, "holdout": holdout, "seed": seed}
    return in_memory_spec("cifar10", tuple(names), *parts, augment=_augment, **size)


def _augment(size: int) -> Augment:
    return partial(_flip_and_shift, pixels=max(1, size // 8))


def _flip_and_shift(images: Tensor, generator: torch.Generator, pixels: int) -> Tensor:
    return random_shift(random_flip(images, generator), generator, pixels)
