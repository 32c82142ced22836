"""The list of backbones agrees with the networks and with timm."""

import pytest
import timm
import torch

from benchmarks.backbones import describe
from nes_lab.backbones.registry import backbone_names
from nes_lab.records.backbone_list import BACKBONE_LIST, OWN_INPUTS, backbone_list, backbone_table


def test_every_backbone_is_listed_for_the_installed_timm():
    names = [name for name in backbone_names() if not name.startswith("test_")]
    assert f'"timm": "{timm.__version__}"' in BACKBONE_LIST.read_text(), "run benchmarks/backbones.py again"
    assert list(backbone_list()) == names
    assert set(OWN_INPUTS) == set(backbone_names(timm_too=False))
    assert BACKBONE_LIST.stat().st_size < 200_000


@pytest.mark.parametrize("name", ["cifar_resnet20", "resnet18", "vit_tiny_patch16_224"])
def test_the_numbers_are_those_of_the_network(name):
    listed, counted = backbone_list()[name], describe(name)
    assert (listed.params, listed.madds, listed.smallest) == tuple(
        counted[key] for key in ("params", "madds", "smallest")
    )


def test_the_smallest_side_runs_and_a_fixed_network_takes_no_other():
    listed = backbone_list()
    assert listed["mobilenetv2_100"].needed_side(8) is None and listed["convnext_tiny"].needed_side(8) == 224
    network = timm.create_model("vit_tiny_patch16_224").eval()
    with pytest.raises(AssertionError, match="8"):
        network(torch.zeros(1, 3, 8, 8))
    assert listed["vit_tiny_patch16_224"].needed_side(256) == 224


def test_a_search_needs_all_its_words():
    names = [row["backbone"] for row in backbone_table("mobilenetv2 EFFICIENTNET 100").rows]
    assert "mobilenetv2_100" in names and not any("resnet" in name for name in names)
