"""The digits that come with scikit-learn."""

from __future__ import annotations

import torch

from nes_lab.datasets.digits import load_digits
from nes_lab.datasets.in_memory import TensorSplit


def test_load_digits_splits_within_classes_by_seed() -> None:
    spec = load_digits(seed=5)
    assert (len(spec.train), len(spec.val)) == (1437, 360)
    complete = torch.bincount(torch.cat([spec.train.labels, spec.val.labels]))
    shares = torch.bincount(spec.val.labels) / complete
    assert complete.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert shares.sub(0.2).abs().max() < 0.005  # one image of 174 is 0.0057
    rows = torch.cat([spec.train.images, spec.val.images]).flatten(1)
    again, other = load_digits(seed=5), load_digits(seed=6)
    assert spec.val.images.equal(again.val.images)
    assert not spec.val.labels.equal(other.val.labels)
    assert len(rows) == 1797
    assert rows.sum() == torch.cat([other.train.images, other.val.images]).sum()


def test_load_digits_normalizes_training_images() -> None:
    spec = load_digits()
    images = torch.cat([x for x, _ in TensorSplit(**_plain(spec.train)).eval_batches(512)])
    assert abs(float(images.mean())) < 1e-5  # float32 sums of 92,000 numbers
    assert abs(float(images.std(correction=0)) - 1) < 1e-5


def _plain(split: TensorSplit) -> dict:
    return {name: getattr(split, name) for name in ("images", "labels", "mean", "std", "white")}


def test_load_digits_with_limit_and_image_size() -> None:
    spec = load_digits(limit=50, image_size=16)
    assert (len(spec.train), len(spec.val)) == (50, 360)
    assert spec.input_shape == (1, 16, 16)
    assert next(spec.val.eval_batches(4))[0].shape == (4, 1, 16, 16)
    assert set(spec.train.labels.tolist()) == set(range(10))
    assert spec.notes == ("limited to 50 training images",)
