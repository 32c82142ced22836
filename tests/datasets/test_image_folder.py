"""Trees in ImageNet's layout: good ones load, bad ones are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nes_lab.datasets.check.check import check_data
from nes_lab.datasets.image_folder import load_image_folder
from nes_lab.datasets.images import check_images, read_rgb
from nes_lab.errors import DataError


def save_image(path: Path, seed: int = 0, grey: bool = False, size: int = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size, size + 4) if grey else (size, size + 4, 3)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for split, count in (("train", 4), ("val", 2)):
        for label, name in enumerate(("cat", "dog")):
            for i in range(count):
                save_image(tmp_path / split / name / f"{i}.png", seed=10 * label + i, grey=i == 1)
    return tmp_path


def test_good_tree(tree: Path) -> None:
    spec = load_image_folder(root=tree, image_size=16)
    assert spec.classes == ("cat", "dog")
    assert (len(spec.train), len(spec.val), spec.input_shape) == (8, 4, (3, 16, 16))
    images, labels = next(spec.val.eval_batches(4))
    assert images.shape == (4, 3, 16, 16)
    assert labels.tolist() == [0, 0, 1, 1]
    grey = images[1] * torch.tensor(spec.std)[:, None, None] + torch.tensor(spec.mean)[:, None, None]
    assert grey[0].allclose(grey[1], atol=1e-6)
    assert grey[0].allclose(grey[2], atol=1e-6)


def test_batches_do_not_depend_on_workers_position_or_the_global_generator(tree: Path) -> None:
    alone = load_image_folder(root=tree, image_size=16).train
    helped = load_image_folder(root=tree, image_size=16, workers=1).train
    before = torch.get_rng_state()
    whole = list(alone.train_batches(4, seed=0, epoch=1))
    assert torch.get_rng_state().equal(before)
    torch.rand(3)
    rest = list(helped.train_batches(4, seed=0, epoch=1, start=1))
    assert len(whole) == 2
    assert len(rest) == 1
    assert whole[1][0].equal(rest[0][0])
    assert whole[1][1].equal(rest[0][1])
    assert not whole[0][0].equal(next(alone.train_batches(4, seed=0, epoch=2))[0])


def test_limit_keeps_classes(tree: Path) -> None:
    spec = load_image_folder(root=tree, image_size=16, limit=2)
    assert spec.train.labels.tolist() == [0, 1]
    assert len(spec.val) == 4


def test_missing_root_and_split_are_named(tmp_path: Path, tree: Path) -> None:
    with pytest.raises(DataError, match=r"needs data.root"):
        load_image_folder(root=None)
    with pytest.raises(DataError, match=r"nowhere.*not a folder"):
        load_image_folder(root=tmp_path / "nowhere")
    (tree / "val").rename(tree / "vals")
    with pytest.raises(DataError, match=r"no folder 'val'.*holds train, vals.*mean 'vals'"):
        load_image_folder(root=tree)


def test_empty_split_and_empty_class_are_named(tree: Path) -> None:
    (tree / "train" / "emu").mkdir()
    with pytest.raises(DataError, match="without an image: emu"):
        load_image_folder(root=tree)
    (tree / "val").rename(tree / "old")
    (tree / "val").mkdir()
    (tree / "train" / "emu").rmdir()
    with pytest.raises(DataError, match="empty split"):
        load_image_folder(root=tree)


def test_class_mismatch_names_both_sides(tree: Path) -> None:
    (tree / "val" / "dog").rename(tree / "val" / "dogs")
    with pytest.raises(DataError, match="only in train: dog; only in val: dogs"):
        load_image_folder(root=tree)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_unreadable_image_is_named_by_path(tree: Path, damage: str) -> None:
    broken = save_image(tree / "train" / "cat" / "broken.jpg", size=64)
    content = {"truncated": broken.read_bytes()[:-900], "empty": b"", "text": b"not pixels"}[damage]
    broken.write_bytes(content)
    with pytest.raises(DataError, match=r"1 of 9 images.*broken\.jpg"):
        load_image_folder(root=tree)


def test_large_sets_are_sampled_evenly(tree: Path) -> None:
    paths = sorted(tree.rglob("*.png"))
    assert check_images(paths, most=5) == (4, [])


@pytest.mark.parametrize("workers", [0, 1])
def test_image_broken_after_the_check_is_named_in_training(tree: Path, workers: int) -> None:
    split = load_image_folder(root=tree, image_size=16, workers=workers).train
    (tree / "train" / "dog" / "2.png").write_bytes(b"gone")
    with pytest.raises(DataError, match=r"^image '.*dog/2\.png' \(not an image\) cannot be read"):
        list(split.train_batches(4, seed=0, epoch=0))


def test_grey_of_sixteen_bits_keeps_its_shades(tree: Path) -> None:
    """Pillow's own conversion cuts them off at 255: nearly every pixel became white, and nobody said so."""
    shades = np.linspace(0, 65535, 24 * 24).reshape(24, 24).astype(np.uint16)
    for suffix in (".png", ".tif"):
        Image.fromarray(shades).save(tree / "val" / "cat" / f"deep{suffix}")
    (tree / "val" / "cat" / "deep.pgm").write_bytes(b"P5 24 24 65535\n" + shades.astype(">u2").tobytes())
    for suffix in (".png", ".tif", ".pgm"):
        grey = np.asarray(read_rgb(tree / "val" / "cat" / f"deep{suffix}"))
        assert (grey[..., 0] == shades >> 8).all() and (grey[..., 0] == grey[..., 2]).all()
    assert all("deep" not in problem for problem in check_data(tree).problems)


