"""Backbones by name."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

import nes_lab
from nes_lab.backbones.registry import backbone_names, create_backbone, register_backbone
from nes_lab.backbones.small import SmallMobileNetV2
from nes_lab.errors import CheckpointError, OptionError


def test_create_backbone_names_the_closest_backbone():
    with pytest.raises(OptionError, match=r"Did you mean .*mobilenetv2_100"):
        nes_lab.create_backbone("mobilenet_v2_100")


def test_create_backbone_refuses_a_width_for_timm_models():
    with pytest.raises(OptionError, match=r"width=0.5.*mobilenetv2_050"):
        nes_lab.create_backbone("mobilenetv2_100", width=0.5)
    with pytest.raises(OptionError, match="width=-1"):
        nes_lab.create_backbone("small_mobilenetv2", width=-1)


def test_register_backbone_refuses_a_name_in_use():
    with pytest.raises(OptionError, match="registered already"):
        register_backbone("small_mobilenetv2", SmallMobileNetV2)
    assert backbone_names(timm_too=False)[0] == "small_mobilenetv2" and "resnet18" in backbone_names()


def test_create_backbone_takes_the_weights_of_a_file(tmp_path):
    source = create_backbone("cifar_resnet20", num_classes=10)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    made = create_backbone("cifar_resnet20", num_classes=10, checkpoint=tmp_path / "w.safetensors")
    assert all(torch.equal(t, made.state_dict()[name]) for name, t in source.state_dict().items())
    assert made.nes_lab_backbone == source.nes_lab_backbone  # saved folders never read the file again
    other = {"num_classes": 3, "checkpoint": tmp_path / "w.safetensors"}
    with pytest.raises(CheckpointError, match="new_head gives the classifier fresh weights"):
        create_backbone("cifar_resnet20", **other)
    assert torch.equal(create_backbone("cifar_resnet20", new_head=True, **other).conv1.weight, source.conv1.weight)
    with pytest.raises(OptionError, match="two sources"):
        create_backbone("resnet18", pretrained=True, checkpoint=tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", ["resnet18", "small_mobilenetv2"])
def test_create_backbone_names_an_option_that_the_backbone_does_not_take(name):
    with pytest.raises(OptionError, match=r"options=\{'checkpoin': 'x'\} does not suit .* Did you mean 'checkpoint'"):
        create_backbone(name, checkpoin="x")


def test_create_backbone_says_that_a_file_is_missing(tmp_path):
    with pytest.raises(CheckpointError, match=r"nofile.pt is not a file"):
        create_backbone("small_mobilenetv2", checkpoint=tmp_path / "nofile.pt")
