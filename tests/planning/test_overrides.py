"""Settings for single layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab import Budget
from nes_lab.errors import GeometryError, OptionError

X8 = torch.randn(1, 1, 8, 8)
SMALL = nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1)
MODEL = nn.Sequential(
    nn.Conv2d(16, 64, 1), nn.Conv2d(64, 64, 3), nn.Flatten(), nn.Linear(64 * 4, 32), nn.Linear(32, 32)
)
X = torch.randn(1, 16, 4, 4)


def _plan(overrides, budget=None, **options):
    plan = nes_lab.plan_for_budget(MODEL, budget or Budget(params=1.0), X, overrides=overrides, **options)
    report = nes_lab.count(nes_lab.compress(MODEL, plan, initial_weights="reset"), X)
    assert (report.params, report.madds) == (plan.predicted.params, plan.predicted.madds)
    return plan


def test_overrides_set_a_ratio_or_a_shape_or_keep_a_layer():
    plan = _plan(
        {"0": {"ratio": 0.5}, "1": {"epitome_shape": (32, 32, 4, 3)}, "3": {"keep": True}}, Budget(params=0.48)
    )
    assert 0.3 < plan.layers["0"].epitome_shape[0] * plan.layers["0"].epitome_shape[1] / (64 * 16) <= 0.5
    assert plan.layers["1"].epitome_shape == (32, 32, 4, 3)
    assert plan.kept["3"] == "overrides['3'] keeps it dense"
    assert plan.layers["0"].why == "ratio set by overrides['0']" and "overrides['1']" in plan.explain()
    assert plan.predicted.params <= 0.48 * plan.dense.params  # the rest is what the budget moves


def test_overrides_set_how_a_layer_is_made():
    how = {"routing": "free", "patch_channels": 8, "scope": "joint", "boundary": "circular", "wiring": "input_axis"}
    plan = _plan({"1": how}, Budget(params=0.5))
    layer = plan.layers["1"]
    assert (layer.routing, layer.patch_channels, layer.scope, layer.boundary) == ("free", (8, 8), "joint", "circular")
    assert layer.epitome_shape[0] == 64 > layer.epitome_shape[1]
    assert {plan.layers[n].routing for n in plan.layers if n != "1"} == {"tiled"}
    assert _plan({"1": {"patch_channels": [16, 4]}}, Budget(params=0.5)).layers["1"].patch_channels == (16, 4)


def test_settings_by_layer_lets_later_patterns_win():
    plan = _plan({"*": {"ratio": 0.5, "routing": "stride"}, "3": {"keep": True}, "4": {"epitome_shape": (8, 8)}})
    assert plan.kept["3"].startswith("overrides['*', '3']")
    assert plan.layers["4"].epitome_shape == (8, 8) and plan.layers["4"].routing == "stride"
    assert plan.layers["0"].routing == "stride"
    plan = _plan({"3": {"keep": True}, "Linear": {"ratio": 0.25}})
    assert plan.layers["3"].ratio < 0.4 and plan.layers["4"].ratio < 0.4


def test_overrides_replace_layers_that_are_dense_by_default():
    plan = nes_lab.plan_for_budget(
        SMALL, Budget(params=0.9), X8, overrides={"classifier": {"ratio": 0.5}}, min_channels=32
    )
    assert "classifier" in plan.layers
    conv = nn.Sequential(nn.Conv2d(16, 16, 3, groups=16), nn.Conv2d(16, 16, 1))
    with pytest.raises(OptionError, match=r"ratio=0\.1 for '0' cannot be met: the smallest ratio is 0\.5"):
        nes_lab.plan_for_budget(conv, Budget(params=1.0), X, overrides={"0": {"ratio": 0.1}})


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"heda": {"ratio": 0.5}}, r"overrides='heda' matches no layer.*"),
        ({"Linaer": {"ratio": 0.5}}, "Did you mean 'Linear' or 'linear'"),
        ({"0": {"ration": 0.5}}, "'ration', which is not known.*Did you mean 'ratio'"),
        ({"0": {"ratio": 1.5}}, "ratio=1.5"),
        ({"0": {"ratio": True}}, "ratio=True"),
        ({"0": {"keep": "yes"}}, "keep='yes'"),
        ({"0": {"epitome_shape": (8,)}}, "epitome_shape="),
        ({"0": {"epitome_shape": (8, 8)}}, r"epitome_shape=\(8, 8\) for '0' should have as many axes as its weight"),
        ({"0": {"epitome_shape": (128, 16, 1, 1)}}, "no more channels"),
        ({"0": {"routing": "tild"}}, r"overrides\['0'\]: routing='tild'"),
        ({"0": {"patch_channels": 0}}, "patch_channels=0"),
        ({"0": {"patch_channels": (1, 2, 3)}}, "patch_channels="),
        ({"0": {"keep": True, "ratio": 0.5}}, "sets keep and ratio"),
        ({"0": {}}, "give patterns with settings"),
        ({"0": 0.5}, "give patterns with settings"),
        ([0.5], "give patterns with settings"),
    ],
)
def test_check_overrides_refuses_wrong_settings(overrides, says):
    with pytest.raises(OptionError, match=says):
        nes_lab.plan_for_budget(MODEL, Budget(params=0.5), X, overrides=overrides)


def test_overrides_of_layers_that_can_never_be_replaced_say_why():
    model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16))
    model[1].weight = model[0].weight
    with pytest.raises(OptionError, match="asks for '1', which must stay dense: its weight is tied to that of '0'"):
        nes_lab.plan_for_budget(model, Budget(params=0.5), torch.randn(1, 16), overrides={"1": {"ratio": 0.5}})
    kept = nes_lab.plan_for_budget(model, Budget(params=1.0), torch.randn(1, 16), overrides={"1": {"keep": True}})
    assert not kept.layers


def test_overrides_cut_long_patches_and_refuse_long_windows():
    assert _plan({"1": {"epitome_shape": (8, 8, 3, 3), "patch_channels": 32}}).layers["1"].patch_channels == (8, 8)
    with pytest.raises(GeometryError, match="axis 'k0'"):
        _plan({"1": {"epitome_shape": (8, 8, 2, 3)}})
