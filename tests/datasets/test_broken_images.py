"""Unreadable images: refused, or left out and replaced when that was asked for; always counted and named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nes_lab.datasets.image_folder import load_image_folder
from nes_lab.datasets.images import read_rgb
from nes_lab.errors import DataError
from tests.datasets.samples import batches, make_tree, same


def load(root: Path, **options):
    return load_image_folder(root=root, image_size=8, **options)


def broken(path: Path) -> Path:
    path.write_bytes(b"gone")
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path, train=60, val=52, size=9)


def test_few_enough_are_left_out_counted_and_named(tree: Path) -> None:
    broken(tree / "train" / "cat" / "3.png")
    with pytest.raises(DataError, match=r"1 of 120 images checked cannot be read: .*cat/3\.png"):
        load(tree)
    spec = load(tree, skip_broken=0.01)
    assert len(spec.train) == 119
    assert spec.train.labels.tolist() == [0] * 59 + [1] * 60
    assert any("left out 1 unreadable images of train" in note and "cat/3.png" in note for note in spec.notes)
    broken(tree / "train" / "dog" / "7.png")
    with pytest.raises(DataError, match=r"2 of 120 .*data.skip_broken=0.01 allows 1"):
        load(tree, skip_broken=0.01)


@pytest.mark.parametrize("number", [0, 59])
def test_one_that_breaks_later_is_replaced_by_the_next_of_its_class(tree: Path, number: int) -> None:
    """What is shown instead depends on the files alone: not on workers, order or where the run resumed."""
    alone, helped, untouched = load(tree, skip_broken=0.01), load(tree, skip_broken=0.01, workers=2), load(tree)
    order = sorted((tree / "train" / "dog").iterdir())
    gone = order[number]  # after the last of its class comes the first again
    shown = load(tree).train.plain_transform(read_rgb(order[(number + 1) % 60]))
    before = batches(alone.train, size=1)
    assert same(before, batches(untouched.train, size=1))
    broken(gone)
    for spec in (alone, helped):
        with pytest.warns(
            UserWarning, match=rf"dog/{gone.name}' cannot be read; the next of its class is shown instead \(1 so far\)"
        ):
            after = batches(spec.train, size=1)
        differ = [k for k, (x, y) in enumerate(after) if not x.equal(before[k][0])]
        assert len(differ) == 1
        assert [y for _, y in after] == [y for _, y in before]
        assert spec.train.replaced == {spec.train.items.index(gone)}
        again = batches(spec.train, size=1, start=differ[0])
        assert same(again, after[differ[0] :])
    assert same(batches(alone.train), batches(helped.train))
    served = torch.cat([images for images, _ in alone.train.eval_batches(50)])
    assert served[alone.train.items.index(gone)].equal(shown)
    with pytest.raises(DataError, match=rf"dog/{gone.name}' .*cannot be read"):
        batches(untouched.train)


def test_more_than_the_share_is_an_error_in_training(tree: Path) -> None:
    train = load(tree, skip_broken=0.01).train
    for name in ("1.png", "2.png"):
        broken(tree / "train" / "cat" / name)
    with (
        pytest.warns(UserWarning, match="shown instead"),
        pytest.raises(DataError, match=r"more are broken than data.skip_broken allows"),
    ):
        batches(train)


def test_a_class_that_is_lost_altogether_is_an_error(tmp_path: Path) -> None:
    make_tree(tmp_path, train=120, names=("cat", "dog"), size=4)
    for path in sorted((tmp_path / "train" / "dog").iterdir())[1:]:
        path.unlink()
    broken(tmp_path / "train" / "dog" / "0.png")
    with pytest.raises(DataError, match=r"no image of dog can be read in train"):
        load(tmp_path, skip_broken=0.01)
