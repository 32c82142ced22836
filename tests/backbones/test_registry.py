"""Backbones by name."""

from __future__ import annotations

import pytest
import torch

import nes_lab
from nes_lab.backbones.registry import backbone_names, register_backbone
from nes_lab.backbones.small import SmallMobileNetV2
from nes_lab.errors import OptionError


@pytest.mark.parametrize("size", [8, 16, 32])
@pytest.mark.parametrize("width", [0.25, 1.0])
def test_the_small_network(size, width):
    model = nes_lab.create_backbone("small_mobilenetv2", num_classes=7, in_channels=3, width=width)
    assert model(torch.randn(2, 3, size, size)).shape == (2, 7)


def test_unknown_names_get_the_closest():
    with pytest.raises(OptionError, match=r"Did you mean .*mobilenetv2_100"):
        nes_lab.create_backbone("mobilenet_v2_100")


def test_width_is_ours_only():
    with pytest.raises(OptionError, match=r"width=0.5.*mobilenetv2_050"):
        nes_lab.create_backbone("mobilenetv2_100", width=0.5)
    with pytest.raises(OptionError, match="width=-1"):
        nes_lab.create_backbone("small_mobilenetv2", width=-1)


def test_no_name_twice():
    with pytest.raises(OptionError, match="registered already"):
        register_backbone("small_mobilenetv2", SmallMobileNetV2)
    assert backbone_names(timm_too=False)[0] == "small_mobilenetv2" and "resnet18" in backbone_names()
