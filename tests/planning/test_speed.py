"""The strategy ``speed``: times of a made-up device decide; and what is said if there are none, or those of another device."""

from __future__ import annotations

import json
from dataclasses import replace
from math import prod

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab import Budget
from nes_lab.cli import main
from nes_lab.errors import OptionError
from nes_lab.planning import planner, speed
from nes_lab.records.device_table import DeviceTable
from nes_lab.tuning import device_table
from tests.planning.fake_table import fake_table

THIN_AND_WIDE = nn.Sequential(nn.Conv2d(16, 16, 1), nn.Conv2d(16, 256, 3, padding=1), nn.Conv2d(256, 256, 1)).eval()
X = torch.randn(1, 16, 28, 28)


@pytest.fixture
def table(monkeypatch):
    def use(**options):
        found = fake_table(**options)
        monkeypatch.setattr(speed, "load_table", lambda: found)
        monkeypatch.setattr(planner, "load_table", lambda: found)
        return found

    return use


def test_layers_that_save_most_time_shrink_first_and_each_gets_its_cheapest_axis(table):
    table()
    plan = nes_lab.plan_for_budget(THIN_AND_WIDE, Budget(madds="75%"), X, strategy="speed")
    assert set(plan.layers) == {"2"}
    assert plan.layers["2"].epitome_shape[0] == 256 > plan.layers["2"].epitome_shape[1]  # folds cost less
    assert any("2 of 3 layers stay dense: the others save more time" in note for note in plan.notes)
    plan = nes_lab.plan_for_budget(THIN_AND_WIDE, Budget(madds="40%"), X, strategy="speed")
    assert (
        set(plan.layers) == {"1", "2"} and plan.predicted.madds <= 0.4 * plan.dense.madds
    )  # the thin layer gains none
    assert plan.layers["1"].epitome_shape[1] == 16  # half of its input channels would be no faster
    table(fold_ms=0.05)
    plan = nes_lab.plan_for_budget(THIN_AND_WIDE, Budget(madds="55%"), X, strategy="speed")
    assert all(layer.epitome_shape[1] == layer.weight_shape[1] for layer in plan.layers.values())
    assert "0" in nes_lab.plan_for_budget(THIN_AND_WIDE, Budget(params="20%"), X, strategy="speed", round_to=1).layers


def test_the_dearer_a_fold_the_fewer_layers_shrink(table):
    four = nn.Sequential(*(nn.Conv2d(256, 256, 1) for _ in range(4))).eval()
    x = torch.randn(1, 256, 28, 28)

    def shrunk(fold_ms):
        table(fold_ms=fold_ms, expand_ms=1.0)
        plan = nes_lab.plan_for_budget(four, Budget(madds="75%"), x, strategy="speed")
        shares = [layer.epitome_shape[1] / 256 for layer in plan.layers.values()]
        return len(shares), min(shares)

    assert shrunk(1e-6)[0] == 4  # all by the same ratio
    number, share = shrunk(0.1)
    assert number == 2 and share >= speed.LEAST_RATIO


def test_a_size_that_the_user_sets_leaves_the_choice_among_the_others(table):
    table(fold_ms=0.02, expand_ms=1.0)
    six, x = nn.Sequential(*(nn.Conv2d(256, 256, 1) for _ in range(6))).eval(), torch.randn(1, 256, 28, 28)
    budget, set_by_user = Budget(madds="75%"), {"0": {"epitome_shape": (256, 64, 1, 1)}}
    plan = nes_lab.plan_for_budget(six, budget, x, strategy="speed")
    again = nes_lab.plan_for_budget(six, budget, x, strategy="speed", overrides=set_by_user)
    assert {name: p.epitome_shape for name, p in again.layers.items()} == {
        name: p.epitome_shape for name, p in plan.layers.items()
    }
    assert len(plan.layers) == 2 and "4 of 6 layers stay dense" in plan.notes[0]


def test_layers_that_take_no_less_time_shrink_by_one_ratio(table):
    table()
    plan = nes_lab.plan_for_budget(
        THIN_AND_WIDE, Budget(params="50%"), X, strategy="speed", routing="free", scope="joint"
    )
    shares = [prod(layer.epitome_shape) / prod(layer.weight_shape) for layer in plan.layers.values()]
    assert len(shares) == 3 and all(0.4 < share < 0.6 for share in shares)
    assert not any("strategy speed" in note for note in plan.notes)


