"""Splits in memory: batches repeat and resume; images are shifted and mirrored."""

from __future__ import annotations

import torch

from nes_lab.datasets.digits import load_digits
from nes_lab.datasets.in_memory import random_flip, random_shift


def test_tensor_split_batches_repeat_and_resume() -> None:
    split = load_digits(limit=200).train
    complete = list(split.train_batches(32, seed=1, epoch=3))
    rest = list(split.train_batches(32, seed=1, epoch=3, start=4))
    assert len(complete) == 6
    assert len(rest) == 2
    for (x, y), (x_again, y_again) in zip(complete[4:], rest, strict=True):
        assert x.equal(x_again)
        assert y.equal(y_again)
    assert not complete[0][0].equal(next(split.train_batches(32, seed=1, epoch=4))[0])


def test_tensor_split_evaluates_every_image_once() -> None:
    val = load_digits().val
    assert torch.cat([y for _, y in val.eval_batches(100)]).equal(val.labels)


def test_random_shift_moves_images_by_whole_pixels() -> None:
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
