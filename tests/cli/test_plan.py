"""``nes-lab plan``: what it prints and writes."""

import json

import pytest

from nes_lab.cli import main
from tests.cli.samples import TINY_PLAN


def test_plan_prints_only_json(capsys):
    pytest.importorskip("nes_lab.planning.planner")
    assert main([*TINY_PLAN, "--madds", "75%", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["predicted"]["madds"] <= 0.75 * plan["dense"]["madds"]
    assert {"name", "params", "madds", "params_dense", "madds_dense", "epitome_shape"} <= set(plan["rows"][0])
    assert len(plan["rows"]) == len(plan["layers"]) + len(plan["kept_layers"])


def test_plan_prints_a_table_and_writes_the_plan(tmp_path, capsys):
    from nes_lab.records.compression_plan import CompressionPlan

    path = tmp_path / "plan.json"
    assert main([*TINY_PLAN, "--params", "80%", "--output", str(path)]) == 0
    plan = CompressionPlan.from_json(path.read_text())
    out = capsys.readouterr().out
    assert all(row["name"] in out for row in plan.rows())
    assert f"{plan.predicted.madds:,}" in out
