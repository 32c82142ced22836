"""Image files are read as RGB; unreadable ones and pixels out of range are named."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nes_lab.datasets.check.check import check_data
from nes_lab.datasets.check.decode import decode_split
from nes_lab.datasets.check.listing import SplitFiles
from nes_lab.datasets.image_folder import load_image_folder
from nes_lab.datasets.images import check_images, pixel_problems, read_rgb
from nes_lab.datasets.in_memory import in_memory_spec, random_shift
from nes_lab.errors import DataError


def test_pixel_problems_are_found_in_a_check_and_before_training() -> None:
    images = np.full((6, 1, 4, 4), 7.0)
    assert pixel_problems(images, 16.0) == []
    images[1, 0, 0, 0], images[4, 0, 1, 1], images[5, 0, 0, 0] = np.nan, np.inf, -1
    assert pixel_problems(images, 16.0) == [
        "2 of 6 images hold NaN or infinite pixels: number 1, 4",
        "2 of 6 images have pixels outside 0 to 16: number 4, 5",
    ]
    seen = decode_split("train", "image", SplitFiles(images, [0] * 6, 16.0), classes=1)
    assert seen.problems[0].startswith("train: 2 of 6 images hold NaN")
    pair = (torch.from_numpy(images), torch.zeros(6, dtype=torch.long))
    with pytest.raises(
        DataError, match=r"data.name='mine', train: 2 of 6 images hold NaN or infinite pixels: number 1, 4"
    ):
        in_memory_spec("mine", ("a",), pair, pair, augment=lambda size: random_shift, white=16.0)
    empty = (torch.zeros(0, 1, 4, 4), torch.zeros(0, dtype=torch.long))
    with pytest.raises(DataError, match=r"train: an empty split"):
        in_memory_spec("mine", ("a",), empty, pair, augment=lambda size: random_shift, white=16.0)


def test_check_images_samples_large_sets_evenly(tree: Path) -> None:
    paths = sorted(tree.rglob("*.png"))
    assert check_images(paths, most=5) == (4, [])


def test_read_rgb_keeps_the_shades_of_16_bit_grey(tree: Path) -> None:
    """Pillow's own conversion clips them at 255, so nearly every pixel became white without a message."""
    shades = np.linspace(0, 65535, 24 * 24).reshape(24, 24).astype(np.uint16)
    for suffix in (".png", ".tif"):
        Image.fromarray(shades).save(tree / "val" / "cat" / f"deep{suffix}")
    (tree / "val" / "cat" / "deep.pgm").write_bytes(b"P5 24 24 65535\n" + shades.astype(">u2").tobytes())
    for suffix in (".png", ".tif", ".pgm"):
        grey = np.asarray(read_rgb(tree / "val" / "cat" / f"deep{suffix}"))
        assert (grey[..., 0] == shades >> 8).all() and (grey[..., 0] == grey[..., 2]).all()
    assert all("deep" not in problem for problem in check_data(tree).problems)


def test_as_rgb_reads_a_palette_with_transparency_without_a_warning(tree: Path) -> None:
    picture = Image.fromarray(np.arange(24 * 24, dtype=np.uint8).reshape(24, 24), "P")
    picture.putpalette(list(range(256)) * 3)
    path = tree / "train" / "cat" / "palette.png"
    picture.save(path, transparency=bytes(range(256)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = np.asarray(read_rgb(path))
    assert (pixels == np.asarray(picture.convert("RGB"))).all()


def test_as_rgb_refuses_pixels_without_a_known_white(tree: Path) -> None:
    for name, kind in (("float", np.float32), ("wide", np.int32)):
        Image.fromarray(np.ones((24, 24), dtype=kind)).save(tree / "train" / "dog" / f"{name}.tif")
    with pytest.raises(
        DataError, match=r"2 of 10 images.*float\.tif' \(pixels of mode 'F'.*wide\.tif' \(pixels of mode 'I'"
    ):
        load_image_folder(root=tree, image_size=16)
    (problem,) = check_data(tree).problems
    assert "save it with 8 or 16 bits" in problem
