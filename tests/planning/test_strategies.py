"""Budgets that must hold for every strategy."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import nes_lab
from nes_lab import Budget
from nes_lab.planning import speed
from nes_lab.planning.strategies import STRATEGIES
from tests.planning.fake_table import fake_table

X8 = torch.randn(1, 1, 8, 8)
SMALL = nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1)
REPORT = nes_lab.measure_sensitivity(SMALL, X8, round_to=2)
THREE, X32 = (
    nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8)).eval(),
    torch.randn(1, 32),
)
THREE_REPORT = nes_lab.measure_sensitivity(THREE, X32)


@pytest.fixture(autouse=True, scope="module")
def times_of_a_device():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "load_table", fake_table)
        yield


@settings(max_examples=12, deadline=None)
@given(
    params=st.none() | st.floats(0.35, 1.0),
    madds=st.none() | st.floats(0.5, 1.0),
    round_to=st.sampled_from([2, 4]),
    strategy=st.sampled_from(sorted(STRATEGIES)),
)
def test_strategies_never_exceed_a_budget_and_are_deterministic(params, madds, round_to, strategy):
    if params is None and madds is None:
        params = 0.5
    ways = {"round_to": round_to, "strategy": strategy}
    ways |= {"sensitivity": REPORT} if strategy == "sensitivity" else {}
    plan = nes_lab.plan_for_budget(SMALL, Budget(params, madds), X8, **ways)
    assert params is None or plan.predicted.params <= params * plan.dense.params
    assert madds is None or plan.predicted.madds <= madds * plan.dense.madds
    assert plan == nes_lab.plan_for_budget(SMALL, Budget(params, madds), X8, **ways)
    report = nes_lab.count(nes_lab.compress(SMALL, plan, initial_weights="reset"), X8)
    assert (report.params, report.madds) == (plan.predicted.params, plan.predicted.madds)


@settings(max_examples=25, deadline=None)
@given(
    strategy=st.sampled_from(sorted(STRATEGIES)),
    limits=st.sampled_from([("params",), ("madds",), ("params", "madds")]),
    low=st.tuples(st.floats(0.45, 0.98), st.floats(0.5, 0.98)),
    more=st.tuples(st.floats(0.0, 0.4), st.floats(0.0, 0.4)),
)
def test_strategies_never_take_fewer_params_for_more_budget(strategy, limits, low, more):
    ways = {"round_to": 1, "strategy": strategy}
    ways |= {"sensitivity": THREE_REPORT} if strategy == "sensitivity" else {}

    def params(extra: tuple[float, float]) -> int:
        shares = zip(("params", "madds"), low, extra, strict=True)
        budget = Budget(**{name: min(share + e, 0.99) for name, share, e in shares if name in limits})
        return nes_lab.plan_for_budget(THREE, budget, X32, **ways).predicted.params

    assert params(more) >= params((0.0, 0.0))
