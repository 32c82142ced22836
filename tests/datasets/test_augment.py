"""Every option changes images as it should, batches depend on (seed, epoch, position) only, and wrong policies are named."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nes_lab.config import DataConfig
from nes_lab.datasets.augment import EachImage, check_augment, posterize
from nes_lab.datasets.knobs import ImageKnobs
from nes_lab.datasets.registry import load_dataset
from nes_lab.datasets.seeded import seeded
from nes_lab.errors import OptionError
from tests.datasets.samples import batches, make_tree, same

POLICIES = ("rand-m9-mstd0.5-inc1", "augmix-m5-w2-d2", "original-mstd0.5", "3a")
LOADED = [
    {"augment": "none"},
    *({"augment": name} for name in POLICIES),
    {"color_jitter": 0.4},
    {"erase": 1.0},
    {"augment": "rand-m9-n3", "color_jitter": 0.3, "erase": 0.5},
]


def digits(**knobs):
    return load_dataset(DataConfig(name="digits", limit=16, **knobs))


def folder(root: Path, workers: int = 0, **knobs):
    return load_dataset(DataConfig(name="image_folder", root=root, image_size=16, workers=workers, **knobs))


@pytest.mark.parametrize("knobs", LOADED, ids=str)
def test_each_image_keeps_batches_resumable_and_leaves_global_generators_alone(knobs: dict) -> None:
    train = digits(**knobs).train
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    complete = batches(train)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    assert len(complete) == 4
    assert all(images.dtype == torch.float32 and images.isfinite().all() for images, _ in complete)
    assert same(complete[2:], batches(train, start=2))
    halves = [batches(train, shard=(rank, 2)) for rank in (0, 1)]
    for rank, half in enumerate(halves):
        assert same(half, [(images[rank::2], labels[rank::2]) for images, labels in complete])
    plain = batches(digits().train)
    assert not same(complete, plain)


@pytest.mark.parametrize("knobs", LOADED, ids=str)
def test_train_transform_keeps_batches_resumable_and_leaves_global_generators_alone(
    tmp_path: Path, knobs: dict
) -> None:
    train = folder(make_tree(tmp_path), **knobs).train
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    complete = batches(train, size=2)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    random.random(), np.random.rand(), torch.rand(1)
    assert same(complete[2:], batches(train, size=2, start=2))
    assert not same(complete, batches(folder(tmp_path).train, size=2))


def test_train_transform_gives_the_same_batches_with_any_number_of_workers(tmp_path: Path) -> None:
    make_tree(tmp_path)
    knobs = {"augment": "rand-m9-mstd0.5-inc1", "erase": 0.5, "color_jitter": 0.2, "interpolation": "bicubic"}
    without_workers, with_workers = folder(tmp_path, **knobs).train, folder(tmp_path, workers=2, **knobs).train
    assert same(batches(without_workers, size=2), batches(with_workers, size=2))
    assert same(
        batches(without_workers, size=2, epoch=2, start=1, shard=(1, 2)),
        batches(with_workers, size=2, epoch=2, start=1, shard=(1, 2)),
    )


def test_augment_none_serves_unchanged_images(tmp_path: Path) -> None:
    for spec in (digits(augment="none"), folder(make_tree(tmp_path), augment="none")):
        plain = torch.cat([images for images, _ in spec.train.eval_batches(4)])
        served = torch.cat([images for images, _ in batches(spec.train)])
        assert served.flatten(1).sum(1).sort().values.allclose(plain.flatten(1).sum(1).sort().values)


def test_train_transform_erases_a_rectangle_and_crops_by_crop_scale(tmp_path: Path) -> None:
    plain, erased = digits(augment="none"), digits(augment="none", erase=1.0)
    changed = torch.cat([a != b for (a, _), (b, _) in zip(batches(plain.train), batches(erased.train), strict=True)])
    share = changed.float().mean((1, 2, 3))
    assert (share > 0).float().mean() > 0.8
    assert share.max() < 0.6
    make_tree(tmp_path)
    complete = batches(folder(tmp_path, crop_scale=1.0).train, size=8)[0][0]
    parts = batches(folder(tmp_path, crop_scale=0.08).train, size=8)[0][0]
    assert complete.std() < parts.std()  # an enlarged part of noise has more contrast than the shrunken image


def test_interpolation_changes_pixels_in_files_and_in_memory(tmp_path: Path) -> None:
    make_tree(tmp_path)
    for make in (lambda **knobs: folder(tmp_path, **knobs), lambda **knobs: digits(image_size=16, **knobs)):
        one, other = (next(make(interpolation=mode).val.eval_batches(2))[0] for mode in ("bilinear", "bicubic"))
        assert not one.equal(other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("random", r"data.augment='random' is not known.*standard, none, rand"),
        ("standrad", r"mean 'standard'"),
        ("rand-m9-mst0.5", r"'mst0.5' is not known to 'rand'; write it like rand-m9"),
        ("rand-m9-m3", r"'m3' is given twice"),
        ("rand-m", r"'m' is not known"),
        ("rand-p2", r"'p2' is not known"),
        ("rand-", r"'' is not known"),
        ("rand-tnothing", r"'tnothing'"),
        ("augmix-inc1", r"'inc1' is not known to 'augmix'"),
        ("original-m9", r"'m9' is not known to 'original'"),
    ],
)
def test_check_augment_names_wrong_policies(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        check_augment(text)
    with pytest.raises(OptionError, match=message):
        digits(augment=text)


@pytest.mark.parametrize(
    "text", ["rand-m9-n2-p0.5-mstd1.5-mmax12-inc0-tweights", "augmix-m3-w3-d1-b1-a1.0-mstd0.5", "v0r"]
)
def test_check_augment_accepts_policies_that_timm_runs(tmp_path: Path, text: str) -> None:
    assert check_augment(text) == text
    assert len(batches(folder(make_tree(tmp_path), augment=text).train)) == 2
    assert len(batches(digits(augment=text).train)) == 4


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    "text", ["rand-m10-n9-p1-inc1", "rand-m0-n9-p1-inc0", "rand-m20-n9-p1-mmax20-inc1", "augmix-m10", "v0", "originalr"]
)
def test_each_image_runs_every_operation_at_its_extremes(text: str, mode: str) -> None:
    """At full magnitude timm's posterize keeps 0 bits of a pixel, which Pillow 13 refuses."""
    knobs = ImageKnobs(augment=text)
    each = EachImage(knobs, 12, (0.5,) * (3 if mode == "RGB" else 1), 255.0)
    pixels = torch.randint(0, 256, (1, len(each.mean), 12, 12), dtype=torch.uint8).expand(60, -1, -1, -1)
    changed = each(pixels, list(range(60)), lambda image: image)
    assert changed.shape == pixels.shape
    assert changed.min() >= 0 and changed.max() <= 255


def test_each_image_changes_equal_images_differently() -> None:
    train = digits(augment="none", erase=1.0).train
    train.images[:] = train.images[0]
    images = batches(train, size=16)[0][0]
    assert len(images.unique(dim=0)) == 16


def testposterize_to_no_bits_gives_black() -> None:
    image = Image.new("RGB", (3, 2), (200, 130, 90))
    assert posterize(image, 8).getpixel((0, 0)) == (200, 130, 90)
    assert posterize(image, 1).getpixel((0, 0)) == (128, 128, 0)
    assert posterize(image, 0).getpixel((0, 0)) == posterize(image, -4).getpixel((0, 0)) == (0, 0, 0)


def test_seeded_restores_generators_after_an_error() -> None:
    before = random.getstate(), torch.get_rng_state()
    with pytest.raises(KeyError), seeded(5):
        raise KeyError
    assert random.getstate() == before[0]
    assert torch.get_rng_state().equal(before[1])
