"""Load the data set ``digits``: 1,797 handwritten digits of 8x8 pixels that come with scikit-learn, without a download."""

from __future__ import annotations

import math
from functools import partial
from typing import Unpack

import torch
from torch import Tensor

from nes_lab.datasets.check.listing import SPLITS, DatasetFiles, SplitFiles
from nes_lab.datasets.in_memory import Augment, in_memory_spec, random_shift
from nes_lab.datasets.knobs import ImageOptions
from nes_lab.datasets.sampling import stratified_subset
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.packages import needed_for

__all__ = ["list_digits", "load_digits"]

_CLASSES = tuple(str(digit) for digit in range(10))
_VAL_SHARE = 0.2
_WHITE = 16.0


def _raw() -> tuple[Tensor, Tensor]:
    with needed_for("data.name='digits'"):
        from sklearn.datasets import load_digits as bundled
    bunch = bundled()
    return torch.from_numpy(bunch.images).to(torch.uint8)[:, None], torch.from_numpy(bunch.target).long()


def _shift(size: int) -> Augment:
    return partial(random_shift, pixels=max(1, size // 8))


def load_digits(**options: Unpack[ImageOptions]) -> DatasetSpec:
    """Load scikit-learn's handwritten digits: 1,437 training and 360 validation images, split at random by ``seed``.

    Of every class, 80 % of the images are for training and 20 % for validation. Training images are
    shifted by up to one pixel. Images are normalized with the mean and standard deviation of the training split.

    Args:
        options: Side of the images (``image_size``), number of training images (``limit``), ``seed``, and augmentation
            (``knobs``), as in :class:`~nes_lab.datasets.knobs.ImageOptions`.

    Examples:
        >>> spec = load_digits()
        >>> len(spec.train), len(spec.val), spec.input_shape
        (1437, 360, (1, 8, 8))

    Source: scikit-learn's copy of the test part of "Optical Recognition of Handwritten Digits" (UCI, 1998).
    """
    train, val = _splits(options.get("seed", 0))
    return in_memory_spec("digits", _CLASSES, train, val, augment=_shift, white=_WHITE, **options)


def list_digits() -> DatasetFiles:
    """Return scikit-learn's handwritten digits for a check. Seed 0 chooses the validation images."""
    splits = {
        split: SplitFiles(images.numpy(), labels.tolist(), _WHITE)
        for split, (images, labels) in zip(SPLITS, _splits(0), strict=True)
    }
    notes = ("split 80/20 by the run's seed; seed 0 is shown",)
    return DatasetFiles("digits", None, "image", _CLASSES, splits, notes=notes)


def _splits(seed: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    images, labels = _raw()
    is_val = torch.zeros(len(labels), dtype=torch.bool)
    is_val[stratified_subset(labels, math.ceil(_VAL_SHARE * len(labels)), seed)] = True
    return (images[~is_val], labels[~is_val]), (images[is_val], labels[is_val])
