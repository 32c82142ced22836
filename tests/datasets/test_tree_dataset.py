"""Images in files: a limit keeps every class; unreadable images are refused, or left out and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from nes_lab.datasets.image_folder import load_image_folder
from nes_lab.errors import DataError
from tests.datasets.samples import break_file, make_tree, save_image


def load(root: Path, **options):
    return load_image_folder(root=root, image_size=8, **options)


def test_tree_dataset_leaves_out_few_unreadable_images(large_tree: Path) -> None:
    break_file(large_tree / "train" / "cat" / "3.png")
    with pytest.raises(DataError, match=r"1 of 120 images checked cannot be read: .*cat/3\.png"):
        load(large_tree)
    spec = load(large_tree, skip_broken=0.01)
    assert len(spec.train) == 119
    assert spec.train.labels.tolist() == [0] * 59 + [1] * 60
    assert any("left out 1 unreadable images of train" in note and "cat/3.png" in note for note in spec.notes)
    break_file(large_tree / "train" / "dog" / "7.png")
    with pytest.raises(DataError, match=r"2 of 120 .*data.skip_broken=0.01 allows 1"):
        load(large_tree, skip_broken=0.01)


def test_tree_dataset_counts_images_that_break_early_and_late_together(tmp_path: Path) -> None:
    make_tree(tmp_path, train=100, val=1, size=4)
    break_file(tmp_path / "train" / "cat" / "3.png")
    assert load_image_folder(root=tmp_path, image_size=8, skip_broken=0.01).train.max_replaced == 1  # of 2 in 200
    break_file(tmp_path / "train" / "dog" / "3.png")
    assert load_image_folder(root=tmp_path, image_size=8, skip_broken=0.01).train.max_replaced == 0


def test_tree_dataset_refuses_a_class_without_readable_images(tmp_path: Path) -> None:
    make_tree(tmp_path, train=120, names=("cat", "dog"), size=4)
    for path in sorted((tmp_path / "train" / "dog").iterdir())[1:]:
        path.unlink()
    break_file(tmp_path / "train" / "dog" / "0.png")
    with pytest.raises(DataError, match=r"no image of dog can be read in train"):
        load(tmp_path, skip_broken=0.01)


def test_tree_dataset_limit_keeps_classes(tree: Path) -> None:
    spec = load_image_folder(root=tree, image_size=16, limit=2)
    assert spec.train.labels.tolist() == [0, 1]
    assert len(spec.val) == 4


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_tree_dataset_names_an_unreadable_image(tree: Path, damage: str) -> None:
    broken = save_image(tree / "train" / "cat" / "broken.jpg", size=64)
    content = {"truncated": broken.read_bytes()[:-900], "empty": b"", "text": b"not pixels"}[damage]
    broken.write_bytes(content)
    with pytest.raises(DataError, match=r"1 of 9 images.*broken\.jpg"):
        load_image_folder(root=tree)
