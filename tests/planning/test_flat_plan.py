"""Flat epitomes use a budget to the last number, and a budget that they cannot meet is refused with a reason."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.planning.plan_again import PlanAgain
from nes_lab.records.options import PlanOptions

SHARED: dict[str, Any] = {"share": "network", "windows": 2, "routing": "random"}


def small_net() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.Conv2d(32, 8, 1)), torch.zeros(
        1, 4, 8, 8
    )


@pytest.mark.parametrize("routing", ["tiled", "stride", "random", "free"])
def test_budget_is_used_to_the_last_number(routing: str) -> None:
    model, x = small_net()
    for budget in (2000, 3001, "37%"):
        for share in ("layer", "stage", "network"):
            plan = nes_lab.plan_for_budget(
                model, nes_lab.Budget(params=budget), x, share=share, windows=1, scope="flat", routing=routing
            )
            limit = budget if isinstance(budget, int) else int(0.37 * plan.dense.params)
            assert plan.predicted.params == limit
            assert nes_lab.count(nes_lab.compress(model, plan, "none"), x).counts == plan.predicted


def test_all_epitomes_have_one_ratio_but_hold_a_patch() -> None:
    model, x = small_net()
    plan = nes_lab.plan_for_budget(model, nes_lab.Budget(params="11%"), x, share="layer", windows=2, routing="random")
    cells = {name: epitome.params for name, epitome in plan.epitomes.items()}
    weights = {name: prod(layer.weight_shape) for name, layer in plan.layers.items()}
    assert cells["2"] / weights["2"] < cells["0"] / weights["0"]  # the smaller layer holds one patch of 4 x 4 x 3 x 3
    assert cells["0"] == 144
    assert nes_lab.CompressionPlan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("budget", "options", "says"),
    [
        ({"params": "50%", "madds": "50%"}, {}, "a flat epitome .* saves params, not multiply-adds"),
        ({"latency_ms": "50%"}, {}, "latency_ms='50%' cannot be met"),
        ({"params": 300}, {}, "the least reachable is .* larger patch_channels or fewer windows"),
    ],
)
def test_budgets_out_of_reach_are_refused(budget: dict[str, Any], options: dict[str, Any], says: str) -> None:
    model, x = small_net()
    with pytest.raises(nes_lab.BudgetError, match=says):
        nes_lab.plan_for_budget(model, nes_lab.Budget(**budget), x, **SHARED | options)


def test_the_least_reachable_budget_can_be_met() -> None:
    model, x = small_net()
    with pytest.raises(nes_lab.BudgetError) as refused:
        nes_lab.plan_for_budget(model, nes_lab.Budget(params=2), x, **SHARED)
    assert refused.value.least is not None
    least = refused.value.least.params
    assert nes_lab.plan_for_budget(model, nes_lab.Budget(params=least), x, **SHARED).predicted.params == least
    with pytest.raises(nes_lab.BudgetError):
        nes_lab.plan_for_budget(model, nes_lab.Budget(params=least - 1), x, **SHARED)


def test_a_madds_budget_that_the_dense_network_meets_is_no_obstacle() -> None:
    model, x = small_net()
    plan = nes_lab.plan_for_budget(model, nes_lab.Budget(params="50%", madds="100%"), x, **SHARED)
    assert plan.predicted.madds == plan.dense.madds and plan.layers
    met = nes_lab.plan_for_budget(model, nes_lab.Budget(params="100%"), x, **SHARED)
    assert not met.layers and met.predicted == met.dense


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scope": "joint"}, "scope='joint' and share='network'"),
        ({"routing": "learner"}, "an index learner predicts starts per axis"),
        ({"strategy": "sensitivity"}, "strategy='sensitivity' does not go with a flat epitome"),
        ({"overrides": {"2": {"ratio": 0.5}}}, "sets 'ratio', which does not go with a flat epitome"),
        ({"share": "netwrok"}, "Did you mean 'network'"),
        ({"windows": 0}, "windows=0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], says: str) -> None:
    model, x = small_net()
    with pytest.raises(nes_lab.OptionError, match=says):
        nes_lab.plan_for_budget(model, nes_lab.Budget(params="50%"), x, **SHARED | options)


def test_settings_of_single_layers() -> None:
    model, x = small_net()
    overrides = {"3": {"keep": True}, "2": {"patch_channels": (8, 2), "routing": "stride"}}
    plan = nes_lab.plan_for_budget(model, nes_lab.Budget(params="60%"), x, **SHARED, overrides=overrides)
    assert list(plan.layers) == ["0", "2"] and "keeps it dense" in plan.kept["3"]
    assert (plan.layers["2"].patch_channels, plan.layers["2"].routing) == ((8, 2), "stride")
    assert (plan.layers["0"].patch_channels, plan.layers["0"].routing) == ((4, 4), "random")
    assert nes_lab.count(nes_lab.compress(model, plan, "none"), x).counts == plan.predicted


def test_a_layer_whose_factors_are_as_many_as_its_weights_stays_dense() -> None:
    model, x = small_net()
    options = SHARED | {"overrides": {"3": {"patch_channels": (1, 2)}}}
    plan = nes_lab.plan_for_budget(model, nes_lab.Budget(params="60%"), x, **options)
    assert "as many numbers as its weight" in plan.kept["3"]


def test_plan_again_gives_the_same_plans_and_a_region() -> None:
    model, x = small_net()
    again, options = PlanAgain(model, x), PlanOptions(**SHARED)
    budget = nes_lab.Budget(params="40%")
    assert again.plan(budget, options) == nes_lab.plan_for_budget(model, budget, x, **SHARED)
    region = again.region(budget, options)
    assert region.least.madds == region.dense.madds and region.least.params < region.dense.params
    assert region.fewest_params == (region.least.params,)


def test_automatic_scope_is_never_flat_without_sharing() -> None:
    model, x = small_net()
    for routing in ("tiled", "free"):
        plan = nes_lab.plan_for_budget(model, nes_lab.Budget(params="50%"), x, scope="auto", routing=routing)
        assert all(layer.scope != "flat" for layer in plan.layers.values())
    plan = nes_lab.plan_for_budget(model, nes_lab.Budget(params="50%"), x, scope="auto", **SHARED)
    assert {layer.scope for layer in plan.layers.values()} == {"flat"}
