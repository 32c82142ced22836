"""A plan tells why every layer is as it is, follows its execution plans, and reads what older versions wrote."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab import Budget, CompressionPlan
from nes_lab.errors import BudgetError, PlanError

X8 = torch.randn(1, 1, 8, 8)
SMALL = nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1)


def _as_schema_1_was(plan: CompressionPlan) -> str:
    data = json.loads(plan.to_json())
    for layer in data["layers"].values():
        del layer["executions"], layer["unavailable"], layer["why"]
    del data["latency_ms"], data["budget"]["latency_ms"]
    return json.dumps(data)


@pytest.mark.parametrize("routing", ["tiled", "free"])
@pytest.mark.parametrize("scope", ["separable", "joint"])
def test_counts_under_every_execution_plan_are_those_that_run(routing, scope):
    plan = nes_lab.plan_for_budget(SMALL, Budget(params="60%"), X8, routing=routing, scope=scope, round_to=2)
    for name in ("materialize", "factored", "wrapped", "product_map"):
        able = {n: name for n, layer in plan.layers.items() if name in layer.executions}
        other = plan.with_execution(able)
        report = nes_lab.count(nes_lab.compress(SMALL, other, initial_weights="reset"), X8)
        assert report.madds == other.predicted.madds
        rows = {row.name: row.madds for row in report.by_layer}
        assert all(plan.layers[n].executions[name] == rows[n] for n in able)
    assert plan.with_execution(dict.fromkeys(plan.layers, "auto")) == plan


def test_an_execution_plan_that_cannot_run_is_refused():
    plan = nes_lab.plan_for_budget(SMALL, Budget(params="60%"), X8, scope="joint", round_to=2)
    name = next(iter(plan.layers))
    with pytest.raises(
        PlanError, match=f"layer '{name}': execution='factored' cannot run this layer: its scope is 'joint'"
    ):
        plan.with_execution({name: "factored"})
    with pytest.raises(PlanError, match=r"execution='fast' is not known.*materialize"):
        plan.with_execution({name: "fast"})
    with pytest.raises(PlanError, match="not in the plan"):
        plan.with_execution({"nothing": "materialize"})


def test_rows_and_table_tell_every_layer():
    plan = nes_lab.plan_for_budget(SMALL, Budget(madds="60%"), X8, round_to=2)
    rows = {row["name"]: row for row in plan.rows()}
    text = plan.explain(width=None)
    assert all(name in text for name in rows) and str(plan) in text
    for name, layer in plan.layers.items():
        row = rows[name]
        assert row["ratio"] == layer.ratio and row["runs"] == "factored" and set(row["executions"]) >= {"materialize"}
        assert f"{layer.executions['factored']:,}*" in text and "product_map" in row["unavailable"]
    assert "kept dense: depthwise" in text and "product_map cannot run layer " in text
    assert ": it has no sampled kernel axis" in text
    assert rows["classifier"]["runs"] is None and rows["classifier"]["executions"] == {}
    json.dumps(plan.rows())


def test_explain_fits_120_columns_and_numbers_its_reasons():
    plan = nes_lab.plan_for_budget(SMALL, Budget(madds="60%"), X8, round_to=2)
    lines = plan.explain().splitlines()
    assert max(map(len, lines)) <= 120 < max(map(len, plan.explain(width=None).splitlines()))
    (number,) = {line.split()[-1] for line in lines if ".depthwise." in line and not line.startswith("product_map")}
    assert any(line.startswith(f"{number}: kept dense: depthwise") for line in lines)
    assert max(map(len, plan.explain(width=60).splitlines())) > 60  # the numbers alone are wider, and are never cut


def test_a_layer_whose_parent_uses_its_weight_says_so():
    model = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval()
    plan = nes_lab.plan_for_budget(model, Budget(params="80%"), torch.randn(1, 6, 32))
    assert "bypasses its forward" in plan.layers["linear1"].unavailable["factored"]
    assert plan.layers["linear1"].resolved_execution == "materialize"


def test_plans_of_older_versions_load_and_compress():
    plan = nes_lab.plan_for_budget(SMALL, Budget(params="50%"), X8, round_to=2)
    old = CompressionPlan.from_json(_as_schema_1_was(plan))
    assert old.predicted == plan.predicted and old.layers.keys() == plan.layers.keys() and old.latency_ms is None
    layer = next(iter(old.layers.values()))
    assert layer.executions == {} and layer.resolved_execution == "auto"
    a, b = nes_lab.compress(SMALL, plan), nes_lab.compress(SMALL, old)
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
    assert old.explain(width=None).count("kept dense") >= len(old.kept)
    name = next(iter(old.layers))
    assert old.with_execution({name: "materialize"}).predicted == old.predicted  # it does not tell


def test_an_error_carries_the_least_that_can_be_reached():
    with pytest.raises(BudgetError) as caught:
        nes_lab.plan_for_budget(SMALL, Budget(params="1%"), X8, round_to=2)
    least = caught.value.least
    assert nes_lab.plan_for_budget(SMALL, Budget(least.params, least.madds), X8, round_to=2).predicted == least
    for fewer in (Budget(params=least.params - 1), Budget(madds=least.madds - 1)):
        with pytest.raises(BudgetError):
            nes_lab.plan_for_budget(SMALL, fewer, X8, round_to=2)
    with pytest.raises(BudgetError) as unread:
        Budget(params="much")
    assert unread.value.least is None
