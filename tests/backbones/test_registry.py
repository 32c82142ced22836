"""Backbones by name."""

from __future__ import annotations

import pytest

import nes_lab
from nes_lab.backbones.registry import backbone_names, register_backbone
from nes_lab.backbones.small import SmallMobileNetV2
from nes_lab.errors import OptionError


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
