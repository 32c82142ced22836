"""Batches of images in files: the same with any number of workers, also when an image breaks during training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nes_lab.datasets.image_folder import load_image_folder
from nes_lab.datasets.images import read_rgb
from nes_lab.errors import DataError
from tests.datasets.samples import batches, break_file, same


def load(root: Path, **options):
    return load_image_folder(root=root, image_size=8, **options)


@pytest.mark.parametrize("number", [0, 59])
def test_file_split_replaces_an_image_that_breaks_later(large_tree: Path, number: int) -> None:
    """The replacement depends on the files alone: not on workers, order or where the run resumed."""
    without_workers, untouched = load(large_tree, skip_broken=0.01), load(large_tree)
    with_workers = load(large_tree, skip_broken=0.01, workers=2)
    order = sorted((large_tree / "train" / "dog").iterdir())
    gone = order[number]  # after the last image of a class comes the first again
    shown = untouched.train.plain_transform(read_rgb(order[(number + 1) % 60]))
    before = batches(without_workers.train, size=8)
    assert same(before, batches(untouched.train, size=8))
    break_file(gone)
    for spec in (without_workers, with_workers):
        with pytest.warns(
            UserWarning,
            match=rf"dog/{gone.name}' cannot be read; the next image of its class is used instead \(1 so far\)",
        ):
            after = batches(spec.train, size=8)
        differ = [
            (x != x_before).flatten(1).any(1).sum().item() for (x, _), (x_before, _) in zip(after, before, strict=True)
        ]
        assert sorted(differ) == [0] * 14 + [1]
        assert torch.cat([y for _, y in after]).equal(torch.cat([y for _, y in before]))
        assert spec.train.replaced == {spec.train.items.index(gone)}
        assert same(batches(spec.train, size=8, start=differ.index(1)), after[differ.index(1) :])
    assert same(batches(without_workers.train), batches(with_workers.train))
    served = torch.cat([images for images, _ in without_workers.train.eval_batches(50)])
    assert served[without_workers.train.items.index(gone)].equal(shown)
    with pytest.raises(DataError, match=rf"dog/{gone.name}' .*cannot be read"):
        batches(untouched.train)


def test_file_split_refuses_more_broken_images_than_allowed(large_tree: Path) -> None:
    train = load(large_tree, skip_broken=0.01).train
    for name in ("1.png", "2.png"):
        break_file(large_tree / "train" / "cat" / name)
    with (
        pytest.warns(UserWarning, match="used instead"),
        pytest.raises(DataError, match=r"more are broken than data.skip_broken allows"),
    ):
        batches(train)


def test_file_split_batches_depend_on_no_worker_position_or_generator(tree: Path) -> None:
    without_workers = load_image_folder(root=tree, image_size=16).train
    with_workers = load_image_folder(root=tree, image_size=16, workers=1).train
    before = torch.get_rng_state()
    complete = list(without_workers.train_batches(4, seed=0, epoch=1))
    assert torch.get_rng_state().equal(before)
    torch.rand(3)
    rest = list(with_workers.train_batches(4, seed=0, epoch=1, start=1))
    assert len(complete) == 2
    assert len(rest) == 1
    assert complete[1][0].equal(rest[0][0])
    assert complete[1][1].equal(rest[0][1])
    assert not complete[0][0].equal(next(without_workers.train_batches(4, seed=0, epoch=2))[0])


@pytest.mark.parametrize("workers", [0, 1])
def test_file_split_names_an_image_broken_after_the_check(tree: Path, workers: int) -> None:
    split = load_image_folder(root=tree, image_size=16, workers=workers).train
    (tree / "train" / "dog" / "2.png").write_bytes(b"gone")
    with pytest.raises(DataError, match=r"^image '.*dog/2\.png' \(not an image\) cannot be read"):
        list(split.train_batches(4, seed=0, epoch=0))
