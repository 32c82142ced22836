"""A compression plan names its epitomes; layers may read one together, and the counts say so."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import nes_lab
from nes_lab import Budget, CompressionPlan
from nes_lab.errors import PlanError

X = torch.randn(1, 64)


@pytest.fixture(scope="module")
def dense() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))


@pytest.fixture(scope="module", params=["tiled", "free"])
def plan(request, dense) -> CompressionPlan:
    return nes_lab.plan_for_budget(dense, Budget(params="60%"), X, routing=request.param, patch_channels=16)


def test_epitomes_are_entries_of_the_plan(plan):
    for name, epitome in plan.epitomes.items():
        assert epitome.shape == plan.layers[name].epitome_shape and epitome.dtype == "float32"
        assert epitome.stored_bytes == 4 * epitome.params
    assert plan.epitomes.keys() == plan.layers.keys()


def test_two_layers_that_read_one_epitome_are_counted_as_predicted(dense, plan, tmp_path):
    shared = plan.with_layers({"2": replace(plan.layers["2"], reads="0")})
    assert shared.predicted == plan.predicted - plan.epitomes["2"].counts and "2" not in shared.epitomes
    student = nes_lab.compress(dense, shared)
    assert student[0].epitome is student[2].epitome
    report = nes_lab.count(student, X)
    assert report.counts == shared.predicted
    rows = {row["name"]: row for row in shared.rows()}
    assert all(row.params == rows[row.name]["params"] for row in report.by_layer)
    assert CompressionPlan.from_json(shared.to_json()) == shared
    assert shared.with_layers({"2": plan.layers["2"]}).predicted == plan.predicted  # and back
    nes_lab.save_pretrained(student, tmp_path / "saved")
    assert sum(t.nbytes for t in load_file(tmp_path / "saved" / "model.safetensors").values()) == report.stored_bytes


def test_an_epitome_of_another_shape_is_refused(plan):
    with pytest.raises(PlanError, match=r"layer '4' has epitome_shape=.* and reads the epitome '0' of shape"):
        plan.with_layers({"4": replace(plan.layers["4"], reads="0")})


def test_schema_1_reads_as_one_epitome_per_layer(plan):
    old = json.loads(plan.to_json())
    del old["epitomes"]
    for layer in old["layers"].values():
        del layer["reads"]
    again = CompressionPlan.from_dict(old | {"schema": 1})
    assert {n: e.shape for n, e in again.epitomes.items()} == {n: e.shape for n, e in plan.epitomes.items()}
    assert again.predicted == plan.predicted
