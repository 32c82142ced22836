"""Budgets that are met by the cheapest steps first."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import nes_lab
from nes_lab import Budget
from nes_lab.errors import OptionError, PlanError
from nes_lab.planning.sensitivity.order import hull_slopes

X8 = torch.randn(1, 1, 8, 8)
SMALL = nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1)
REPORT = nes_lab.measure_sensitivity(SMALL, X8, round_to=2)


def _three(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8)).eval()


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 5)), min_size=1, max_size=12))
def test_hull_slopes_never_fall(steps):
    xs, ys = [0.0], [0.0]
    for dx, y in steps:
        xs.append(xs[-1] + dx)
        ys.append(y)
    slopes = hull_slopes(xs, ys)
    assert len(slopes) == len(steps)
    # rounding: slopes of tiny steps are differences of nearly equal numbers
    assert all(b >= a or b > a - 1e-6 * max(1, abs(a)) for a, b in pairwise(slopes))


def test_order_by_sensitivity_begins_with_a_layer_that_fits_exactly():
    """Two equal halves cost nothing, so that half of the cells go there before any go elsewhere."""
    model, x = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False)), torch.randn(1, 64)
    with torch.no_grad():
        model[1].weight[32:] = model[1].weight[:32]
    ways = {"strategy": "sensitivity", "wiring": "output_axis"}
    plan = nes_lab.plan_for_budget(model, Budget(params=0.75), x, **ways)
    assert list(plan.layers) == ["1"] and plan.layers["1"].epitome_shape == (32, 64)
    assert nes_lab.plan_for_budget(model, Budget(params=0.75), x, wiring="output_axis").layers.keys() == {"0", "1"}


@pytest.mark.parametrize(("budget", "spared"), [(Budget(params=0.6), "params"), (Budget(madds=0.6), "madds")])
def test_order_by_sensitivity_saves_what_the_budget_limits(budget, spared):
    """Where only params are limited, less of the multiply-adds goes than where these are, and the other way round."""
    other = Budget(madds=0.6) if spared == "params" else Budget(params=0.6)
    ways = {"round_to": 1, "strategy": "sensitivity", "sensitivity": REPORT}
    mine, its = (nes_lab.plan_for_budget(SMALL, b, X8, **ways) for b in (budget, other))
    cost = [sum(REPORT.by_name[n].cost(p.ratio) for n, p in plan.layers.items()) for plan in (mine, its)]
    assert getattr(mine.predicted, spared) <= 0.6 * getattr(mine.dense, spared)
    assert getattr(its.predicted, spared) > 0.6 * getattr(its.dense, spared) or cost[0] <= cost[1]


def test_order_by_sensitivity_uses_98_percent_of_the_budget():
    for share in (0.5, 0.6, 0.75):
        plan = nes_lab.plan_for_budget(SMALL, Budget(madds=share), X8, round_to=1, strategy="sensitivity")
        assert 0.98 <= plan.predicted.madds / (share * plan.dense.madds) <= 1 or "prevents more" in plan.notes[0]


def test_order_by_sensitivity_refuses_reports_of_other_models_or_epitomes():
    model, x = _three(), torch.randn(1, 32)
    report = nes_lab.measure_sensitivity(model, x)
    ways = {"strategy": "sensitivity", "sensitivity": report}
    with pytest.raises(OptionError, match="scope='joint'; the sensitivities were measured with scope='separable'"):
        nes_lab.plan_for_budget(model, Budget(params=0.5), x, scope="joint", **ways)
    with pytest.raises(PlanError, match="do not include layer"):
        nes_lab.plan_for_budget(SMALL, Budget(params=0.5), X8, **ways)
    wider = nn.Sequential(nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 32), nn.ReLU(), nn.Linear(32, 8))
    with pytest.raises(PlanError, match=r"layer '0' with a weight of \(64, 32\); here it is \(128, 32\)"):
        nes_lab.plan_for_budget(wider, Budget(params=0.5), x, **ways)
    with pytest.raises(OptionError, match="goes with strategy='sensitivity'"):
        nes_lab.plan_for_budget(model, Budget(params=0.5), x, sensitivity=report)
    with pytest.raises(OptionError, match="sensitivity is a dict"):
        nes_lab.plan_for_budget(model, Budget(params=0.5), x, strategy="sensitivity", sensitivity={})
