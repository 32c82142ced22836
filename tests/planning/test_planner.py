"""The planner: exact predictions, budgets met, order kept, refusals that say what to do."""

from __future__ import annotations

import json
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import nes_lab
from nes_lab import Budget, CompressionPlan
from nes_lab.errors import BudgetError, OptionError, PlanError

X8 = torch.randn(1, 1, 8, 8)
SMALL = nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1)


def _check(model: nn.Module, plan: CompressionPlan, x: torch.Tensor) -> None:
    report = nes_lab.count(nes_lab.compress(model, plan), x)
    assert report.counts == plan.predicted  # each quantity


@settings(max_examples=25, deadline=None)
@given(
    params=st.none() | st.floats(0.3, 1.0),
    madds=st.none() | st.floats(0.45, 1.0),
    size=st.none() | st.floats(0.4, 1.0),
    routing=st.sampled_from(["tiled", "stride", "random", "free", "learner"]),
    boundary=st.sampled_from(["clamp", "circular"]),
    round_to=st.sampled_from([1, 2, 4]),
    patch=st.none() | st.integers(1, 20),
)
def test_plan_for_budget_never_exceeds_it_and_predicts_exactly(params, madds, size, routing, boundary, round_to, patch):
    if params is None and madds is None and size is None:
        params = 0.5
    plan = nes_lab.plan_for_budget(
        SMALL,
        Budget(params, madds, None, size),
        X8,
        routing=routing,
        boundary=boundary,
        round_to=round_to,
        patch_channels=patch,
    )
    assert params is None or plan.predicted.params <= params * plan.dense.params
    assert madds is None or plan.predicted.madds <= madds * plan.dense.madds
    assert size is None or plan.predicted.stored_bytes <= size * plan.dense.stored_bytes
    _check(SMALL, plan, X8)


@pytest.mark.parametrize("routing", ["tiled", "free"])
@pytest.mark.parametrize("scope", ["separable", "joint"])
def test_plan_for_budget_never_takes_fewer_params_for_more_budget(routing, scope):
    shares = [0.32 + 0.04 * i for i in range(17)]
    plans = [
        nes_lab.plan_for_budget(SMALL, Budget(params=s), X8, routing=routing, scope=scope, round_to=1) for s in shares
    ]
    sizes = [p.predicted.params for p in plans]
    assert sizes == sorted(sizes) and len(set(sizes)) > 12


@pytest.mark.parametrize("budget", [Budget(madds="75%"), Budget(params="60%"), Budget(params="70%", madds="60%")])
@pytest.mark.parametrize("routing", ["tiled", "free"])
def test_plan_for_budget_uses_98_percent_of_the_limit_on_mobilenetv2_in_5_seconds(budget, routing):
    model, x = nes_lab.create_backbone("mobilenetv2_100"), torch.randn(1, 3, 224, 224)
    begin = time.perf_counter()
    plan = nes_lab.plan_for_budget(model, budget, x, routing=routing)
    assert time.perf_counter() - begin < 5  # a promise of the planner, and it takes about one
    used = [getattr(plan.predicted, name) / limit for name, limit in budget.limits(plan.dense).items()]
    assert 0.98 <= max(used) <= 1
    _check(model, plan, x)
    assert plan == nes_lab.plan_for_budget(model, budget, x, routing=routing)  # deterministic


def test_plan_for_budget_notes_a_coarse_rounding():
    model, x = nn.Sequential(nn.Linear(64, 64)), torch.randn(1, 64)
    plan = nes_lab.plan_for_budget(model, Budget(madds=0.6), x, round_to=32)
    assert plan.predicted.madds == 2048 and "the step of 0 to an epitome of (32, 64)" in plan.notes[0]


