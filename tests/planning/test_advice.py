"""A plan's advice: only what a measured row supports, with its numbers, and nothing where the plan already follows it."""

from __future__ import annotations

from statistics import mean

import pytest
import torch

import nes_lab
from nes_lab.planning import advice
from nes_lab.planning.advice import ONE_EPITOME
from nes_lab.records.measured_accuracy import measured


def test_a_storage_budget_is_advised_to_share_one_epitome_and_one_that_does_is_not():
    dense, x = nes_lab.create_backbone("cifar_resnet20", num_classes=10), torch.zeros(1, 3, 32, 32)
    plan = nes_lab.plan_for_budget(dense, nes_lab.Budget(stored_bytes="6%"), x, share="stage", windows=2)
    (sentence,) = plan.advice
    row = next(row for row in measured() if row["share"] == 0.05 and row["contender"] == "width")
    assert "share='network'" in sentence and f"{mean(row['top1']):.1f} %" in sentence
    assert ("first look" in sentence) == (row["status"] == "first look")
    assert sentence in str(plan) and nes_lab.CompressionPlan.from_json(plan.to_json()) == plan
    shared = nes_lab.plan_for_budget(dense, nes_lab.Budget(stored_bytes="6%"), x, share="network", windows=2)
    larger = nes_lab.plan_for_budget(dense, nes_lab.Budget(params="30%"), x, share="stage")
    assert shared.advice == larger.advice == ()


def test_a_thin_network_of_depthwise_convolutions_is_advised_to_be_narrower(monkeypatch: pytest.MonkeyPatch):
    dense, x = nes_lab.create_backbone("small_mobilenetv2"), torch.zeros(1, 3, 16, 16)
    budget = nes_lab.Budget(madds="50%")
    (sentence,) = nes_lab.plan_for_budget(dense, budget, x, round_to=1).advice
    assert "a narrower network without epitomes may be better here" in sentence and any(
        row["kind"] == "depthwise" for row in measured()
    )
    monkeypatch.setattr(advice, "measured", lambda: ())
    assert nes_lab.plan_for_budget(dense, budget, x, round_to=1).advice == ()


def test_a_network_that_only_other_contenders_were_tried_on_is_not_advised_to_share(monkeypatch: pytest.MonkeyPatch):
    dense, x = nes_lab.create_backbone("cifar_resnet20", num_classes=10), torch.zeros(1, 3, 32, 32)
    rows = [row | {"contender": row["contender"].replace(ONE_EPITOME, "other")} for row in measured()]
    monkeypatch.setattr(advice, "measured", lambda: tuple(rows))
    assert nes_lab.plan_for_budget(dense, nes_lab.Budget(stored_bytes="6%"), x, share="stage", windows=2).advice == ()
