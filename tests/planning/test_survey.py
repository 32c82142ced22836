"""What a survey lists, and how layers are counted that are shared, tied or bypassed."""

from __future__ import annotations

import json

import torch
from torch import nn

import nes_lab
from nes_lab import Budget, CompressionPlan

X8 = torch.randn(1, 1, 8, 8)
SMALL = nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1)


def _check(model: nn.Module, plan: CompressionPlan, x: torch.Tensor) -> None:
    report = nes_lab.count(nes_lab.compress(model, plan), x)
    assert (report.params, report.madds) == (plan.predicted.params, plan.predicted.madds)


def test_survey_of_shared_tied_and_bypassed_layers():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(50, 32)
            self.shared = nn.Linear(32, 32)
            self.bypassed = nn.Linear(32, 64)
            self.norm = nn.utils.parametrizations.weight_norm(nn.Linear(64, 32))
            self.head = nn.Linear(32, 50, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.shared(self.shared(self.embed(x)))
            y = nn.functional.linear(y, self.bypassed.weight, self.bypassed.bias)
            return self.head(self.norm(y))

    model, x = Odd().eval(), torch.randint(0, 50, (1, 7))
    plan = nes_lab.plan_for_budget(model, Budget(params="75%"), x, round_to=2)
    assert "tied to that of 'embed'" in plan.kept["head"] and "norm" in plan.kept
    assert plan.layers["bypassed"].execution == "materialize"
    _check(model, plan, x)
    small = nes_lab.compress(model, plan)
    assert small.head.weight is small.embed.weight
    assert torch.allclose(small(x), nes_lab.materialize(small)(x), atol=1e-5)


def test_survey_marks_children_that_encoder_layers_bypass():
    model, x = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval(), torch.randn(1, 6, 32)
    plan = nes_lab.plan_for_budget(model, Budget(params="80%"), x)
    assert {p.execution for p in plan.layers.values()} == {"materialize"} and plan.predicted.madds == plan.dense.madds
    _check(model, plan, x)
    small = nes_lab.compress(model, plan)
    with torch.no_grad():  # torch's fast path reads linear1.weight itself
        assert torch.allclose(small(x), nes_lab.materialize(small)(x), atol=1e-5)


def test_survey_lists_every_layer_in_module_order():
    plan = nes_lab.plan_for_budget(SMALL, Budget(params="60%"), X8, round_to=2)
    rows = plan.rows()
    assert [r["name"] for r in rows] == [n for n, m in SMALL.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert sum(r["madds"] for r in rows) == plan.predicted.madds
    json.dumps(rows)
