"""The option ``snap``: what a plan of integer starts predicts is what its network counts, and its budget is used."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab import Budget, CompressionPlan
from nes_lab.errors import OptionError
from nes_lab.geometry.start_rules import ROUTING_MODES
from nes_lab.nn.inspect import epitome_layers

X = torch.randn(2, 16, 4, 4)
ONE_CHANNEL = {"routing": "free", "patch_channels": 1, "round_to": 2}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    first = (nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())
    return nn.Sequential(*first, nn.Conv2d(32, 32, 1), nn.BatchNorm2d(32), nn.Flatten(), nn.Linear(512, 10)).eval()


@pytest.mark.parametrize("scope", ["separable", "joint"])
@pytest.mark.parametrize("routing", ["tiled", *(mode.name for mode in ROUTING_MODES.values() if mode.learned)])
def test_plan_for_budget_with_snap_predicts_what_its_network_counts(routing: str, scope: str) -> None:
    net = network()
    ways = {"routing": routing, "scope": scope, "patch_channels": (2, 4), "round_to": 4}
    plan = nes_lab.plan_for_budget(net, Budget(params="70%"), X, snap=True, **ways)
    assert plan.snap and plan.layers
    made = nes_lab.compress(net, plan), nes_lab.fit(net, plan)[0], nes_lab.fit(net, plan, search_starts=True)[0]
    for small in made:
        cost = nes_lab.count(small, X)
        counted = (cost.params, cost.madds, cost.stored_bytes)
        assert counted == (plan.predicted.params, plan.predicted.madds, plan.predicted.stored_bytes)
        assert all("fractional" not in layer.axis_states() for _, layer in epitome_layers(small))


def test_plan_for_budget_with_snap_uses_the_budget_that_integer_starts_leave() -> None:
    net = network()
    plans = [nes_lab.plan_for_budget(net, Budget(madds="60%"), X, snap=snap, **ONE_CHANNEL) for snap in (False, True)]
    limit = 0.6 * plans[0].dense.madds
    fitted, report = nes_lab.fit(net, plans[1], search_starts=True)
    assert report.snapped and 0.97 * limit < nes_lab.count(fitted, X).madds <= limit
    assert plans[0].predicted.params < plans[1].predicted.params
    with pytest.warns(
        UserWarning, match=r"a part of the budget stays unused\. Plan with plan_for_budget\(\.\.\., snap=True\)"
    ):
        late, _ = nes_lab.fit(net, plans[0], search_starts=True, snap=True)
    assert nes_lab.count(late, X).madds < plans[0].predicted.madds


def test_fit_follows_the_plan_and_refuses_to_exceed_it() -> None:
    net = network()
    plan = nes_lab.plan_for_budget(net, Budget(madds="60%"), X, snap=True, **ONE_CHANNEL)
    with pytest.raises(OptionError, match="snap=False, but the plan counts the multiply-adds of integer starts"):
        nes_lab.fit(net, plan, snap=False)
    learnable = nes_lab.plan_for_budget(net, Budget(madds="60%"), X, **ONE_CHANNEL)
    assert not nes_lab.fit(net, learnable)[1].snapped


def test_measure_sensitivity_without_snap_serves_a_plan_with_snap() -> None:
    net, options = network(), ONE_CHANNEL | {"patch_channels": 2}
    report = nes_lab.measure_sensitivity(net, X, ratios=(0.5,), **options)
    assert [
        layer.points[-1] for layer in nes_lab.measure_sensitivity(net, X, ratios=(0.5,), snap=True, **options).layers
    ] == [layer.points[-1] for layer in report.layers]
    ways = {"strategy": "sensitivity", "sensitivity": report, "snap": True} | options
    plan = nes_lab.plan_for_budget(net, Budget(madds="60%"), X, **ways)
    assert nes_lab.count(nes_lab.compress(net, plan), X).madds == plan.predicted.madds <= 0.6 * plan.dense.madds


def test_compression_plan_of_an_older_version_has_learnable_starts() -> None:
    net = network()
    plan = nes_lab.plan_for_budget(net, Budget(madds="60%"), X, snap=True, **ONE_CHANNEL)
    assert CompressionPlan.from_json(plan.to_json()) == plan
    old = {name: value for name, value in plan.to_dict().items() if name != "snap"}
    assert not CompressionPlan.from_dict(old).snap


def test_plan_for_budget_with_snap_works_on_the_meta_device_and_survives_saving(tmp_path) -> None:
    net = network()
    with torch.device("meta"):
        outline = network()
    plan = nes_lab.plan_for_budget(net, Budget(madds="60%"), X, snap=True, **ONE_CHANNEL)
    assert nes_lab.compress(outline, plan, initial_weights="none").get_submodule("0").routing.state_name == "snapped"
    small = nes_lab.compress(net, plan)
    nes_lab.save_pretrained(small, tmp_path / "small", plan=plan)
    loaded = nes_lab.from_pretrained(tmp_path / "small", model=net)
    assert loaded.nes_lab_plan == plan and nes_lab.count(loaded, X).madds == plan.predicted.madds