def test_plan_for_budget_result_survives_json():
    plan = nes_lab.plan_for_budget(
        SMALL, Budget(params="50%"), X8, routing="learner", round_to=2, layer_options={"reach": 2.0}
    )
    again = CompressionPlan.from_json(plan.to_json())
    assert again == plan
    a, b = nes_lab.compress(SMALL, plan), nes_lab.compress(SMALL, again)
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
    assert a.get_submodule(next(iter(plan.layers))).routing.reach == 2.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not a compression plan"),
        ("[]", "schema"),
        ('{"schema": 99}', "schema=99"),
        ('{"schema": 1}', "lacks or misnames"),
    ],
)
def test_compression_plan_refuses_broken_json(text, says):
    with pytest.raises(PlanError, match=says):
        CompressionPlan.from_json(text)


def test_plan_for_budget_names_the_least_reachable_and_the_largest_layers():
    with pytest.raises(BudgetError, match=r"madds=.* least reachable is .*held by .*depthwise"):
        nes_lab.plan_for_budget(SMALL, Budget(madds="1%"), X8, round_to=2)
    with pytest.raises(BudgetError, match=r"scope='joint'"):
        nes_lab.plan_for_budget(SMALL, Budget(madds="90%"), X8, scope="joint")
    with pytest.raises(BudgetError, match=r"params=.*madds="):
        nes_lab.plan_for_budget(SMALL, Budget(params=2, madds=2), X8)
    # the number it names is reachable
    try:
        nes_lab.plan_for_budget(SMALL, Budget(params=2), X8, round_to=2)
    except BudgetError as error:
        least = int(str(error).split("(")[1].split(",")[0] + str(error).split("(")[1].split(",")[1])
        assert nes_lab.plan_for_budget(SMALL, Budget(params=least), X8, round_to=2).predicted.params == least


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"routing": "tild"}, "tiled"),
        ({"layer_options": {"reach": -1}}, "reach=-1"),
        ({"include": 5}, "include=5"),
    ],
)
def test_plan_for_budget_refuses_wrong_options(options, says):
    with pytest.raises(OptionError, match=says):
        nes_lab.plan_for_budget(SMALL, Budget(params=0.5), X8, **options)


def test_plan_for_budget_refuses_models_without_layers_and_wrong_budgets():
    with pytest.raises(BudgetError, match="ReLU has no convolution or linear layer"):
        nes_lab.plan_for_budget(nn.ReLU(), Budget(params=0.5), X8)
    with pytest.raises(BudgetError, match="budget='50%'"):
        nes_lab.plan_for_budget(SMALL, "50%", X8)
    plan = nes_lab.plan_for_budget(SMALL, Budget(params="60%"), X8, round_to=2)
    with pytest.raises(BudgetError, match="least reachable"):
        nes_lab.plan_for_budget(nes_lab.compress(SMALL, plan), Budget(params="10%"), X8)
    broken = json.loads(plan.to_json())
    next(iter(broken["layers"].values()))["options"] = {"execution": "materialize"}
    with pytest.raises(PlanError, match="layer option 'execution'"):
        CompressionPlan.from_dict(broken)


def test_learned_starts_leave_axes_in_order_that_do_not_shrink():
    x, net = torch.randn(1, 64, 4, 4), nn.Sequential(nn.Conv2d(64, 64, 1)).eval()
    for wiring, kept in (("input_axis", 0), ("output_axis", 1)):
        plan = nes_lab.plan_for_budget(net, Budget(madds=0.6), x, routing="free", wiring=wiring, round_to=1)
        layer = plan.layers["0"]
        assert layer.patch_channels[kept] == 64 and layer.patch_channels[1 - kept] == 16
        states = nes_lab.compress(net, plan, initial_weights="reset")[0].form.states
        assert states[kept] == "identity" and states[1 - kept] == "fractional"
    for options, patches in (({"patch_channels": 8}, (8, 8)), ({"boundary": "circular"}, (16, 16))):
        asked = nes_lab.plan_for_budget(net, Budget(madds=0.8), x, routing="free", wiring="input_axis", **options)
        assert asked.layers["0"].patch_channels == patches
