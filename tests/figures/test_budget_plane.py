"""The plane of params and multiply-adds, and the bars of a plan, draw what the numbers say."""

from __future__ import annotations

import pytest

from nes_lab.errors import OptionError
from nes_lab.figures.budget_plane import budget_plane
from nes_lab.figures.paper_budgets import paper_budgets
from nes_lab.figures.plan_bars import plan_bars
from nes_lab.figures.slider_data import slider_data
from nes_lab.records.counts import Counts
from nes_lab.records.fold_rows import bars_of
from nes_lab.records.reachable import Reachable, budget_at
from tests.figures.samples import make_rows

PLAN = {"dense": {"madds": 300e6, "params": 4e6}, "predicted": {"madds": 150e6, "params": 3e6}}
REGION = Reachable(
    Counts(4_000_000, 300_000_000),
    Counts(1_000_000, 60_000_000),
    (60e6, 180e6, 300e6),
    (1e6, 1.2e6, 4e6),
    (1e6, 3.8e6, 4e6),
    (300e6, 150e6, 60e6),
    (4e6, 3e6, 1e6),
)


def _named(figure, name):
    return next(trace for trace in figure.data if trace.name == name)


def test_plane_draws_region_dense_plan_and_what_is_over_a_budget():
    figure = budget_plane(PLAN, {"madds": 0.75}, REGION, method="<b>learner")
    assert (_named(figure, "dense").x[0], _named(figure, "dense").y[0]) == (1, 1)
    assert (_named(figure, "your plan").x[0], _named(figure, "your plan").y[0]) == (0.5, 0.75)
    assert _named(figure, "your plan").text[0] == "you: &lt;b&gt;learner"
    region = _named(figure, "can be reached")
    assert region.x == (0.2, 0.6, 1.0, 1.0, 0.6, 0.2) and region.y == (0.25, 0.3, 1.0, 1.0, 0.95, 0.25)
    forbidden = _named(figure, "over the MAdds budget")
    assert min(forbidden.x) == 0.75 and forbidden.fillpattern.shape == "/"
    assert not [trace for trace in figure.data if trace.name == "over the params budget"]
    assert "20.0 % of the MAdds and 25.0 % of the params" in figure.layout.meta["alt"]


def test_plane_has_a_handle_for_the_plan_and_for_each_budget():
    figure = budget_plane(PLAN, {"madds": 0.75, "params": 0.75}, REGION)
    handles = {each["id"]: each for each in figure.layout.meta["handles"]}
    assert {name: each["kind"] for name, each in handles.items()} == {"madds": "x", "params": "y", "point": "point"}
    assert (handles["madds"]["x"], handles["madds"]["x0"], handles["madds"]["x1"]) == (0.75, 0.2, 1.0)
    assert (handles["params"]["y"], handles["params"]["y0"]) == (0.75, 0.25)
    assert handles["point"]["anywhere"] and not handles["madds"]["anywhere"]


def test_a_point_below_the_line_of_plans_limits_the_params_too():
    assert budget_at(0.5, 0.8, REGION, {}) == {"madds": "50%", "params": ""}
    assert budget_at(0.5, 0.7, REGION, {}) == {"madds": "50%", "params": "70%"}
    assert budget_at(0.5, 0.9, None, {"params": "80%"}) == {"madds": "50%", "params": "90%"}


def test_only_published_budgets_are_called_paper():
    budgets = {
        name: paper_budgets(name, (3, 224, 224), 1000) for name in ("mobilenetv2_100", "efficientnet_b0", "resnet50")
    }
    assert [(each.madds, each.params) for each in budgets["efficientnet_b0"]] == [(350e6, None), (226.6e6, 3.92e6)]
    assert not budgets["resnet50"] and not paper_budgets("mobilenetv2_100", (3, 224, 224), 1000, width=0.5)
    assert not paper_budgets("mobilenetv2_100", (3, 192, 192), 1000)
    figure = budget_plane(PLAN, {}, REGION, budgets["mobilenetv2_100"])
    assert _named(figure, "paper, about 225 M").x == (0.75, 0.75)  # its params are not published: a line


def test_bars_can_be_clicked_and_show_the_chosen_one():
    bars = bars_of(make_rows())
    figure = plan_bars(bars, chosen=bars[1].name)
    dense, planned = figure.data
    assert list(planned.customdata) == [bar.name for bar in bars]
    assert planned.x == tuple(bar.total("madds") for bar in bars)
    colors = planned.marker.color
    assert colors[1] != colors[0] and colors[-1] not in colors[:2]  # the last one stays dense
    assert dense.text[0].endswith("· 50 %")
    with pytest.raises(OptionError, match="bars is empty"):
        plan_bars([])


def test_slider_says_what_can_be_reached_and_marks_plan_and_paper():
    paper = paper_budgets("mobilenetv2_100", (3, 224, 224), 1000)
    slider = slider_data("madds", {"madds": "225M"}, PLAN["dense"], PLAN["predicted"], REGION, paper)
    assert (slider["value"], slider["least"], slider["plan"], slider["marks"]) == (0.75, 0.2, 0.5, [0.75])
    assert slider["words"] == "20 % to 100 % can be reached · dashed: published"
    slider = slider_data("params", {"madds": "225M"}, PLAN["dense"], None, None, paper)
    assert (slider["value"], slider["plan"], slider["marks"], slider["words"]) == (1.0, None, [], "no limit")
