"""Records are read strictly: what is wrong is named with its field, its value and what is right."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest
from torch import nn, zeros

import nes_lab
from nes_lab import Budget, CompressionPlan
from nes_lab.errors import PlanError


@pytest.fixture(scope="module")
def plan() -> CompressionPlan:
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 4))
    return nes_lab.plan_for_budget(model, Budget(params="60%"), zeros(1, 64))


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("layers", "0", "epitome_shape"), "abcd", r"layers\.0\.epitome_shape='abcd'; it should be a valid array"),
        (("layers", "0", "epitome_shape"), [32, 6.5], r"layers\.0\.epitome_shape\.1=6\.5; .*integer"),
        (("layers", "0", "options"), {"speed": 1}, "layer option 'speed' is not known"),
        (("predicted", "params"), "ten", r"predicted\.params='ten'; it should be a valid integer"),
        (("dense", "colour"), 1, r"dense\.colour is not known"),
        (("budget", "params"), -1, "must be finite and above 0"),
        (("kept_layers",), None, r"kept_layers=None; it should be an object"),
        (("notes",), "one", r"notes='one'"),
    ],
)
def test_from_json_names_the_field_its_value_and_what_is_right(plan, path, value, says):
    data = json.loads(plan.to_json())
    part = data
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    with pytest.raises(PlanError, match=says):
        CompressionPlan.from_json(json.dumps(data))


def test_records_are_made_and_printed_without_pydantic():
    """The core computes without it; only reading JSON needs it."""
    code = """
import sys
sys.modules["pydantic"] = None
import torch, nes_lab
model, x = torch.nn.Sequential(torch.nn.Linear(64, 64)), torch.zeros(1, 64)
plan = nes_lab.plan_for_budget(model, nes_lab.Budget(params="60%"), x)
print(nes_lab.count(nes_lab.compress(model, plan), x), plan.explain(), plan.to_json(), plan._repr_html_())
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).returncode == 0


def test_to_csv_has_every_layer_and_runs_no_formula(plan):
    renamed = CompressionPlan.from_json(plan.to_json().replace('"1"', '"=1"'))
    rows = list(csv.DictReader(renamed.to_csv().splitlines()))
    assert [row["layer"] for row in rows] == ["0", "'=1"]
    assert int(rows[0]["params"]) == plan.layers["0"].predicted.params
