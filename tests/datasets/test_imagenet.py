"""ImageNet's tree and Imagenette, made small."""

from __future__ import annotations

from pathlib import Path

import pytest

from nes_lab.config import DataConfig
from nes_lab.datasets.imagenet import IMAGENETTE_CLASSES, imagenet_notes
from nes_lab.datasets.registry import load_dataset
from nes_lab.errors import DataError
from tests.datasets.samples import make_tree

WNIDS = tuple(IMAGENETTE_CLASSES)


def load(name: str, root: Path | None, **options):
    return load_dataset(DataConfig(name=name, root=root, image_size=8, **options))


def test_load_imagenet_notes_an_incomplete_set(tmp_path: Path) -> None:
    spec = load("imagenet", make_tree(tmp_path, names=("n00000002", "n00000001", "other")))
    assert spec.classes == ("n00000001", "n00000002", "other")
    assert spec.notes[0] == "not ImageNet-1k: 3 classes instead of 1,000; 1 folder names are not wnids (other)"
    assert imagenet_notes(tuple(f"n{index:08d}" for index in range(1000))) == ()


@pytest.mark.parametrize("name", ["imagenet", "imagenette"])
def test_load_imagenet_finds_its_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path))
    with pytest.raises(DataError, match=name):
        load(name, None)
    make_tree(tmp_path / name, names=WNIDS, train=1, val=1)
    assert len(load(name, None).classes) == 10


@pytest.mark.parametrize("folder", ["", "imagenette2", "imagenette2-320", "imagenette2-160"])
def test_imagenette_folder_finds_any_size(tmp_path: Path, folder: str) -> None:
    make_tree(tmp_path / folder, names=WNIDS, train=1, val=1)
    spec = load("imagenette", tmp_path)
    assert spec.classes[:2] == ("tench", "English springer")
    assert (len(spec.train), len(spec.val)) == (10, 10)


def test_imagenette_folder_prefers_the_size_that_fits(tmp_path: Path) -> None:
    for count, folder in ((1, "imagenette2"), (2, "imagenette2-160")):
        make_tree(tmp_path / folder, names=WNIDS, train=count, val=1)
    assert len(load("imagenette", tmp_path).train) == 20


def test_load_imagenette_refuses_another_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has the classes cat, dog.*image_folder"):
        load("imagenette", make_tree(tmp_path))


def test_imagenette_folder_says_what_to_do_without_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"holds neither train/ nor one of imagenette2-160.*data.download"):
        load("imagenette", tmp_path)

    def fails(url: str, *args, **options) -> None:
        assert url.endswith("imagenette2-160.tgz")
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.imagenette.download_and_extract_archive", fails)
    with pytest.raises(DataError, match=r"download .* failed \(no network\)"):
        load("imagenette", tmp_path, download=True)
