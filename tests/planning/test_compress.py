"""Compressing in one call gives what planning and compressing give, and says what is missing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.errors import BudgetError, OptionError, PlanError


@pytest.fixture(scope="module")
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1))


X = torch.zeros(1, 16, 8, 8)


def test_compress_to_a_budget_equals_planning_and_compressing(model: nn.Sequential):
    options: dict[str, Any] = {"routing": "free", "patch_channels": (4, 8), "exclude": "0"}
    plan = nes_lab.plan_for_budget(model, nes_lab.Budget(params="80%", madds="75%"), X, **options)
    small = nes_lab.compress(model, params="80%", madds="75%", example_input=X, initial_weights="reset", **options)
    assert small.nes_lab_plan == plan
    expected = nes_lab.compress(model, plan, "reset").state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in small.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({}, PlanError, "give a plan, or a budget"),
        ({"example_input": X}, PlanError, "give a plan, or a budget"),
        ({"madds": "75%"}, OptionError, r"madds='75%' needs example_input"),
        ({"madd": "75%", "example_input": X}, OptionError, r"no argument 'madd'\. Did you mean 'madds'"),
        ({"madds": "75%", "example_input": X, "routing": "tild"}, OptionError, "Did you mean 'tiled'"),
        ({"madds": "0.01%", "example_input": X}, BudgetError, "least reachable"),
        ({"plan": nes_lab.Budget(madds="75%")}, PlanError, "plan is a Budget.*For a budget write"),
    ],
)
def test_compress_says_what_is_missing(model: nn.Sequential, arguments: dict, error: type[Exception], says: str):
    with pytest.raises(error, match=says):
        nes_lab.compress(model, **arguments)


def test_compress_refuses_a_budget_beside_a_plan(model: nn.Sequential):
    plan = nes_lab.plan_for_budget(model, nes_lab.Budget(params="80%"), X)
    for beside in ({"madds": "75%"}, {"routing": "free"}):
        with pytest.raises(OptionError, match=f"plan= and {next(iter(beside))}="):
            nes_lab.compress(model, plan, **beside)
