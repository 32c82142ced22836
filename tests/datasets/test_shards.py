"""Several processes together get what one would: the same batches, the same augmentation, every image once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from nes_lab.datasets.digits import load_digits
from nes_lab.datasets.image_folder import load_image_folder
from nes_lab.datasets.sampling import share_of
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import DataError, OptionError


def folder(root: Path) -> DatasetSpec:
    for split, count in (("train", 7), ("val", 3)):
        for label, name in enumerate(("cat", "dog")):
            for i in range(count):
                path = root / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.random.default_rng(10 * label + i).integers(0, 255, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path)
    return load_image_folder(root=root, image_size=16)


def digits(root: Path) -> DatasetSpec:
    return load_digits(limit=64)


MAKERS = pytest.mark.parametrize("make", [digits, folder])


@MAKERS
@pytest.mark.parametrize("world", [2, 3])
def test_ranks_together_train_on_the_batches_of_one_process(
    tmp_path: Path, make: Callable[[Path], DatasetSpec], world: int
) -> None:
    train = make(tmp_path).train
    whole = list(train.train_batches(5, seed=3, epoch=2, start=1))
    parts = [list(train.train_batches(5, seed=3, epoch=2, start=1, shard=(rank, world))) for rank in range(world)]
    assert len(whole) > 0
    assert {len(part) for part in parts} == {len(whole)}
    for number, (images, labels) in enumerate(whole):
        for rank, part in enumerate(parts):
            assert part[number][0].equal(images[rank::world])
            assert part[number][1].equal(labels[rank::world])


@MAKERS
def test_ranks_together_evaluate_every_batch_once(tmp_path: Path, make: Callable[[Path], DatasetSpec]) -> None:
    val = make(tmp_path).val
    whole = list(val.eval_batches(4))
    for world in (2, len(whole) + 1):
        parts = [list(val.eval_batches(4, shard=(rank, world))) for rank in range(world)]
        assert sum(map(len, parts)) == len(whole)
        for number, batch in enumerate(whole):
            assert same(parts[number % world][number // world], batch)


def same(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    return one[0].equal(other[0]) and one[1].equal(other[1])


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0)])
def test_a_rank_that_does_not_exist_is_refused(shard: tuple[int, int]) -> None:
    split = load_digits(limit=20)
    with pytest.raises(OptionError, match=r"shard=.*0 <= rank < world"):
        list(split.train.train_batches(5, seed=0, epoch=0, shard=shard))
    with pytest.raises(OptionError, match=r"shard=.*0 <= rank < world"):
        list(split.val.eval_batches(5, shard=shard))


def test_a_batch_smaller_than_the_number_of_processes_is_refused() -> None:
    with pytest.raises(DataError, match=r"batch of 2 images cannot be shared among 3 processes"):
        share_of(torch.arange(2), (0, 3))


def test_spec_says_what_an_example_is() -> None:
    spec = load_digits(limit=20)
    assert (spec.kind, spec.length, spec.input_shape) == ("image", None, (1, 8, 8))
    clip = DatasetSpec("a", ("x",), 0, 1, spec.train, spec.val, (0.0,), (1.0,), length=400)
    assert (clip.kind, clip.input_shape) == ("audio", (1, 400))
