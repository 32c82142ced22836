"""The bundled digits: 1,797 real handwritten digits of 8x8 pixels that come with scikit-learn; no download."""

from __future__ import annotations

import math
from functools import partial

import torch

from nes_lab.datasets.in_memory import Augment, in_memory_spec, random_shift
from nes_lab.datasets.knobs import STANDARD, ImageKnobs
from nes_lab.datasets.sampling import stratified_subset
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import DataError

__all__ = ["load_digits"]

_VAL_SHARE = 0.2
_WHITE = 16.0


def _raw() -> tuple[torch.Tensor, torch.Tensor]:
    try:
        from sklearn.datasets import load_digits as bundled
    except ImportError as error:
        raise DataError(
            "data.name='digits' needs scikit-learn, which carries the images: pip install 'nes-lab[train]'"
        ) from error
    bunch = bundled()
    return torch.from_numpy(bunch.images).to(torch.uint8)[:, None], torch.from_numpy(bunch.target).long()


def _shift(size: int) -> Augment:
    return partial(random_shift, pixels=max(1, size // 8))


def load_digits(
    *,
    image_size: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    knobs: ImageKnobs = STANDARD,
) -> DatasetSpec:
    """Load the digits, split 80/20 within every class by ``seed``: 1,437 to train, 360 to validate.

    Training images move by at most one pixel. Mean and standard deviation are those of the training split.

    Args:
        image_size: Resize to this square; None keeps 8.
        limit: At most this many training images, every class in proportion.
        seed: Decides the split.
        knobs: Augmentation, interpolation and normalization.

    Examples:
        >>> spec = load_digits()
        >>> len(spec.train), len(spec.val), spec.input_shape
        (1437, 360, (1, 8, 8))

    Source: scikit-learn's copy of the test part of "Optical Recognition of Handwritten Digits" (UCI, 1998).
    """
    images, labels = _raw()
    val = stratified_subset(labels, math.ceil(_VAL_SHARE * len(labels)), seed)
    is_val = torch.zeros(len(labels), dtype=torch.bool)
    is_val[val] = True
    return in_memory_spec(
        "digits",
        tuple(str(digit) for digit in range(10)),
        (images[~is_val], labels[~is_val]),
        (images[is_val], labels[is_val]),
        augment=_shift,
        knobs=knobs,
        white=_WHITE,
        image_size=image_size,
        limit=limit,
        seed=seed,
    )