def test_pixels_without_a_known_white_are_refused(tree: Path) -> None:
    for name, kind in (("float", np.float32), ("wide", np.int32)):
        Image.fromarray(np.ones((24, 24), dtype=kind)).save(tree / "train" / "dog" / f"{name}.tif")
    with pytest.raises(
        DataError, match=r"2 of 10 images.*float\.tif' \(pixels of mode 'F'.*wide\.tif' \(pixels of mode 'I'"
    ):
        load_image_folder(root=tree, image_size=16)
    (problem,) = check_data(tree).problems
    assert "save it with 8 or 16 bits" in problem


def test_what_is_passed_over_is_told(tree: Path) -> None:
    """A class of GIFs lost its images without a word, and a notebook's hidden copies were trained on."""
    save_image(tree / "train" / "cat" / "moving.gif")
    (tree / "train" / "cat" / "boxes.txt").write_text("0 0 9 9")
    save_image(tree / "train" / "cat" / ".ipynb_checkpoints" / "0-checkpoint.png")
    (tree / "train" / "dog" / "folder.png").mkdir()
    save_image(tree / "train" / "stray.png")
    spec, report = load_image_folder(root=tree, image_size=16), check_data(tree)
    assert len(spec.train) == 8 and report.splits[0].total == 8 and report.usable
    for notes in (spec.notes, report.notes):
        assert notes[0] == "train: files that are not a known image type are left out (1 .gif, 1 .txt)"
        assert notes[1] == "train: 1 images outside the class folders are left out"


def test_a_flat_split_says_what_it_holds(tree: Path) -> None:
    for path in sorted((tree / "val").rglob("*.png")):
        path.rename(tree / "val" / f"{path.parent.name}-{path.name}")
    for name in ("cat", "dog"):
        (tree / "val" / name).rmdir()
    with pytest.raises(DataError, match=r"empty split.*move the 4 images in it into the folders of their classes"):
        load_image_folder(root=tree)
    assert check_data(tree).shared is None


def test_a_link_that_leads_nowhere_is_one_problem_among_others(tree: Path) -> None:
    (tree / "val" / "cat" / "gone.png").symlink_to(tree / "nowhere.png")
    (problem,) = check_data(tree).problems
    assert "gone.png" in problem and "No such file" in problem
