"""The bundled digits and the in-memory split."""

from __future__ import annotations

import torch

from nes_lab.datasets.digits import load_digits
from nes_lab.datasets.in_memory import TensorSplit, random_flip, random_shift


def test_split_is_stratified_disjoint_and_set_by_the_seed() -> None:
    spec = load_digits(seed=5)
    assert (len(spec.train), len(spec.val)) == (1437, 360)
    whole = torch.bincount(torch.cat([spec.train.labels, spec.val.labels]))
    shares = torch.bincount(spec.val.labels) / whole
    assert whole.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert shares.sub(0.2).abs().max() < 0.005  # one image of 174 is 0.0057
    rows = torch.cat([spec.train.images, spec.val.images]).flatten(1)
    again, other = load_digits(seed=5), load_digits(seed=6)
    assert spec.val.images.equal(again.val.images)
    assert not spec.val.labels.equal(other.val.labels)
    assert len(rows) == 1797
    assert rows.sum() == torch.cat([other.train.images, other.val.images]).sum()


def test_training_images_are_normalized() -> None:
    spec = load_digits()
    images = torch.cat([x for x, _ in TensorSplit(**_plain(spec.train)).eval_batches(512)])
    assert abs(float(images.mean())) < 1e-5  # float32 sums of 92,000 numbers
    assert abs(float(images.std(correction=0)) - 1) < 1e-5


def _plain(split: TensorSplit) -> dict:
    return {name: getattr(split, name) for name in ("images", "labels", "mean", "std", "white")}


def test_batches_repeat_for_the_same_key_and_resume_in_the_middle() -> None:
    split = load_digits(limit=200).train
    whole = list(split.train_batches(32, seed=1, epoch=3))
    rest = list(split.train_batches(32, seed=1, epoch=3, start=4))
    assert len(whole) == 6
    assert len(rest) == 2
    for (x, y), (x_again, y_again) in zip(whole[4:], rest, strict=True):
        assert x.equal(x_again)
        assert y.equal(y_again)
    assert not whole[0][0].equal(next(split.train_batches(32, seed=1, epoch=4))[0])


def test_eval_batches_cover_everything_once() -> None:
    val = load_digits().val
    assert torch.cat([y for _, y in val.eval_batches(100)]).equal(val.labels)


def test_limit_and_image_size() -> None:
    spec = load_digits(limit=50, image_size=16)
    assert (len(spec.train), len(spec.val)) == (50, 360)
    assert spec.input_shape == (1, 16, 16)
    assert next(spec.val.eval_batches(4))[0].shape == (4, 1, 16, 16)
    assert set(spec.train.labels.tolist()) == set(range(10))
    assert spec.notes == ("limited to 50 training images",)


def test_a_limit_says_what_it_really_does() -> None:
    """It spoke of limits that are above what there is, and not of classes that it left without an image."""
    assert load_digits(limit=5000).notes == ()
    assert load_digits(limit=4).notes == ("limited to 4 training images, with none of 6 of the 10 classes",)


def test_random_shift_moves_whole_images_by_whole_pixels() -> None:
    image = torch.zeros(64, 1, 5, 5, dtype=torch.uint8)
    image[:, 0, 2, 2] = 7
    moved = random_shift(image, torch.Generator().manual_seed(0), 1)
    assert moved.dtype == torch.uint8
    assert (moved.sum((1, 2, 3)) == 7).all()
    spots = {tuple(spot) for spot in moved[:, 0].nonzero()[:, 1:].tolist()}
    assert spots == {(row, column) for row in (1, 2, 3) for column in (1, 2, 3)}


def test_random_flip_mirrors_about_half() -> None:
    image = torch.tensor([1, 2, 3], dtype=torch.uint8).expand(400, 1, 1, 3)
    flipped = random_flip(image, torch.Generator().manual_seed(0))[:, 0, 0, 0] == 3
    assert 150 < int(flipped.sum()) < 250  # five standard deviations of 10 around 200
