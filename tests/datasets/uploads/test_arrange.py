"""Class folders and splits are found below whatever lies around them."""

from __future__ import annotations

import pytest

from nes_lab.datasets.uploads.arrange import arrange
from nes_lab.errors import DataError


def entries(*paths):
    return [(tuple(path.split("/")), path) for path in paths]


def arranged(*paths, **options):
    found, notes = arrange(entries(*paths), **options)
    return {"/".join(parts): path for parts, path in found}, " ".join(notes)


SPLIT = ("train/cat/1.png", "train/dog/1.png")


@pytest.mark.parametrize("prefix", ["", "pets/", "a/b/pets/"])
def test_given_splits_are_kept(prefix):
    found, notes = arranged(*(prefix + path for path in (*SPLIT, "valid/cat/2.png", "valid/dog/x/2.png")))
    assert found["val/dog/x/2.png"] == f"{prefix}valid/dog/x/2.png" and len(found) == 4 and not notes


def test_a_test_folder_is_used_if_there_is_no_other():
    found, notes = arranged(*SPLIT, "test/cat/2.png", "test/dog/2.png")
    assert "val/cat/2.png" in found and "test is used for validation" in notes
    found, notes = arranged(*SPLIT, "val/cat/2.png", "val/dog/2.png", "test/cat/3.png")
    assert len(found) == 4 and "1 images of the folder test are left out" in notes


def test_classes_alone_are_split_by_the_seed():
    paths = [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(20)]
    first, notes = arranged(*paths)
    assert first == arranged(*reversed(paths))[0] and "20 % of each class" in notes and "seed 0" in notes
    assert sum(path.startswith("val/cat/") for path in first) == 4 == sum(path.startswith("val/dog/") for path in first)
    assert first != arranged(*paths, seed=1)[0]
    assert arranged(*(f"train/{path}" for path in paths))[0].keys() == first.keys()


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (("cat/1.png", "cat/2.png"), "one class folder, cat"),
        (("1.png", "cat/1.png"), "'1.png' lies outside"),
        ((*SPLIT, "val/1.png"), "'val/1.png' lies outside"),
        (("cat/1.png", "dog/1.png", "dog/2.png"), "1 class(es) have one image: cat"),
        (("val/cat/1.png", "test/cat/1.png"), "no folder train beside val"),
        ((*SPLIT, "val/cat/1.png", "valid/cat/1.png"), "two folders for one split"),
    ],
)
def test_what_cannot_be_arranged_is_refused(paths, message):
    with pytest.raises(DataError) as error:
        arrange(entries(*paths))
    assert message in str(error.value)
