"""Class folders of images load; what is missing, empty or different is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from nes_lab.backbones.registry import create_backbone
from nes_lab.config import CompressionConfig, DataConfig
from nes_lab.datasets.check.check import check_data
from nes_lab.datasets.image_folder import load_image_folder
from nes_lab.errors import DataError
from nes_lab.models.jobs import fit_to_folder
from nes_lab.models.source import DenseSource
from nes_lab.training.loop import Trainer
from nes_lab.training.recipe import Recipe
from tests.datasets.samples import save_image


def test_load_image_folder_serves_rgb_images(tree: Path) -> None:
    spec = load_image_folder(root=tree, image_size=16)
    assert spec.classes == ("cat", "dog")
    assert (len(spec.train), len(spec.val), spec.input_shape) == (8, 4, (3, 16, 16))
    images, labels = next(spec.val.eval_batches(4))
    assert images.shape == (4, 3, 16, 16)
    assert labels.tolist() == [0, 0, 1, 1]
    grey = images[1] * torch.tensor(spec.std)[:, None, None] + torch.tensor(spec.mean)[:, None, None]
    assert grey[0].allclose(grey[1], atol=1e-6)
    assert grey[0].allclose(grey[2], atol=1e-6)


def test_list_image_folder_names_missing_root_and_split(tmp_path: Path, tree: Path) -> None:
    with pytest.raises(DataError, match=r"needs data.root"):
        load_image_folder(root=None)
    with pytest.raises(DataError, match=r"nowhere.*not a folder"):
        load_image_folder(root=tmp_path / "nowhere")
    (tree / "val").rename(tree / "vals")
    with pytest.raises(DataError, match=r"no folder 'val'.*holds train, vals.*mean 'vals'"):
        load_image_folder(root=tree)


def test_list_image_folder_names_empty_split_and_class(tree: Path) -> None:
    (tree / "train" / "emu").mkdir()
    with pytest.raises(DataError, match="without an image: emu"):
        load_image_folder(root=tree)
    (tree / "val").rename(tree / "old")
    (tree / "val").mkdir()
    (tree / "train" / "emu").rmdir()
    with pytest.raises(DataError, match="empty split"):
        load_image_folder(root=tree)


def test_check_same_classes_names_both_sides(tree: Path) -> None:
    (tree / "val" / "dog").rename(tree / "val" / "dogs")
    with pytest.raises(DataError, match="only in train: dog; only in val: dogs"):
        load_image_folder(root=tree)


def test_list_image_folder_notes_what_it_leaves_out(tree: Path) -> None:
    """GIFs were once left out without a note, and hidden copies of a notebook were trained on."""
    save_image(tree / "train" / "cat" / "moving.gif")
    (tree / "train" / "cat" / "boxes.txt").write_text("0 0 9 9")
    save_image(tree / "train" / "cat" / ".ipynb_checkpoints" / "0-checkpoint.png")
    (tree / "train" / "dog" / "folder.png").mkdir()
    save_image(tree / "train" / "stray.png")
    spec, report = load_image_folder(root=tree, image_size=16), check_data(tree)
    assert len(spec.train) == 8 and report.splits[0].total == 8 and report.usable
    for notes in (spec.notes, report.notes):
        assert notes[0] == (
            "train: files of types that are not read here are left out (1 .gif, 1 .txt); images that are read end in "
            ".jpg, .jpeg, .png, .ppm, .bmp, .pgm, .tif, .tiff, .webp"
        )
        assert notes[1] == "train: 1 images outside the class folders are left out"


def test_list_image_folder_says_what_a_flat_split_holds(tree: Path) -> None:
    for path in sorted((tree / "val").rglob("*.png")):
        path.rename(tree / "val" / f"{path.parent.name}-{path.name}")
    for name in ("cat", "dog"):
        (tree / "val" / name).rmdir()
    with pytest.raises(DataError, match=r"empty split.*move the 4 images in it into the folders of their classes"):
        load_image_folder(root=tree)
    assert check_data(tree).shared is None


def test_check_data_names_a_dangling_link(tree: Path) -> None:
    (tree / "val" / "cat" / "gone.png").symlink_to(tree / "nowhere.png")
    (problem,) = check_data(tree).problems
    assert "gone.png" in problem and "No such file" in problem


@pytest.mark.parametrize("gone", ["train", "val"])
def test_load_image_folder_takes_one_split_but_never_trains_on_it(tree: Path, gone: str) -> None:
    shutil.rmtree(tree / gone)
    with pytest.raises(DataError, match=f"has no folder '{gone}'"):
        load_image_folder(root=tree, image_size=16)
    spec = load_image_folder(root=tree, image_size=16, one_split=True, limit=2)
    assert spec.train is spec.val and len(spec.val) == 2 and spec.classes == ("cat", "dog")
    with pytest.raises(DataError, match=r"has only the split .*; training needs train and val"):
        Trainer(nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), spec, Recipe(epochs=1, batch_size=2, lr=0.1))
    weights = tree / "weights.safetensors"
    save_file(create_backbone("small_mobilenetv2", num_classes=2).state_dict(), weights)
    source = DenseSource("small_mobilenetv2", (3, 16, 16), 2, checkpoint=weights)
    data = DataConfig(name="image_folder", root=tree, image_size=16)
    asked = {"compression": CompressionConfig(params="80%"), "calibration": data, "batch_size": 2}
    saved = fit_to_folder(source, tree / "small", **asked)
    assert saved.fit is not None and saved.fit.calibration_batches > 0


def test_load_image_folder_with_both_splits_ignores_one_split(tree: Path) -> None:
    spec = load_image_folder(root=tree, image_size=16, one_split=True)
    assert len(spec.train) == 8 and len(spec.val) == 4 and spec.only_split == ""
