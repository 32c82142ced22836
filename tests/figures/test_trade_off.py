"""Costs against results, with fronts, seeds and a budget; published results with names at their points."""

import itertools
import math

import pytest

from nes_lab.figures.published import published
from nes_lab.figures.theme import method_style
from nes_lab.figures.trade_off import TITLE_WIDTH, trade_off
from nes_lab.runs.measures import COSTS, limit_text, read_limit
from tests.runs.test_settings import row


def three_methods():
    return [
        row(routing, seed=seed, madds=madds, top1=80 + madds / 100 + seed)
        for routing in (None, "tiled", "free")
        for madds in (400, 700)
        for seed in range(2)
    ]


def test_methods_at_one_cost_are_drawn_side_by_side_and_keep_their_cost():
    traces = {trace.name: trace for trace in trade_off(three_methods()).data}
    first = [traces[name].x[0] for name in ("dense", "tiled", "free")]
    assert len(set(first)) == 3 and all(abs(x - 400) < 10 for x in first)
    assert list(traces["tiled"].meta["x"]) == [400, 700]


def test_seeds_are_dots_that_open_their_run():
    traces = {trace.name: trace for trace in trade_off(three_methods()).data}
    dots = traces["free, single runs"]
    assert len(dots.y) == 4 and set(dots.customdata) == {"free-0", "free-1"}
    assert dots.marker.color == traces["free"].marker.color == method_style("free").color


def test_a_budget_hatches_what_costs_more_and_marks_the_best_below():
    figure = trade_off(three_methods(), budget=500)
    hatched = next(trace for trace in figure.data if trace.name == "over the budget")
    assert hatched.fillpattern.shape == "/" and min(hatched.x) == 500
    ring = next(trace for trace in figure.data if trace.name == "best within the limits")
    assert ring.meta["x"][0] == 400
    assert trade_off(three_methods(), budget=1).data[-1].name != "best within the limits"


def test_a_least_result_hatches_what_is_worse_and_no_region_twice():
    figure = trade_off(three_methods(), budget=500, least=85.0)
    hatched = [trace for trace in figure.data if trace.fillpattern.shape == "/"]
    assert [trace.name for trace in hatched] == ["over the budget", "top-1 not good enough"]
    assert max(hatched[1].x) == 500 and max(hatched[1].y) == 85.0
    assert {each.text for each in figure.layout.annotations} >= {"≤ 500 MAdds", "≥ 85.0 %"}
    loss = trade_off([row(val_loss=0.5), row(madds=20, val_loss=0.4)], result="val_loss", least=0.45)
    assert min(next(trace for trace in loss.data if trace.fillpattern.shape == "/").y) == 0.45


def test_limits_have_handles_that_wait_at_the_end_of_their_axis_without_a_limit():
    free = {each["id"]: each for each in trade_off(three_methods(), movable=True).layout.meta["handles"]}
    assert free["budget"]["x"] == free["budget"]["x1"] and free["least"]["y"] == free["least"]["y0"]
    held = {
        each["id"]: each
        for each in trade_off(three_methods(), budget=500, least=85.0, movable=True).layout.meta["handles"]
    }
    assert (held["budget"]["x"], held["least"]["y"]) == (500, 85.0)
    assert limit_text(held["budget"]["x1"], (held["budget"]["x0"], held["budget"]["x1"]), COSTS["madds"]) == ""
    assert read_limit(limit_text(140_300.0, (0, 1e6), COSTS["stored_bytes"]), "stored_bytes") == 140_000


def test_a_method_has_a_band_and_its_name_at_the_end_of_its_line_and_dense_is_a_reference():
    figure = trade_off(three_methods())
    bands = [trace for trace in figure.data if trace.name.endswith("one standard deviation")]
    assert len(bands) == 3 and all(trace.fillcolor.endswith("0.14)") for trace in bands)
    names = {each.text for each in figure.layout.annotations if "<b>" in each.text}
    assert names == {"<b>dense</b>", "<b>tiled</b>", "<b>free</b>"}
    shifts = sorted(each.yshift for each in figure.layout.annotations if "<b>" in each.text)
    assert all(after - before > 14 for before, after in itertools.pairwise(shifts))
    reference = next(shape for shape in figure.layout.shapes if shape.line.dash == "dot")
    assert reference.y0 == 87.5 and not figure.layout.showlegend
    assert not list(trade_off([row(None)]).layout.shapes)


def test_a_wide_range_has_a_logarithmic_axis():
    rows = [row(madds=10), row("tiled", madds=10), row(madds=1000)]
    figure = trade_off(rows, budget=100)
    assert figure.layout.xaxis.type == "log" and figure.layout.xaxis.range[0] < 1 < 3 < figure.layout.xaxis.range[1]
    assert figure.layout.annotations[0].x == pytest.approx(2) and figure.layout.shapes[0].x0 == 100


def test_titles_fit_a_phone():
    rows = [*three_methods(), row(madds=None)]
    text = trade_off(rows, budget=500).layout.title.subtitle.text
    assert "1 run is left out" in text.replace("<br>", " ")
    assert all(len(line) <= TITLE_WIDTH for line in text.split("<br>"))


def test_published_names_cover_no_name_no_point_and_no_line():
    figure = published()
    assert not figure.layout.showlegend
    names = {note.text: label_box(note, figure) for note in figure.layout.annotations}
    assert set(names) == {trace.name for trace in figure.data}
    assert not [pair for pair in itertools.combinations(names.values(), 2) if overlap(*pair)]
    for trace in figure.data:
        points = [pixels(math.log10(x), y, figure) for x, y in zip(trace.x, trace.y, strict=True)]
        for (x0, y0), (x1, y1) in itertools.pairwise([*points, points[-1]]):
            on_line = [(x0 + (x1 - x0) * k / 40, y0 + (y1 - y0) * k / 40) for k in range(40)]
            covered = [name for name, box in names.items() if any(overlap(box, (x, y, x, y)) for x, y in on_line)]
            assert not covered, f"{covered} cover {trace.name}"


def pixels(x, y, figure):
    """The place of a point in a plot of 230 x 330 pixels, the narrowest that a browser draws."""
    (left, right), (low, high) = figure.layout.xaxis.range, figure.layout.yaxis.range
    return (x - left) / (right - left) * 230, (y - low) / (high - low) * 330


def label_box(note, figure):
    """The box of a name, as a browser draws it."""
    x, y = pixels(note.x, note.y, figure)
    wide = 6 * len(note.text)
    return x + note.ax - wide / 2, y - note.ay - 6, x + note.ax + wide / 2, y - note.ay + 6


def overlap(one, other):
    return min(one[2], other[2]) > max(one[0], other[0]) and min(one[3], other[3]) > max(one[1], other[1])
