"""The class names that a network was trained with stay with it: in a run, in its saved folder, and after loading."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

import nes_lab
from nes_lab.backbones.class_names import classes_of, set_classes
from nes_lab.datasets.image_folder import load_image_folder
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import CheckpointError
from nes_lab.experiment.train import StartWarning
from nes_lab.export.saved_config import add_checksum
from nes_lab.records.preprocessing import Preprocessing
from nes_lab.training.loop import Trainer
from nes_lab.training.recipe import Recipe
from nes_lab.training.training_state import check_saved_data
from tests.datasets.samples import make_tree

NATURAL = ("1", "2", "10")


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "numbered", train=2, val=1, names=("1", "10", "2"), size=8)


def config(root: Path, order: str, **backbone: object) -> dict[str, object]:
    data = {"name": "image_folder", "root": str(root), "image_size": 8, "batch_size": 2, "class_order": order}
    training = {"epochs": 1, "threads": 1, "warmup_epochs": 0}
    return {"data": data, "training": training, "backbone": {"name": "small_mobilenetv2", "width": 0.5, **backbone}}


def test_a_run_keeps_its_class_names_in_its_networks(numbered: Path, tmp_path: Path) -> None:
    run = nes_lab.train(config(numbered, "natural"), root=tmp_path / "runs", progress=False)
    assert classes_of(run.network()) == NATURAL
    folder = nes_lab.save_pretrained(run.network(), tmp_path / "saved")
    assert json.loads((folder / "config.json").read_text())["classes"] == list(NATURAL)
    again = nes_lab.from_pretrained(tmp_path / "saved")
    assert classes_of(again) == classes_of(nes_lab.materialize(again)) == NATURAL
    with pytest.warns(StartWarning, match="same 3 classes in another order: its output 1 is '2'"):
        nes_lab.train(config(numbered, "own"), start=tmp_path / "saved", root=tmp_path / "runs", progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", StartWarning)
        nes_lab.train(config(numbered, "natural"), network=again, root=tmp_path / "runs", progress=False)


def test_a_resumed_run_with_another_order_is_refused(numbered: Path) -> None:
    def data(order: str) -> DatasetSpec:
        return load_image_folder(root=numbered, image_size=8, class_order=order)  # type: ignore[arg-type]

    network = nes_lab.create_backbone("small_mobilenetv2", num_classes=3, width=0.5)
    state = Trainer(network, data("own"), Recipe(epochs=1, lr=0.1, batch_size=2), device="cpu").state_dict()
    with pytest.raises(CheckpointError, match=r"classes: another order .1, 10, 2, now 1, 2, 10"):
        check_saved_data(data("natural"), state["data"])
    other = replace(data("own"), preprocessing=Preprocessing(8, "bicubic", 0.9, (0.5,) * 3, (0.5,) * 3))
    with pytest.raises(CheckpointError, match=r"prepared with bilinear, crop 0.875.* now with bicubic, crop 0.9"):
        check_saved_data(other, state["data"])


def test_a_checkpoint_of_unknown_order_is_noted(numbered: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    dense = nes_lab.create_backbone("small_mobilenetv2", num_classes=3, width=0.5)
    save_file(dense.state_dict(), tmp_path / "w.safetensors")
    tree = config(numbered, "own", checkpoint=str(tmp_path / "w.safetensors"))
    with pytest.warns(StartWarning, match="timm's ImageFolder gives 2 of 3 another label.*data.class_order: natural"):
        run = nes_lab.train(tree, root=tmp_path / "runs", progress=False)
    (event,) = [event for event in run.events() if event["kind"] == "data"]
    assert event["class_names"] == ["1", "10", "2"] and any("timm" in note for note in event["notes"])
    fresh = nes_lab.train(config(numbered, "own"), root=tmp_path / "runs", progress=False)
    assert not fresh.info.notes


def test_saved_class_names_are_checked(tmp_path: Path) -> None:
    net = nn.Linear(2, 2)
    set_classes(net, ["cat", "dog"])
    path = nes_lab.save_pretrained(net, tmp_path / "net") / "config.json"
    saved = json.loads(path.read_text())
    path.write_text(json.dumps(add_checksum(saved | {"classes": [1, 2]})))
    with pytest.raises(CheckpointError, match="'classes' must hold names"):
        nes_lab.from_pretrained(tmp_path / "net", model=nn.Linear(2, 2))
    del saved["classes"]  # as version 0.1 wrote it
    path.write_text(json.dumps(add_checksum(saved)))
    assert classes_of(nes_lab.from_pretrained(tmp_path / "net", model=nn.Linear(2, 2))) is None
