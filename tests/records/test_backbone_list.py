"""The list of backbones agrees with the networks and with timm."""

from dataclasses import replace

import pytest
import timm
import torch

from benchmarks.backbones import describe
from nes_lab.backbones.registry import backbone_names
from nes_lab.records.backbone_list import (
    BACKBONE_LIST,
    OWN_INPUTS,
    PUBLISHED,
    BackboneFacts,
    backbone_list,
    backbone_table,
    published_top1,
)


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


def test_a_published_accuracy_is_of_the_default_weights_at_the_own_input():
    listed, published = backbone_list(), published_top1()
    assert len(published) > 800
    for model, (side, top1) in published.items():
        name, _, tag = model.partition(".")
        config = timm.get_pretrained_cfg(name)
        assert config.tag == tag, model
        assert side == config.input_size[-1] == listed[name].side, model
        assert 20 < top1 < 92 and listed[name].top1 == top1, model
    rows = [line for line in PUBLISHED.read_text().splitlines() if not line.startswith("#")]
    assert rows[0] == "model,image_size,top1" and len(rows) - 1 == len(published), "a model is listed twice"
    assert sum(facts.top1 is not None for facts in listed.values()) == len(published)


def test_the_file_of_published_accuracies_names_its_source():
    head = "".join(line for line in PUBLISHED.read_text().splitlines() if line.startswith("#"))
    for word in (
        "as reported by timm",
        "huggingface/pytorch-image-models",
        "results/results-imagenet.csv",
        "2026-11-29",
    ):
        assert word in head
    (column,) = (column for column in backbone_table().columns if column.key == "published_top1")
    assert head.split("commit ")[1][:7] in column.help and "as reported by timm" in column.help


def test_an_accuracy_is_shown_with_its_size_or_a_dash():
    table = backbone_table("resnet50")
    rows = {row["backbone"]: cells for row, cells in zip(table.rows, map(table.cells, table.rows), strict=True)}
    place = table.titles.index("published top-1")
    assert rows["resnet50"][place] == "80.4 %" and rows["legacy_seresnet50"][place] == "77.6 %"
    assert rows["resnet50_clip"][place] == "–"  # its weights have no classes of ImageNet
    listed = backbone_list()
    assert listed["resnet50"].summary.endswith("ImageNet top-1 80.4 %, as reported by timm at 224 px")
    assert "top-1" not in listed["resnet50_clip"].summary
    assert isinstance(table.grid()[0]["published_top1"], float), "sorting needs numbers"


def test_a_backbone_that_is_not_counted_says_why():
    facts = BackboneFacts("big", "eva", (3, 224, 224), top1=88.0)
    assert facts.summary.startswith("not counted yet · input of 224 px · ImageNet top-1 88.0 %")
    failed = replace(facts, top1=None, error="RuntimeError: too large")
    assert failed.summary == "not counted, as it failed: RuntimeError: too large · input of 224 px"
    assert not replace(facts, params=1, madds=1).uncounted
