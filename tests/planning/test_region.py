"""What a network can reach agrees with its plans: they lie inside, and budgets outside are refused."""

from __future__ import annotations

import random

import pytest
import torch

import nes_lab
from nes_lab import Budget, BudgetError
from nes_lab.planning.plan_again import PlanAgain
from nes_lab.planning.region import params_between, reachable
from nes_lab.records.options import PlanOptions
from nes_lab.records.reachable import Reachable

X = torch.zeros(1, 1, 8, 8, device="meta")
OPTIONS = (
    {"round_to": 2},
    {"round_to": 2, "routing": "free"},
    {"scope": "joint"},
    {"overrides": {"head*": {"ratio": 0.5}}},
)


@pytest.fixture(scope="module")
def again():
    with torch.device("meta"):
        return PlanAgain(nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1), X)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_plans_lie_in_the_region_and_budgets_outside_are_refused(again, options):
    options = PlanOptions(**options)
    region = again.region(Budget(madds=0.5), options)
    ladder = again.ladder(Budget(madds=0.5), options)
    draw, refused = random.Random(0), 0
    for _ in range(60):
        madds, params = (draw.uniform(0.05, 1.0) for _ in range(2))
        joint = options.scope == "joint"  # multiply-adds do not fall
        budget = Budget(params=params) if joint else Budget(madds=madds, params=params)
        limits = budget.limits(region.dense)
        outside = any(limit < getattr(region.least, name) for name, limit in limits.items())
        if outside:
            refused += 1
            with pytest.raises(BudgetError, match="cannot be met"):
                again.plan(budget, options)
            continue
        plan = again.plan(budget, options)
        low, high = params_between(ladder, plan.predicted.madds)
        assert low - 1e-6 <= plan.predicted.params <= high + 1e-6
    assert 0 < refused < 60


def test_region_holds_every_mix_of_sizes_and_its_edges_are_mixes(again):
    ladder = again.ladder(Budget(madds=0.5), PlanOptions(round_to=2))
    layers, draw = ladder.steps_by_layer(), random.Random(1)
    for greed in (None, 1, -1):
        for _ in range(30):
            sizes = [draw.choice([None, *layer.plans]) for layer in layers]
            if greed:  # shrink a layer to its smallest size only where it saves many, or few, params per multiply-add
                limit = draw.uniform(0, 1)
                saved = [(each.plans[-1].dense - each.plans[-1].predicted) for each in layers]
                sizes = [
                    each.plans[-1] if greed * (s.params / (s.params + s.madds) - limit) > 0 else None
                    for each, s in zip(layers, saved, strict=True)
                ]
            counts = ladder.survey.dense
            for plan in filter(None, sizes):
                counts = counts + plan.predicted - plan.dense
            low, high = params_between(ladder, counts.madds)
            assert low - 1e-6 <= counts.params <= high + 1e-6
    # the corners of the edges are networks: with all layers dense or smallest, both edges meet
    region = reachable(ladder)
    assert region.fewest_params[0] == pytest.approx(region.least.params)
    assert region.most_params[-1] == pytest.approx(region.dense.params)
    middle = len(region.madds) // 2
    assert region.fewest_params[middle] < region.most_params[middle]


def test_a_layer_of_its_own_reaches_no_more_than_its_chain():
    with torch.device("meta"):
        again = PlanAgain(torch.nn.Sequential(torch.nn.Linear(64, 64)), torch.zeros(1, 64))
    ladder = again.ladder(Budget(madds=0.5), PlanOptions())
    assert params_between(ladder, ladder.totals[-1].madds) == (ladder.totals[-1].params,) * 2
    assert params_between(ladder, ladder.totals[-1].madds - 1) is None


def test_regions_are_kept_and_survive_json(again, monkeypatch):
    region = again.region(Budget(madds=0.5))
    monkeypatch.setattr("nes_lab.planning.plan_again.reachable", lambda ladder: 1 / 0)
    assert again.region(Budget(params=0.7)) is region
    assert Reachable.from_dict(region.to_dict()) == region
