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
from nes_lab.datasets.audio_folder import ClipSplit
from nes_lab.datasets.in_memory import Augment, in_memory_spec, random_flip, random_shift
from nes_lab.datasets.sampling import hold_out
from nes_lab.datasets.spec import DatasetSpec

__all__ = ["cifar10", "esc10"]

TEST_FOLD = 5


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


def esc10(root: Path, holdout: int | None = None, samples: int | None = None) -> DatasetSpec:
    """Load ESC-10: 400 sounds of ten classes at 8,000 samples per second. Fold 5 is for testing, the other folds are for training.

    Args:
        root: The shared folder.
        holdout: Number of training sounds that are held out for choices; None validates on fold 5.
        samples: Samples of a clip that the network gets; None keeps all 40,000.
    """
    waves, labels, folds, names = shared_reader(Path(root)).esc10()
    clips, targets = torch.from_numpy(waves)[:, :samples], torch.from_numpy(labels).long()
    is_test = torch.from_numpy(folds == TEST_FOLD)
    train, test = (clips[~is_test], targets[~is_test]), (clips[is_test], targets[is_test])
    rest, held, notes = hold_out(train[1], holdout, len(names), "training clips")
    val = test if held is None else (train[0][held], train[1][held])
    return DatasetSpec(
        name="esc10",
        classes=tuple(names),
        image_size=0,
        in_channels=1,
        train=ClipSplit(train[0][rest], train[1][rest], augment=True),
        val=ClipSplit(*val),
        mean=(0.0,),
        std=(1.0,),
        notes=notes,
        length=clips.shape[-1],
    )
