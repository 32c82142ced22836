"""Which layers stay dense, and what overrules that."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab import Budget, CompressionPlan
from nes_lab.errors import OptionError, PlanError

X8 = torch.randn(1, 1, 8, 8)
SMALL = nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1)
MODEL = nn.Sequential(
    nn.Conv2d(16, 64, 1), nn.Conv2d(64, 64, 3), nn.Flatten(), nn.Linear(64 * 4, 32), nn.Linear(32, 32)
)
X = torch.randn(1, 16, 4, 4)


def _check(model: nn.Module, plan: CompressionPlan, x: torch.Tensor) -> None:
    report = nes_lab.count(nes_lab.compress(model, plan), x)
    assert (report.params, report.madds) == (plan.predicted.params, plan.predicted.madds)


def test_dense_reason_of_layers_that_only_a_name_overrules():
    plan = nes_lab.plan_for_budget(SMALL, Budget(params="60%"), X8, round_to=2)
    assert "stem" in plan.kept["stem.0"] and "classifier" in plan.kept["classifier"]
    assert "depthwise" in plan.kept["blocks.1.depthwise.0"] and "blocks.1.expand.0" in plan.layers
    asked = nes_lab.plan_for_budget(
        SMALL, Budget(params="98%"), X8, round_to=1, include=["classifier", "blocks.1.depthwise.0"]
    )
    assert set(asked.layers) <= {"classifier", "blocks.1.depthwise.0"} and asked.layers
    _check(SMALL, asked, X8)
    model = nes_lab.create_backbone("efficientnet_b0")
    plan = nes_lab.plan_for_budget(model, Budget(params="70%"), torch.randn(1, 3, 64, 64))
    assert "squeeze-excite" in plan.kept["blocks.1.0.se.conv_reduce"]


def test_too_thin_keeps_layers_below_min_channels():
    model, x = nn.Sequential(nn.Conv2d(64, 32, 1), nn.Conv2d(32, 64, 1), nn.Conv2d(64, 64, 1)), torch.zeros(1, 64, 4, 4)
    plan = nes_lab.plan_for_budget(model, Budget(madds="75%"), x, min_channels=48)
    assert list(plan.layers) == ["2"] and "min_channels=48" in plan.kept_layers["0"].reason
    _check(model, plan, x)
    asked = nes_lab.plan_for_budget(model, Budget(madds="75%"), x, min_channels=48, include=["0", "1"])
    assert list(asked.layers) == ["0", "1"]
    with pytest.raises(OptionError, match="min_channels=0"):
        nes_lab.plan_for_budget(model, Budget(madds="75%"), x, min_channels=0)


def test_dense_reason_is_overruled_by_a_name_but_not_by_a_type():
    by_type = nes_lab.plan_for_budget(SMALL, Budget(params=0.9), X8, include="Conv2d", round_to=2)
    assert "depthwise" in by_type.kept["blocks.1.depthwise.0"] and "stem" in by_type.kept["stem.0"]
    with pytest.raises(nes_lab.BudgetError, match=r"100\.0 % of dense"):  # the classifier stays
        nes_lab.plan_for_budget(SMALL, Budget(params=0.9), X8, include="Linear", round_to=2)
    by_name = nes_lab.plan_for_budget(SMALL, Budget(params=0.99), X8, include="classifier", round_to=2)
    assert list(by_name.layers) == ["classifier"]
    with pytest.raises(nes_lab.BudgetError, match="32 channels, below min_channels=64"):
        nes_lab.plan_for_budget(MODEL, Budget(params=0.95), X, include="Linear", min_channels=64)


@pytest.mark.parametrize("routing", ["tiled", "learner"])
def test_no_epitome_layer_says_what_to_do_with_a_network_that_is_compressed_already(routing):
    """The linear layers of an index learner are no layers of the network."""
    model, x = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)), torch.zeros(1, 64)
    plan = nes_lab.plan_for_budget(model, Budget(params="60%"), x, routing=routing)
    small = nes_lab.compress(model, plan)
    advice = "it is an epitome already; materialize the network, or start from the dense network"
    with pytest.raises(PlanError, match=f"layer '0': {advice}"):
        nes_lab.compress(small, plan)
    with pytest.raises(nes_lab.BudgetError, match=r"100\.0 % of the given network, in which 2 .*" + advice):
        nes_lab.plan_for_budget(small, Budget(params="60%"), x)
