"""Layers named by pattern or type."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab import Budget
from nes_lab.errors import OptionError

X8 = torch.randn(1, 1, 8, 8)
SMALL = nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1)
MODEL = nn.Sequential(
    nn.Conv2d(16, 64, 1), nn.Conv2d(64, 64, 3), nn.Flatten(), nn.Linear(64 * 4, 32), nn.Linear(32, 32)
)
X = torch.randn(1, 16, 4, 4)


def test_matching_layers_by_name():
    plan = nes_lab.plan_for_budget(SMALL, Budget(params="80%"), X8, round_to=2, exclude="head*")
    assert plan.kept["head.0"] == "a pattern of exclude= matches it"
    with pytest.raises(OptionError, match=r"include='blocks.9\*' matches no layer"):
        nes_lab.plan_for_budget(SMALL, Budget(params="80%"), X8, include=["blocks.9*"])


@pytest.mark.parametrize("entry", ["Linear", "linear"])
def test_matching_layers_by_type(entry):
    plan = nes_lab.plan_for_budget(MODEL, Budget(params=0.95), X, include=entry)
    assert set(plan.layers) <= {"3", "4"} and plan.layers
    plan = nes_lab.plan_for_budget(MODEL, Budget(params=0.9), X, exclude=[entry])
    assert set(plan.layers) <= {"0", "1"} and plan.kept["3"] == "a pattern of exclude= matches it"


def test_matching_layers_takes_names_before_types():
    model = nn.ModuleDict({"linear": nn.Linear(32, 32), "other": nn.Linear(32, 32)})

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.other = model["linear"], model["other"]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.other(self.linear(x))

    plan = nes_lab.plan_for_budget(Both(), Budget(params=0.9), torch.randn(1, 32), include="linear")
    assert list(plan.layers) == ["linear"] and "other" in plan.kept
    assert set(nes_lab.plan_for_budget(Both(), Budget(params=0.5), torch.randn(1, 32), include="Linear").layers) == {
        "linear",
        "other",
    }
