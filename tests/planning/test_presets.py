"""The authors' released wiring: the counts of the papers' tables, to the digit shown."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.config import load_config
from nes_lab.errors import OptionError, PlanError
from nes_lab.planning.from_config import plan_from_config, plan_options
from nes_lab.planning.presets import small_file_options


def _row(name: str, options: dict | None) -> tuple[str, str]:
    model, x = nes_lab.create_backbone(name).eval(), torch.randn(1, 3, 224, 224)
    if options is not None:
        plan = nes_lab.preset("released_x2", model, x, **options)
        model = nes_lab.compress(model, plan)
    report = nes_lab.count(model, x)
    if options is not None:
        assert (plan.predicted.params, plan.predicted.madds) == (report.params, report.madds)
        assert {layer.routing for layer in plan.layers.values()} == {"tiled"}
    return f"{report.params / 1e6:.3f}", f"{report.madds / 1e6:.1f}"


@pytest.mark.parametrize(
    ("name", "options", "params", "madds"),
    [
        ("mobilenetv2_100", None, "3.505", "300.8"),
        ("mobilenetv2_100", {}, "2.648", "180.1"),
        ("mobilenetv2_100", {"wiring": "expand_head"}, "2.924", "225.9"),
        ("efficientnet_b0", None, "5.289", "385.8"),
        ("efficientnet_b0", {}, "3.920", "226.6"),
        ("efficientnet_b0", {"head": True}, "3.715", "216.5"),
        ("efficientnet_b1", None, "7.794", "569.7"),
        ("efficientnet_b1", {}, "5.463", "327.2"),
    ],
)
def test_preset_released_x2_has_the_published_counts(name, options, params, madds):
    assert _row(name, options) == (params, madds)


def test_preset_released_x2_knows_small_mobilenetv2():
    model, x = nes_lab.create_backbone("small_mobilenetv2", in_channels=1), torch.randn(1, 1, 8, 8)
    plan = nes_lab.preset("released_x2", model, x)
    assert plan.layers["blocks.1.expand.0"].epitome_shape == (32, 16, 1, 1)
    assert plan.layers["blocks.1.project.0"].epitome_shape == (24, 32, 1, 1)
    assert "blocks.0.project.0" in plan.kept  # no expand convolution in the first block


def test_preset_refuses_unknown_names_and_models():
    x = torch.randn(1, 3, 64, 64)
    with pytest.raises(PlanError, match="ResNet has none"):
        nes_lab.preset("released_x2", nes_lab.create_backbone("resnet18"), x)
    with pytest.raises(OptionError, match="Did you mean 'released_x2'"):
        nes_lab.preset("released_x4", nes_lab.create_backbone("resnet18"), x)


@pytest.mark.parametrize(
    ("name", "factor", "shape"),
    [
        ("input_axis", 2, (64, 8, 1, 1)),
        ("output_axis", 2, (32, 16, 1, 1)),
        ("both_axes", 2, (32, 8, 1, 1)),
        ("both_axes", 4, (16, 4, 1, 1)),
        ("output_axis", 3, (22, 16, 1, 1)),
    ],
)
def test_preset_along_axes_replaces_every_layer_that_may_be(name, factor, shape):
    model, x = nes_lab.create_backbone("small_mobilenetv2", in_channels=1), torch.randn(1, 1, 8, 8)
    plan = nes_lab.preset(name, model, x, factor=factor)
    assert plan.layers["blocks.1.expand.0"].epitome_shape == shape
    assert {layer.routing for layer in plan.layers.values()} == {"tiled"}
    free = nes_lab.plan_for_budget(model, nes_lab.Budget(params=0.4), x, round_to=1)
    assert plan.layers.keys() == free.layers.keys() and "stem" in plan.kept["stem.0"]
    report = nes_lab.count(nes_lab.compress(model, plan), x)
    assert (report.params, report.madds) == (plan.predicted.params, plan.predicted.madds)


def test_preset_along_axes_keeps_thin_layers_and_follows_patterns():
    model = nn.Sequential(nn.Conv2d(1, 16, 1), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 32, 1))
    x = torch.randn(1, 1, 4, 4)
    plan = nes_lab.preset("input_axis", model, x, exclude="2")
    assert list(plan.layers) == ["1"] and "fewer than factor=2 channels" in plan.kept["0"]
    assert list(nes_lab.preset("output_axis", model, x, include="0").layers) == ["0"]


@pytest.mark.parametrize("dtype", ["float", "int8"])
def test_small_file_gives_all_layers_one_epitome_that_small_weights_fill(dtype):
    model, x = nes_lab.create_backbone("cifar_resnet14", num_classes=10), torch.randn(1, 3, 32, 32)
    plan = nes_lab.preset("small_file", model, x, epitome_dtype=dtype, seed=3)
    (epitome,) = plan.epitomes.values()
    weights = sum(math.prod(layer.weight_shape) for layer in plan.layers.values())
    assert epitome.params == weights // 16 and plan.predicted.madds == plan.dense.madds
    share = plan.predicted.stored_bytes / plan.dense.stored_bytes
    assert 0.08 < share < 0.1 if dtype == "float" else share < 0.055
    assert {(layer.windows, layer.routing) for layer in plan.layers.values()} == {(2, "random")}
    other = nes_lab.preset("small_file", model, x, epitome_dtype=dtype, seed=4)
    assert all(other.layers[name].seed == layer.seed + 1 for name, layer in plan.layers.items())
    assert plan == nes_lab.CompressionPlan.from_json(plan.to_json()) and plan.origin == "small_file, factor=16"
    report = nes_lab.count(nes_lab.compress(model, plan), x)
    assert (report.params, report.madds) == (plan.predicted.params, plan.predicted.madds)
    twice = nes_lab.preset("small_file", model, x, epitome_dtype=dtype, factor=32)
    assert twice.epitomes["network"].params == weights // 32
    config = load_config({"compression": {"preset": "small_file", "epitome_dtype": dtype}})
    assert plan_options(config.compression, 3) == small_file_options(3, dtype)
    assert plan_from_config(model, x, config.compression, 3) == plan


@pytest.mark.parametrize("name", ["small_file", "both_axes"])
def test_a_configuration_with_a_preset_leaves_out_the_layers_it_excludes(name):
    model, x = nes_lab.create_backbone("cifar_resnet14", num_classes=10), torch.randn(1, 3, 32, 32)
    config = load_config({"compression": {"preset": name, "exclude": ["layer1*"]}}).compression
    plan = plan_from_config(model, x, config)
    assert plan == nes_lab.preset(name, model, x, exclude=["layer1*"]) != nes_lab.preset(name, model, x)
    assert tuple(plan_options(config).exclude) == ("layer1*",)
    config = load_config({"compression": {"preset": name, "overrides": {"layer1*": {"keep": True}}}}).compression
    with pytest.raises(OptionError, match=f"overrides=.* does not go with preset='{name}'"):
        plan_from_config(model, x, config)


@pytest.mark.parametrize(("option", "value"), [("routing", "free"), ("share", "network"), ("round_to", 2)])
@pytest.mark.parametrize("name", ["small_file", "both_axes"])
def test_a_configuration_with_an_option_that_its_preset_would_not_follow_is_refused(name, option, value):
    config = load_config({"compression": {"preset": name, option: value}}).compression
    says = f"{option}={value!r} does not go with preset='{name}', which sets it itself; leave {option} at"
    with pytest.raises(OptionError, match=says):
        plan_from_config(nes_lab.create_backbone("cifar_resnet14"), torch.randn(1, 3, 32, 32), config)


def test_small_file_has_larger_patches_for_1x1_convolutions_and_keeps_thin_and_depthwise_layers():
    model = nes_lab.create_backbone("small_mobilenetv2", in_channels=1)
    plan = nes_lab.preset("small_file", model, torch.randn(1, 1, 8, 8))
    assert {layer.patch_channels for layer in plan.layers.values()} == {(8, 8)}
    assert all("small_file" in layer.why for layer in plan.layers.values())
    assert "depthwise" in " ".join(plan.kept.values()) and "stem.0" in plan.kept
    only = nes_lab.preset(
        "small_file", nn.Sequential(nn.Conv2d(16, 16, 3), nn.Linear(30, 64)), torch.randn(1, 16, 32, 32)
    )
    assert only.layers["0"].patch_channels == (4, 4) and only.layers["1"].patch_channels == (8, 8)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("small_file", {"head": True}, "head does not go with the preset 'small_file'"),
        ("small_file", {"factor": 1}, "factor=1"),
        ("both_axis", {}, "Did you mean 'both_axes'"),
        ("both_axes", {"factor": 1}, "factor=1"),
        ("both_axes", {"head": True}, "head does not go with the preset 'both_axes'"),
        ("both_axes", {"wiring": "expand_head"}, "wiring does not go"),
        ("released_x2", {"factor": 3}, "factor does not go with the preset 'released_x2'"),
        ("released_x2", {"include": "0"}, "include does not go"),
    ],
)
def test_preset_refuses_options_of_other_presets(name, options, says):
    model = nes_lab.create_backbone("small_mobilenetv2", in_channels=1)
    with pytest.raises(OptionError, match=says):
        nes_lab.preset(name, model, torch.randn(1, 1, 8, 8), **options)
