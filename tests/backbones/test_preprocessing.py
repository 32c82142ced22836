"""Images are prepared as for the backbone's weights where that is asked for; where they are not, the user is told, once."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from torch import nn

import nes_lab
from nes_lab.backbones.preprocessing import preprocessing_of, set_preprocessing
from nes_lab.backbones.registry import named_preprocessing
from nes_lab.cli.entry import main
from nes_lab.config import DataConfig, load_config
from nes_lab.datasets.augment import eval_transform
from nes_lab.datasets.knobs import ImageKnobs
from nes_lab.datasets.registry import DATASETS, load_dataset
from nes_lab.errors import CheckpointError, OptionError
from nes_lab.experiment.train import StartWarning
from nes_lab.export.saved_config import add_checksum
from nes_lab.records.dataset_facts import DATASET_FACTS
from nes_lab.records.preprocessing import Preprocessing
from tests.datasets.samples import make_tree

NET = "test_efficientnet_gn"  # a small network of timm: bicubic, crop 0.95, mean and deviation 0.5
SHOWN = "bicubic, crop 0.95, mean 0.5 0.5 0.5, std 0.5 0.5 0.5"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "images", train=2, val=1, size=40)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file(nes_lab.create_backbone(NET, num_classes=2).state_dict(), path)
    return path


def config(root: Path, weights: Path | None, **data: object) -> dict[str, object]:
    shown = {"name": "image_folder", "root": str(root), "image_size": 32, "batch_size": 2, **data}
    backbone = {"name": NET} | ({} if weights is None else {"checkpoint": str(weights)})
    return {
        "data": shown,
        "training": {"epochs": 1, "threads": 1, "warmup_epochs": 0, "lr": 1e-4},
        "backbone": backbone,
    }


@pytest.mark.parametrize(
    "name",
    [
        "vit_tiny_patch16_224",
        "inception_v3",
        "resnet10t",
        "vit_base_patch16_siglip_224",
        "tf_efficientnet_b0.ns_jft_in1k",
    ],
)
def test_images_are_prepared_exactly_as_timm_does(name: str) -> None:
    """Wide and high pictures, so that a squashing crop differs from one of the middle."""
    found = named_preprocessing(name)
    assert found is not None
    knobs = ImageKnobs.of(DataConfig(preprocess="backbone"), found)
    ours = eval_transform(96, knobs, *knobs.statistics(((0.0,) * 3, (1.0,) * 3)))
    with torch.device("meta"):
        timms = resolve_model_data_config(timm.create_model(name))
    theirs: Any = create_transform(**{**timms, "input_size": (3, 96, 96)})
    for shape in ((150, 300, 3), (300, 150, 3)):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8))
        assert torch.allclose(ours(image), theirs(image), rtol=0, atol=1e-6)  # rounding of mean and deviation


def test_a_configuration_of_before_prepares_images_as_before(images: Path) -> None:
    data = load_dataset(load_config(config(images, None)).data, backbone=named_preprocessing(NET))
    assert data.preprocessing == Preprocessing(32, "bilinear", 0.875, data.mean, data.std)
    assert data.mean == (0.485, 0.456, 0.406)


def test_fit_prepares_calibration_images_for_the_backbone(
    images: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", NET, str(tmp_path / "net"), "--params", "80%", "--checkpoint", str(weights), "--classes", "2"]
    words += ["--input", "3", "32", "32", "--no-search-starts", "--calibration", str(images), "--patch-channels", "16"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"calibration images are prepared as for the weights, by timm's configuration of {NET}: {SHOWN}" in said
    saved = json.loads((tmp_path / "net" / "config.json").read_text())["preprocessing"]
    assert (saved["interpolation"], saved["mean"], saved["crop"]) == ("bicubic", [0.5] * 3, 0.95)
    assert str(preprocessing_of(nes_lab.from_pretrained(tmp_path / "net"))) == SHOWN
    assert main([*words, "--overwrite", "--preprocess", "data", "--json"]) == 0
    (note,) = json.loads(capsys.readouterr().out)["notes"]
    assert (
        note.startswith("calibration images are prepared with bilinear, crop 0.875, mean 0.485")
        and "but with bicubic, crop 0.95, mean 0.5" in note
    )


def test_a_run_says_that_its_images_differ_and_takes_the_backbones(images: Path, weights: Path, tmp_path: Path) -> None:
    with pytest.warns(
        StartWarning,
        match=r"with bilinear, crop 0.875, mean 0.485.* but with bicubic, crop 0.95, mean 0.5.*data.preprocess: backbone",
    ):
        run = nes_lab.train(config(images, weights), root=tmp_path, progress=False)
    assert preprocessing_of(run.network()) == Preprocessing(
        32, "bilinear", 0.875, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), source=f"run {run.id}"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", StartWarning)
        suited = nes_lab.train(config(images, weights, preprocess="backbone"), root=tmp_path, progress=False)
        nes_lab.train(config(images, None), root=tmp_path, progress=False)  # fresh weights were trained on nothing
    assert str(preprocessing_of(suited.network())) == SHOWN
    (event,) = [event for event in suited.events() if event["kind"] == "data"]
    assert event["preprocessing"]["interpolation"] == "bicubic"


def test_a_start_brings_its_own_preprocessing(images: Path, tmp_path: Path) -> None:
    """Not timm's for its name: the network was trained in a run with other settings."""
    first = nes_lab.train(
        config(images, None, normalize="half", interpolation="bilinear"), root=tmp_path, progress=False
    )
    run = nes_lab.train(config(images, None, preprocess="backbone"), start=first, root=tmp_path, progress=False)
    own = preprocessing_of(run.network())
    assert own is not None and (own.interpolation, own.mean) == ("bilinear", (0.5, 0.5, 0.5))
    with pytest.warns(StartWarning, match=f"mean 0.5 0.5 0.5, std 0.5 0.5 0.5 for the weights .run {first.id}"):
        nes_lab.train(config(images, None), network=first.network(), root=tmp_path, progress=False)
    with pytest.warns(UserWarning, match="images are prepared with mean 0.485"):
        nes_lab.evaluate(first.network(), load_dataset(load_config(config(images, None)).data))


