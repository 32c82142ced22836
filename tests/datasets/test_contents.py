"""The examples of every kind of split are identified: a change is seen, and another folder is none."""

import shutil

import pytest
import torch
from torch.utils.data import Subset, TensorDataset

from nes_lab.config import load_config
from nes_lab.datasets import contents
from nes_lab.datasets.as_dataset import as_dataset
from nes_lab.datasets.contents import contents_of, hash_source, hash_tensors
from nes_lab.datasets.registry import load_dataset
from tests.datasets.samples import make_shards, make_tree, save_image


def load(name, root, **options):
    return load_dataset(load_config({"data": {"name": name, "root": str(root), "image_size": 8, **options}}).data)


def test_hash_files_follows_the_folder_but_not_its_place(tmp_path):
    root = make_tree(tmp_path / "a", size=8)
    before = load("image_folder", root).identity
    moved = shutil.copytree(root, tmp_path / "b")
    assert load("image_folder", moved).identity == before
    save_image(moved / "train" / "cat" / "0.png", 77, size=9)  # another size
    changed = load("image_folder", moved).identity
    assert [name for name in before if changed[name] != before[name]] == ["content of the training split"]
    (moved / "val" / "dog" / "0.png").rename(moved / "val" / "dog" / "00.png")
    assert (
        load("image_folder", moved).identity["content of the validation split"]
        != before["content of the validation split"]
    )


def test_hash_files_sees_images_of_equal_size_that_were_exchanged(tmp_path):
    """Uncompressed images of one shape have equal sizes, so a few files are read too."""
    root = make_tree(tmp_path / "a", size=8)
    before = load("image_folder", root).identity
    for place, other in (("cat", "x"), ("dog", "cat"), ("x", "dog")):
        (root / "train" / place).rename(root / "train" / other)
    assert load("image_folder", root).identity != before


def test_members_of_archives_are_identified(tmp_path):
    tree = make_tree(tmp_path / "tree", size=8)
    before = load("image_shards", make_shards(tree, tmp_path / "a")).identity
    assert load("image_shards", make_shards(tree, tmp_path / "b")).identity == before
    save_image(tree / "train" / "cat" / "0.png", 77, size=9)
    assert load("image_shards", make_shards(tree, tmp_path / "c")).identity != before


def test_tensors_are_identified_before_they_are_resized(monkeypatch):
    digits = load_dataset(load_config({"data": {"limit": 32}}).data)
    larger = load_dataset(load_config({"data": {"limit": 32, "image_size": 16}}).data)
    assert larger.identity == digits.identity
    digits.train.images[3, 0, 4, 4] += 1
    assert contents_of(digits.train) != digits.identity["content of the training split"]
    monkeypatch.setattr(contents, "MOST_BYTES", 64)
    many = torch.arange(64)
    assert hash_tensors(many) == hash_tensors(many.clone()) != hash_tensors(many + 1)


@pytest.mark.parametrize("kind", ["tensors", "subset", "pairs", "data"])
def test_hash_source_sees_another_number(kind):
    def source(change):
        inputs, targets = torch.arange(8.0).reshape(4, 2), torch.arange(4)
        inputs[3] += change
        plain = TensorDataset(inputs, targets)
        if kind == "data":
            found = list(zip("abcd", range(4), strict=True))
            return type("Own", (list,), {"data": inputs.numpy()})(found)
        pairs = [(inputs[i], i) for i in range(4)]
        return {"tensors": plain, "subset": Subset(plain, [0, 2]), "pairs": pairs}[kind]

    assert hash_source(source(0)) == hash_source(source(0)) != hash_source(source(1))


def test_examples_that_cannot_be_identified_are_left_out():
    class Own:
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return torch.zeros(2), index

    assert list(as_dataset((Own(), Own())).identity) == [
        "training examples",
        "validation examples",
        "classes",
        "labels",
    ]
