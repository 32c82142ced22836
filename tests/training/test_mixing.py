"""Mixup and CutMix."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from nes_lab.errors import OptionError
from nes_lab.training.hooks import Hooks
from nes_lab.training.mixing import Mixing
from nes_lab.training.recipe import Recipe
from tests.training.nets import trainer


def recipe(**changes) -> Recipe:
    return Recipe(**({"epochs": 4, "batch_size": 4, "lr": 0.1} | changes))


def test_mixing_agrees_with_a_computation_by_hand() -> None:
    mixing = Mixing(recipe(mixup=0.4, label_smoothing=0.1), classes=4)
    np.random.seed(0)
    images, labels = torch.rand(5, 1, 2, 2), torch.tensor([0, 1, 2, 3, 1])
    before = images.clone()
    mixed, shares = mixing(images, labels)
    assert images.equal(before)
    assert shares.sum(1).tolist() == pytest.approx([1.0] * 5)
    share = (shares[0, 0].item() - 0.025) / 0.9
    torch.testing.assert_close(mixed[0], share * images[0] + (1 - share) * images[3])
    assert mixed[4].equal(images[4])
    assert shares[4].tolist() == pytest.approx([0.025, 0.925, 0.025, 0.025])
    one = mixing(images[:1], labels[:1])
    assert one[0].equal(images[:1])
    with pytest.raises(OptionError, match="cutmix=1 cuts rectangles out of images; for inputs of shape"):
        Mixing(recipe(cutmix=1.0), classes=4)(torch.zeros(4, 1, 100), labels[:4])


def test_mixing_counts_the_larger_share_as_right() -> None:
    rows = []
    trainer(hooks=Hooks(metric=rows.append), mixup=0.2, label_smoothing=0.0, epochs=6).fit()
    train = [row for row in rows if row["split"] == "train"]
    assert train[-1]["top1"] > 30  # chance is 10
    assert all(math.isfinite(row["loss"]) for row in train)
