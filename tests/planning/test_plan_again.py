"""Plans made again and again for one network equal those made one by one."""

from __future__ import annotations

import pytest
import torch

import nes_lab
from nes_lab import Budget, BudgetError
from nes_lab.planning import plan_again
from nes_lab.planning.plan_again import PlanAgain
from nes_lab.records.options import PlanOptions

X = torch.zeros(1, 1, 8, 8)


def _network(device: str) -> torch.nn.Module:
    with torch.device(device):
        return nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_plan_again_equals_plan_for_budget(device: str):
    again, dense = PlanAgain(_network(device), X.to(device)), _network("cpu")
    budgets = (Budget(params="60%"), Budget(madds="75%"), Budget(params=0.7, madds=0.6))
    chosen = ({}, {"scope": "auto"}, {"routing": "free", "round_to": 2}, {"exclude": "*expand*"}, {"routing": "random"})
    for options in (*chosen, *chosen):  # the second time from the kept ladders
        for budget in budgets:
            plan = again.plan(budget, PlanOptions(**options, seed=3))
            assert plan == nes_lab.plan_for_budget(dense, budget, X, **options, seed=3), (options, budget)


def test_plan_again_makes_no_ladder_twice(monkeypatch: pytest.MonkeyPatch):
    made = []
    real = plan_again.ladder_of_survey
    monkeypatch.setattr(plan_again, "ladder_of_survey", lambda *args: made.append(1) or real(*args))
    monkeypatch.setattr(plan_again, "LADDERS_KEPT", 2)
    again = PlanAgain(_network("meta"), X.to("meta"))
    for share in ("60%", "50%", 0.5, "60 %"):
        again.plan(Budget(params=share), PlanOptions(round_to=2))
    assert len(made) == 1
    for round_to in (4, 8, 2):  # the ladder of 2 is the oldest of three, and was dropped
        again.plan(Budget(params="60%"), PlanOptions(round_to=round_to))
    assert len(made) == 4


def test_plan_again_goes_on_after_a_refusal_and_after_a_stop():
    again = PlanAgain(_network("meta"), X.to("meta"))
    with pytest.raises(BudgetError, match="cannot be met") as refused:
        again.plan(Budget(params="1%"))
    assert refused.value.least.params > 0

    def stop(event: object) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        again.plan(Budget(params="60%"), PlanOptions(round_to=4), on_progress=stop)
    assert again.plan(Budget(params="60%"), PlanOptions(round_to=4)).layers
