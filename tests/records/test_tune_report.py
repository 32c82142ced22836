from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab import Budget, TuneReport
from nes_lab.errors import PlanError
from nes_lab.nn.inspect import epitome_layers
from tests.tuning.fake_clock import script_times


@pytest.fixture
def planned(monkeypatch):
    torch.manual_seed(0)
    dense, x = nn.Sequential(nn.Conv2d(16, 32, 1), nn.ReLU(), nn.Conv2d(32, 16, 3)), torch.randn(2, 16, 6, 6)
    plan = nes_lab.plan_for_budget(dense, Budget(params="60%"), x)
    model = nes_lab.compress(dense, plan)
    script_times(monkeypatch, [{"materialize": 2, "factored": 3}, {"materialize": 2, "wrapped": 1}], [0.9])
    return dense, x, plan, nes_lab.tune(model, x)


def test_tune_report_survives_json_and_refuses_broken_files(planned):
    report = planned[3]
    assert TuneReport.from_json(report.to_json()) == report
    data = report.to_dict()
    for broken, says in [
        ("[]", "schema='list'"),
        ("{", "not a tuning report in JSON"),
        (json.dumps(data | {"schema": 7}), "schema=7"),
        (json.dumps({k: v for k, v in data.items() if k != "ratio"}), "ratio"),
        (json.dumps({k: v for k, v in data.items() if k != "key"}), "key"),
        (json.dumps(data | {"colour": 1}), "colour"),
    ]:
        with pytest.raises(PlanError, match=says):
            TuneReport.from_json(broken)


def test_apply_sets_executions_counts_and_the_key(planned):
    dense, x, plan, report = planned
    tuned = report.apply(plan)
    assert [p.execution for p in tuned.layers.values()] == ["materialize", "wrapped"]
    assert tuned.notes == (*plan.notes, f"executions tuned on {report.key}")
    assert nes_lab.CompressionPlan.from_json(tuned.to_json()) == tuned
    assert report.apply(tuned) == tuned  # a second time adds nothing
    small = nes_lab.compress(dense, tuned)
    assert [layer.execution for _, layer in epitome_layers(small)] == ["materialize", "wrapped"]
    assert nes_lab.count(small, x).madds == tuned.predicted.madds != plan.predicted.madds
    rows = {row.name: row.madds for row in nes_lab.count(small, x).by_layer}
    assert all(rows[name] == p.predicted.madds for name, p in tuned.layers.items())


def test_apply_counts_for_the_input_of_the_plan_if_the_plan_knows_it(planned):
    dense, x, _, report = planned
    one = nes_lab.plan_for_budget(dense, Budget(params="60%"), x[:1])
    tuned = report.apply(one)
    assert nes_lab.count(nes_lab.compress(dense, tuned), x[:1]).madds == tuned.predicted.madds
    larger = nes_lab.plan_for_budget(dense, Budget(params="60%"), torch.randn(2, 16, 9, 9))
    tuned = report.apply(larger)
    small = nes_lab.compress(dense, tuned)
    assert nes_lab.count(small, torch.randn(2, 16, 9, 9)).madds == tuned.predicted.madds != larger.predicted.madds
    before = _as_before(larger)  # tells no counts per execution plan
    tuned = report.apply(before)
    assert tuned.predicted == larger.predicted and "(2, 16, 9, 9)" in tuned.notes[-1]
    one = nes_lab.plan_for_budget(dense, Budget(params="60%"), x[:1])
    assert report.apply(_as_before(one)).predicted == report.apply(one).predicted


def _as_before(plan: nes_lab.CompressionPlan) -> nes_lab.CompressionPlan:
    """The plan as an older version would have written it."""
    data = json.loads(plan.to_json())
    for layer in data["layers"].values():
        del layer["executions"], layer["unavailable"], layer["why"]
    del data["latency_ms"], data["budget"]["latency_ms"]
    return nes_lab.CompressionPlan.from_dict(data)


def test_apply_refuses_the_plan_of_another_model(planned):
    dense, x, _, report = planned
    shallow = nes_lab.plan_for_budget(dense, Budget(params="95%"), x, include="0")
    named = nes_lab.plan_for_budget(
        nn.ModuleDict({"a": nn.Linear(64, 64)})["a"], Budget(params="50%"), torch.randn(1, 64)
    )
    wider = nes_lab.plan_for_budget(dense, Budget(params="95%"), x)
    moved = nes_lab.plan_for_budget(dense, Budget(params="60%"), x, routing="stride")
    for other, says in [
        (shallow, "'2' is not in the plan"),
        (named, "'0' is not in the plan.*'' was not tuned"),
        (wider, r"'0' has epitome_shape=\("),
        (moved, "has routing='stride' in the plan and 'tiled' here"),
        ("plan", "plan is a str"),
    ]:
        with pytest.raises(PlanError, match=says):
            report.apply(other)


def test_tune_report_prints_as_a_table(planned):
    report = planned[3]
    lines = str(report).splitlines()
    assert lines[0].split()[:3] == ["layer", "materialize", "ms"] and len({len(x) for x in lines if "---" in x}) == 1
    assert "wrapped" in lines[3] and "tuned takes 0.90" in lines[-2] and str(report.key) in lines[-1]
    assert report._repr_html_().count("<tr>") == 3