def test_every_data_set_of_images_takes_the_backbones_preprocessing(images: Path) -> None:
    """A new data set must take it or say why not."""
    assert {name for name in DATASETS if "preprocess" in DATASET_FACTS[name].unused} == {"audio_folder"}
    own = Preprocessing(8, "bicubic", 0.9, (0.25,), (0.75,))
    digits = load_dataset(load_config({"data": {"preprocess": "backbone"}}).data, backbone=own)
    assert (digits.mean, digits.std) == ((0.25,), (0.75,))
    assert digits.preprocessing is not None and digits.preprocessing.crop is None
    with pytest.raises(OptionError, match="numbers for 3 channels and these images have 1"):
        load_dataset(load_config({"data": {"preprocess": "backbone"}}).data, backbone=named_preprocessing(NET))


def test_preprocess_refuses_what_contradicts_it(images: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"preprocess='backbone' decides normalize; leave out normalize='half'"):
        load_config({"data": {"preprocess": "backbone", "normalize": "half"}})
    tree = config(images, None, preprocess="backbone") | {"backbone": {"name": "small_mobilenetv2"}}
    with pytest.raises(OptionError, match=r"data.preprocess='backbone': it is not known how images were prepared"):
        nes_lab.train(tree, root=tmp_path / "runs", progress=False)
    assert not list(nes_lab.list_runs(root=tmp_path / "runs"))


def test_saved_preprocessing_is_checked(tmp_path: Path) -> None:
    net = nn.Linear(2, 2)
    set_preprocessing(net, named_preprocessing(NET))
    path = nes_lab.save_pretrained(net, tmp_path / "net") / "config.json"
    saved = json.loads(path.read_text())
    for wrong in ({"mean": ["0.5"]}, {"crop": "all"}, {"interpolation": 3}, {"extra": 1}):
        broken = saved | {"preprocessing": saved["preprocessing"] | wrong}
        path.write_text(json.dumps(add_checksum(broken)))
        with pytest.raises(CheckpointError, match="preprocessing: "):
            nes_lab.from_pretrained(tmp_path / "net", model=nn.Linear(2, 2))
    del saved["preprocessing"]  # as version 0.1 wrote it
    path.write_text(json.dumps(add_checksum(saved)))
    assert preprocessing_of(nes_lab.from_pretrained(tmp_path / "net", model=nn.Linear(2, 2))) is None


def test_an_onnx_file_holds_preprocessing_and_class_names(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    set_preprocessing(net, named_preprocessing(NET))
    net.nes_lab_classes = ("cat", "dog")  # type: ignore[assignment]
    nes_lab.export_onnx(net, torch.zeros(1, 3, 8, 8), tmp_path / "net.onnx")
    held = {item.key: json.loads(item.value) for item in onnx.load(tmp_path / "net.onnx").metadata_props}
    assert held["nes_lab.classes"] == ["cat", "dog"] and held["nes_lab.preprocessing"]["mean"] == [0.5] * 3
