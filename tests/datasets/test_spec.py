"""Every kind of split obeys the protocol: several processes together get the batches that one would get."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nes_lab.datasets.audio_folder import load_audio_folder
from nes_lab.datasets.digits import load_digits
from nes_lab.datasets.image_folder import load_image_folder
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import OptionError
from tests.datasets.samples import make_sounds, make_tree, same


def digits(root: Path) -> DatasetSpec:
    return load_digits(limit=64)


def folder(root: Path) -> DatasetSpec:
    return load_image_folder(root=make_tree(root, train=7, val=3), image_size=16)


def sounds(root: Path) -> DatasetSpec:
    return load_audio_folder(root=make_sounds(root / "sounds", each=3, length=99), val_fold=3)


LOADERS = pytest.mark.parametrize("load", [digits, folder, sounds])


@LOADERS
@pytest.mark.parametrize("world", [2, 3])
def test_train_batches_of_all_ranks_are_those_of_one_process(
    tmp_path: Path, load: Callable[[Path], DatasetSpec], world: int
) -> None:
    train = load(tmp_path).train
    complete = list(train.train_batches(5, seed=3, epoch=2, start=1))
    parts = [list(train.train_batches(5, seed=3, epoch=2, start=1, shard=(rank, world))) for rank in range(world)]
    assert len(complete) > 0
    assert {len(part) for part in parts} == {len(complete)}
    for number, (images, labels) in enumerate(complete):
        for rank, part in enumerate(parts):
            assert part[number][0].equal(images[rank::world])
            assert part[number][1].equal(labels[rank::world])


@LOADERS
def test_eval_batches_of_all_ranks_cover_every_batch_once(tmp_path: Path, load: Callable[[Path], DatasetSpec]) -> None:
    val = load(tmp_path).val
    complete = list(val.eval_batches(4))
    for world in (2, len(complete) + 1):
        parts = [list(val.eval_batches(4, shard=(rank, world))) for rank in range(world)]
        assert sum(map(len, parts)) == len(complete)
        for number, batch in enumerate(complete):
            assert same([parts[number % world][number // world]], [batch])


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0)])
def test_batches_refuse_a_rank_that_does_not_exist(shard: tuple[int, int]) -> None:
    split = load_digits(limit=20)
    with pytest.raises(OptionError, match=r"shard=.*0 <= rank < world"):
        list(split.train.train_batches(5, seed=0, epoch=0, shard=shard))
    with pytest.raises(OptionError, match=r"shard=.*0 <= rank < world"):
        list(split.val.eval_batches(5, shard=shard))


def test_dataset_spec_says_what_an_example_is() -> None:
    spec = load_digits(limit=20)
    assert (spec.kind, spec.length, spec.input_shape) == ("image", None, (1, 8, 8))
    clip = DatasetSpec("a", ("x",), 0, 1, spec.train, spec.val, (0.0,), (1.0,), length=400)
    assert (clip.kind, clip.input_shape) == ("audio", (1, 400))
