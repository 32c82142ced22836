"""Options have the defaults of the configuration; those without a meaning for a data set are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from nes_lab.config import DataConfig
from nes_lab.datasets.knobs import IMAGENET_MEAN, ImageKnobs
from nes_lab.datasets.registry import load_dataset
from nes_lab.errors import OptionError


def load(name: str, root: Path | None = None, **fields):
    return load_dataset(DataConfig(name=name, root=root, **fields))


def test_statistics_follow_normalize(tree: Path) -> None:
    assert load("image_folder", tree).mean == IMAGENET_MEAN
    assert load("image_folder", tree, normalize="half").std == (0.5, 0.5, 0.5)
    spec = load("digits", normalize="half")
    assert (spec.mean, spec.std) == ((0.5,), (0.5,))
    assert next(spec.val.eval_batches(64))[0].aminmax() == (-1.0, 1.0)
    with pytest.raises(OptionError, match=r"data.normalize='imagenet' has numbers for three channels"):
        load("digits", normalize="imagenet")


@pytest.mark.parametrize(
    ("name", "knobs", "field"),
    [
        ("digits", {"root": "images"}, "root"),  # who forgot data.name once trained on digits without a word
        ("digits", {"samples": 400}, "samples"),
        ("digits", {"val_fold": 2}, "val_fold"),
        ("digits", {"crop_scale": 0.5}, "crop_scale"),
        ("cifar10", {"skip_broken": 0.01}, "skip_broken"),
        ("image_folder", {"download": True}, "download"),
        ("image_shards", {"samples": 400}, "samples"),
        ("audio_folder", {"image_size": 32}, "image_size"),
        ("audio_folder", {"erase": 0.5}, "erase"),
        ("audio_folder", {"normalize": "half"}, "normalize"),
    ],
)
def test_refuse_unused_names_a_field_without_effect(name: str, knobs: dict, field: str) -> None:
    with pytest.raises(OptionError, match=rf"data\.{field}=.*leave it out for data.name='{name}'"):
        load(name, **knobs)


def test_image_knobs_refuse_crop_scale_without_a_crop(tree: Path) -> None:
    with pytest.raises(OptionError, match=r"data.crop_scale=0.5 has no effect with data.augment='none'"):
        load("image_folder", tree, augment="none", crop_scale=0.5)


def test_image_knobs_have_the_defaults_of_the_config() -> None:
    assert ImageKnobs.of(DataConfig()) == ImageKnobs()
