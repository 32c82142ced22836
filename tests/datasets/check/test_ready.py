"""What speaks against a training is known at once, without torch and without reading an image."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from nes_lab.datasets.check import ready
from nes_lab.datasets.check.local import local_data
from nes_lab.datasets.check.ready import folder_mark, ready_to_train
from nes_lab.datasets.uploads.unpack import unpack_upload
from nes_lab.records.dataset_facts import DATASET_FACTS
from tests.datasets.samples import make_tree, save_image
from tests.datasets.uploads.zips import make_zip, two_classes


def asked(root, name="image_folder", **more):
    return ready_to_train({"name": name, "root": str(root)} | more)


def test_a_good_folder_is_ready(tree):
    found = asked(tree)
    assert (found.reason, found.text, found.classes) == (None, "12 images · 2 classes, 6 each", 2)


@pytest.mark.parametrize("name", ["image_folder", "image_shards", "audio_folder"])
def test_a_folder_is_needed(name):
    assert "is missing" in ready_to_train({"name": name, "root": None}).reason


def test_what_is_wrong_with_a_folder_is_told(tree, tmp_path):
    assert "There is no folder" in asked(tmp_path / "nothing").reason
    assert "no tar archive in train and val" in asked(tree, "image_shards").reason
    assert "no folder audio" in asked(tree, "audio_folder").reason
    assert "no path can hold" in asked("a\0b").reason
    (tree / "val" / "bird").mkdir()
    assert "different classes: bird in one" in asked(tree).reason
    (tree / "train" / "bird").mkdir()
    assert "2 class folders have no image: train/bird, val/bird" in asked(tree).reason
    shutil.rmtree(tree / "val")
    assert "has no folder val; it holds train" in asked(tree).reason
    (tree / "val").mkdir()
    assert "has no class folders" in asked(tree).reason


@pytest.mark.parametrize("name", [name for name, facts in DATASET_FACTS.items() if facts.source == "download"])
def test_a_download_must_be_there_or_allowed(tmp_path, monkeypatch, name):
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path))
    assert "is not on this computer" in ready_to_train({"name": name, "download": False}).reason
    assert "downloaded when" in ready_to_train({"name": name, "download": True}).text
    (tmp_path / name / DATASET_FACTS[name].folder.replace("*", "-160")).mkdir(parents=True)
    assert ready_to_train({"name": name}).reason is None


def test_many_images_are_not_counted(tree, monkeypatch):
    monkeypatch.setattr(ready, "MOST_COUNTED", 3)
    assert asked(tree).text == "over 3 images · 2 classes" and asked(tree).reason is None
    for image in (tree / "val" / "dog").iterdir():
        image.unlink()
    assert "val/dog" in asked(tree).reason


def test_folder_mark_changes_with_the_files(tree):
    before = folder_mark(tree)
    assert before == folder_mark(tree)
    save_image(tree / "train" / "cat" / "more.png")
    assert before != folder_mark(tree)
    assert folder_mark(tree / "nothing") and folder_mark("a\0b")


def test_local_data_lists_what_is_here(tmp_path, monkeypatch):
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path))
    make_tree(tmp_path / "pets")
    (tmp_path / "runs" / "train").mkdir(parents=True)
    (tmp_path / "cifar10" / "cifar-10-batches-py").mkdir(parents=True)
    upload, _ = unpack_upload(make_zip(two_classes()), "mine.zip")
    found = {item.title: item for item in local_data()}
    assert list(found) == [
        "digits",
        "cifar10",
        "pets (any images, one folder per class)",
        f"upload mine.zip ({upload.id[-6:]})",
    ]
    assert found["cifar10"].fields == {"data.name": "cifar10", "data.root": str(tmp_path / "cifar10")}
    assert found["digits"].fields == {"data.name": "digits"}


def test_it_imports_no_torch():
    modules = "nes_lab.datasets.check.ready, nes_lab.datasets.check.local, nes_lab.datasets.uploads.unpack"
    code = f"import {modules}, sys; assert not {{'torch', 'torchvision', 'timm'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
