"""The scope and the layers of a ladder."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab import Budget, CompressionPlan
from nes_lab.geometry.start_rules import ROUTING_MODES

X8 = torch.randn(1, 1, 8, 8)
SMALL = nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1)


def _check(model: nn.Module, plan: CompressionPlan, x: torch.Tensor) -> None:
    report = nes_lab.count(nes_lab.compress(model, plan), x)
    assert (report.params, report.madds) == (plan.predicted.params, plan.predicted.madds)


@pytest.mark.parametrize(
    ("budget", "routing", "scope"),
    [
        (Budget(params="50%"), "random", "joint"),
        (Budget(params="60%"), "free", "joint"),
        (Budget(params="50%"), "tiled", "separable"),
        (Budget(params="50%"), "stride", "separable"),
        (Budget(madds="60%"), "random", "separable"),
        (Budget(params="50%", madds="100%"), "random", "joint"),
    ],
)
def test_build_ladder_with_scope_auto_follows_what_must_fall(budget, routing, scope):
    plan = nes_lab.plan_for_budget(SMALL, budget, X8, scope="auto", round_to=2, routing=routing)
    assert {layer.scope for layer in plan.layers.values()} == {scope}
    _check(SMALL, plan, X8)


@pytest.mark.parametrize("routing", [mode.name for mode in ROUTING_MODES.values() if mode.separable])
def test_build_ladder_may_choose_either_scope_for_separable_rules(routing):
    weights = []
    for scope in ("separable", "joint"):
        chosen = {"scope": scope, "round_to": 2, "patch_channels": 4, "routing": routing}
        plan = nes_lab.plan_for_budget(SMALL, Budget(params="60%"), X8, **chosen)
        weights.append(nes_lab.compress(SMALL, plan, initial_weights="reset").get_submodule("head.0").weight)
    assert torch.equal(*weights)