def test_channels_are_rounded_as_the_device_likes(table):
    table(round_to=32)
    plan = nes_lab.plan_for_budget(THIN_AND_WIDE, Budget(madds="55%"), X, strategy="speed")
    assert plan.layers["2"].epitome_shape[1] % 32 == 0
    output = nes_lab.plan_for_budget(THIN_AND_WIDE, Budget(madds="55%"), X, strategy="speed", wiring="output_axis")
    assert all(layer.epitome_shape[1] == layer.weight_shape[1] for layer in output.layers.values())


def test_a_limit_on_time_uses_the_table(table, monkeypatch):
    orders = []
    monkeypatch.setattr(planner, "meet_latency", lambda model, x, plan_at, first, last, budget, **o: plan_at(last // 2))
    monkeypatch.setitem(
        planner.STRATEGIES, "speed", lambda ladder, *a: orders.append(1) or speed.order_by_speed(ladder, *a)
    )
    plan = nes_lab.plan_for_budget(THIN_AND_WIDE, Budget(latency_ms="60%"), X)
    assert not orders and "measure them once with: nes-lab calibrate-device" in plan.notes[-1]
    table()
    plan = nes_lab.plan_for_budget(THIN_AND_WIDE, Budget(latency_ms="60%"), X)
    assert orders and "strategy speed" in plan.notes[-1]


def test_missing_damaged_and_foreign_tables_are_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path))
    budget = Budget(madds="55%")
    with pytest.raises(OptionError, match="does not exist; measure them once with: nes-lab calibrate-device"):
        nes_lab.plan_for_budget(THIN_AND_WIDE, budget, X, strategy="speed")
    path = device_table.table_path()
    for change, message in (
        ({"device": "Other 9000"}, "device='Other 9000', and here device is"),
        ({"torch": "1.0"}, "torch='1.0', and here"),
        ({"threads": 99}, "threads=99, and here"),
    ):
        path.write_text(replace(fake_table(), **change).to_json(), encoding="utf-8")
        with pytest.raises(OptionError, match=message):
            nes_lab.plan_for_budget(THIN_AND_WIDE, budget, X, strategy="speed")
    path.write_text("{", encoding="utf-8")
    with pytest.raises(OptionError, match="cannot be read"):
        nes_lab.plan_for_budget(THIN_AND_WIDE, budget, X, strategy="speed")


def test_calibrate_device_stores_times_that_plans_use(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path))
    for name, value in (("CHANNELS", (16, 64)), ("SIDES", (7, 14)), ("PASS_CHANNELS", (32,)), ("SECONDS_EACH", 0.001)):
        monkeypatch.setattr(device_table, name, value)
    assert main(["calibrate-device", "--json"]) == 0
    out, _ = capsys.readouterr()
    stored = DeviceTable.from_json(device_table.table_path().read_text(encoding="utf-8"))
    assert stored == DeviceTable.from_dict(json.loads(out)) == device_table.load_table()
    assert len(stored.convs) == 2 * 2 * 2 * 2 and len(stored.passes) == 2 * 2 * 2 and stored.spread >= 0
    plan = nes_lab.plan_for_budget(THIN_AND_WIDE, Budget(madds="55%"), X, strategy="speed")
    assert plan.predicted.madds <= 0.55 * plan.dense.madds
    assert main(["calibrate-device", "--threads", "0"]) == 2 and "threads=0" in capsys.readouterr().err


def test_times_between_and_beyond_measured_shapes_are_interpolated():
    table = fake_table()
    assert table.conv_ms(1, 256, 256, 784) == pytest.approx(5.138, rel=1e-3)
    assert table.conv_ms(1, 512, 256, 784) == pytest.approx(2 * table.conv_ms(1, 256, 256, 784))  # beyond
    assert table.conv_ms(1, 64, 64, 784) < table.conv_ms(1, 128, 64, 784) < table.conv_ms(1, 256, 64, 784)
    assert table.conv_ms(1, 4, 4, 4) == table.conv_ms(1, 16, 16, 49) == pytest.approx(0.1)  # below
    assert table.conv_ms(25, 64, 64, 49) == pytest.approx(25 / 9 * table.conv_ms(9, 64, 64, 49))
    assert table.pass_ms("fold", False, 200_000) == pytest.approx(0.02) and table.pass_ms("fold", True, 5) == 0.02
