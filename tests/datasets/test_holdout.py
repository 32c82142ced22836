"""Held-out training images: never trained on, validated on instead of the validation split, and the same for every seed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nes_lab.config import DataConfig
from nes_lab.datasets.digits import load_digits
from nes_lab.datasets.in_memory import in_memory_spec, random_flip
from nes_lab.datasets.registry import load_dataset
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import DataError
from tests.datasets.samples import make_sounds, make_tree


def numbered(holdout: int | None, seed: int = 0, limit: int | None = None) -> DatasetSpec:
    """Make a data set of 40 training images in 4 classes, in which the top left pixel is the number of the image."""
    images = torch.zeros(40, 1, 4, 4, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(40)
    labels = torch.arange(40) % 4
    val = torch.full((8, 1, 4, 4), 99, dtype=torch.uint8), torch.arange(8) % 4
    return in_memory_spec(
        "numbered", tuple("abcd"), (images, labels), val, augment=lambda size: random_flip, holdout=holdout, limit=limit, seed=seed
    )  # fmt: skip


def numbers(split: object) -> set[int]:
    return set(split.images[:, 0, 0, 0].tolist())  # type: ignore[attr-defined]


def test_held_out_images_are_validated_on_and_not_trained_on() -> None:
    spec = numbered(holdout=12)
    assert numbers(spec.train) | numbers(spec.val) == set(range(40))
    assert not numbers(spec.train) & numbers(spec.val)
    assert torch.bincount(spec.val.labels).tolist() == [3, 3, 3, 3]
    assert "12 held-out training images" in spec.notes[0]


def test_every_seed_holds_out_the_same_images_and_the_limit_counts_the_others() -> None:
    first, second = numbered(12, seed=0, limit=8), numbered(12, seed=1, limit=8)
    assert numbers(first.val) == numbers(second.val)
    assert numbers(first.train) != numbers(second.train)
    assert len(first.train) == 8 and not numbers(first.train) & numbers(first.val)


def test_without_holdout_the_validation_split_is_used() -> None:
    assert numbers(numbered(None).val) == {99}


@pytest.mark.parametrize("holdout", [37, 40, 1000])
def test_too_many_held_out_images_are_refused(holdout: int) -> None:
    with pytest.raises(DataError, match=rf"data.holdout={holdout} of 40 training images .* at most 36"):
        numbered(holdout)


def test_images_in_folders_are_held_out(tmp_path: Path) -> None:
    config = DataConfig(name="image_folder", root=make_tree(tmp_path / "images", train=6), image_size=16)
    whole = load_dataset(config)
    held = load_dataset(config.model_copy(update={"holdout": 4}))
    assert len(held.train) == len(whole.train) - 4 and len(held.val) == 4
    train, val = ({str(item) for item in split.items} for split in (held.train, held.val))  # type: ignore[attr-defined]
    assert train | val == {str(item) for item in whole.train.items}  # type: ignore[attr-defined]


def test_sounds_are_held_out(tmp_path: Path) -> None:
    config = DataConfig(name="audio_folder", root=make_sounds(tmp_path / "sounds", each=3), val_fold=3, samples=64)
    whole, held = load_dataset(config), load_dataset(config.model_copy(update={"holdout": 2}))
    assert len(held.train) == len(whole.train) - 2 and len(held.val) == 2


def test_digits_take_the_field() -> None:
    assert len(load_digits(holdout=100).val) == 100
