"""The widget with budgets: its plan is the planner's, its parts move together, and a refusal says the least value."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.errors import BudgetError, OptionError
from nes_lab.widgets.budget_explorer import BudgetExplorer

INPUT = torch.zeros(1, 16, 8, 8)


def network():
    layers = [nn.Conv2d(16, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 1), nn.ReLU(), nn.Conv2d(64, 32, 1)]
    return nn.Sequential(*layers)


@pytest.fixture
def explorer():
    return BudgetExplorer(network(), INPUT)


def planned(budget, **options):
    return nes_lab.plan_for_budget(network(), budget, INPUT, **options)


def handles(explorer):
    return {each["id"]: each for each in explorer.plane.spec["layout"]["meta"]["handles"]}


def test_it_begins_with_a_plan_for_60_percent_of_the_multiply_adds(explorer):
    assert explorer.plan == planned(nes_lab.Budget(madds="60%"))
    assert {name: slider.value for name, slider in explorer.sliders.items()} == {"params": 100.0, "madds": 60.0}
    least = {name: 100 * explorer.region.least_share(name) for name in ("params", "madds")}
    for name, slider in explorer.sliders.items():
        assert 0 <= slider.min - least[name] < 0.11
        assert str(slider.min) in repr(explorer), "the text says what can be reached"


def test_a_slider_moves_the_plan_and_both_figures(explorer):
    before = explorer.bars.spec
    explorer.sliders["params"].value = 40.0
    assert explorer.plan == planned(nes_lab.Budget(params="40%", madds="60%"))
    assert explorer.budget == nes_lab.Budget(params="40%", madds="60%")
    assert explorer.bars.spec != before and handles(explorer)["params"]["y"] == pytest.approx(0.4)
    explorer.sliders["params"].value = explorer.sliders["madds"].value = 100.0
    assert explorer.plan == planned(nes_lab.Budget(params=1.0)), "100 % is no limit"
    assert set(handles(explorer)) == {"point"}


def test_dragging_in_the_plane_moves_the_sliders(explorer):
    explorer.plane._handle_custom_msg({"id": "madds", "x": 0.5, "y": None}, [])
    assert explorer.sliders["madds"].value == 50.0
    assert explorer.plan == planned(nes_lab.Budget(madds="50%"))
    explorer.plane._handle_custom_msg({"id": "point", "x": 0.7, "y": 0.3}, [])
    assert explorer.plan == planned(nes_lab.Budget(madds="70%", params="30%"))
    assert {name: slider.value for name, slider in explorer.sliders.items()} == {"params": 30.0, "madds": 70.0}


def test_a_refused_budget_says_the_least_value_and_keeps_the_plan(explorer):
    before = explorer.plan
    with pytest.raises(BudgetError, match="least reachable") as caught:
        explorer.choose(madds="0.1%")
    assert explorer.plan is before and explorer.budget == nes_lab.Budget(madds="60%")
    assert "Refused" in explorer.message.value and f"{caught.value.least.madds:,}" in explorer.message.value
    assert explorer.choose(params="10k").predicted.params <= 10_000
    assert "Refused" not in explorer.message.value


def test_options_are_those_of_the_planner():
    explorer = BudgetExplorer(network(), INPUT, params="50%", routing="free", exclude="4")
    assert explorer.plan == planned(nes_lab.Budget(params="50%"), routing="free", exclude="4")
    with pytest.raises(OptionError, match="Did you mean 'routing'"):
        BudgetExplorer(network(), INPUT, routng="free")
    with pytest.raises(OptionError, match="strategy='sensitivity'"):
        BudgetExplorer(network(), INPUT, strategy="sensitivity")
