"""Pictures of one axis: cells, windows, samples, gradients, a start on its way."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nes_lab.errors import OptionError
from nes_lab.figures.computing_steps import ComputingStep, computing_steps
from nes_lab.figures.patch_by_hand import PatchReading, patch_and_gradient, patch_by_hand
from nes_lab.figures.patch_chooser import MOST_PATCHES, patch_chooser
from nes_lab.figures.start_curves import gradient_over_starts, start_descent
from nes_lab.figures.theme import figure_json
from nes_lab.figures.time_against_madds import time_against_madds
from nes_lab.records.cost_report import CostReport, LatencyReport
from tests.figures.samples import make_snapshot

CELLS = np.array([0.0, 1.0, 3.0, 2.0, -1.0])
READING = PatchReading(1.5, np.array([2.0, 2.5]), np.array([2.0, -1.0]))
SWEEP = [PatchReading(s / 4, np.array([s / 4, 1.0]), np.array([float(s // 4), 0.0])) for s in range(9)]

STEPS = {
    "dense": [ComputingStep("<b>3x3</b>", 600, 32)],
    "factored": [ComputingStep("fold", 40, 8), ComputingStep("s", 60, 32)],
}
COSTS = {"dense": CostReport(1, 1000, 0, 4, 0, 0, (1,), ()), "factored": CostReport(1, 250, 0, 4, 0, 0, (1,), ())}
TIMES = {name: LatencyReport(ms, ms, 9, 1, 2, "cpu", "float32") for name, ms in (("dense", 2.0), ("factored", 3.0))}

PICTURES = {
    "patches": lambda: patch_by_hand(CELLS, [READING, PatchReading(0.0, np.array([0.0, 1.0]), name="<i>b</i>")]),
    "gradient": lambda: patch_and_gradient(CELLS, READING),
    "sweep": lambda: gradient_over_starts(SWEEP),
    "descent": lambda: start_descent(np.linspace(0, 2, 9), np.linspace(3, 0, 9), target=2.0),
    "chooser": lambda: patch_chooser(make_snapshot(shift=0.3)),
    "steps": lambda: computing_steps(STEPS, channels=16),
    "time": lambda: time_against_madds({"thin": COSTS}, {"thin": TIMES}),
    "descent without a target": lambda: start_descent(np.zeros(3), np.ones(3)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_figures_have_size_units_theme_and_alt_text(name):
    spec = figure_json(PICTURES[name]())
    assert len(json.dumps(spec)) < 100_000
    assert len(spec["layout"]["meta"]["alt"]) > 20
    assert spec["layout"]["title"]["text"]
    assert spec["layout"]["uirevision"] == "keep"
    titles = [axis.get("title", {}).get("text") for key, axis in spec["layout"].items() if key[1:].startswith("axis")]
    assert len([text for text in titles if text]) >= 2


def test_patch_by_hand_draws_samples_at_start_plus_j_in_their_window():
    cells, _, window, samples = patch_by_hand(CELLS, [READING]).data
    np.testing.assert_array_equal(cells.y, CELLS)
    np.testing.assert_array_equal(samples.x, [1.5, 2.5])
    np.testing.assert_array_equal(samples.y, [2.0, 2.5])
    assert (min(window.x), max(window.x)) == (1.0, 3.0)


def test_patch_by_hand_gives_patches_their_own_color_dash_and_marker():
    samples = [t for t in PICTURES["patches"]().data if t.type == "scatter" and t.mode == "lines+markers"]
    styles = [(t.line.color, t.line.dash, t.marker.symbol) for t in samples]
    assert all(a != b for a, b in zip(*styles, strict=True))
    assert samples[1].name == "&lt;i&gt;b&lt;/i&gt;, start 0"


def test_patch_and_gradient_keeps_its_scales_over_starts():
    other = PatchReading(3.0, np.array([2.0, -1.0]), np.array([-3.0, -3.0]))
    ranges = [
        [figure.layout[axis].range for axis in ("xaxis", "yaxis", "yaxis2", "yaxis3")]
        for figure in (patch_and_gradient(CELLS, READING), patch_and_gradient(CELLS, other))
    ]
    assert ranges[0] == ranges[1]
    low, high = ranges[0][3]
    assert low < -3 and high > 2, "the steepest steps between cells fit"


def test_gradient_over_starts_marks_integer_starts():
    figure = gradient_over_starts(SWEEP)
    steps = next(t for t in figure.data if t.line.shape == "hv")
    dots = next(t for t in figure.data if t.mode == "markers")
    np.testing.assert_allclose(steps.y, [0, 0, 0, 0, 1, 1, 1, 1, 2])
    np.testing.assert_allclose(dots.x, [0, 1, 2])
    np.testing.assert_allclose(dots.y, [0, 1, 2])


def test_start_descent_shows_loss_start_and_target():
    figure = PICTURES["descent"]()
    np.testing.assert_allclose(figure.data[0].y[[0, -1]], [3, 0])
    np.testing.assert_allclose(figure.data[1].y[[0, -1]], [0, 2])
    assert figure.layout.shapes[0].y0 == 2.0
    assert not PICTURES["descent without a target"]().layout.shapes


def test_patch_chooser_marks_the_chosen_patch_in_the_weight_and_on_the_epitome():
    layer = make_snapshot(shift=0.25, scope="joint")  # 8 x 6 patches of 8 x 8, a start for each
    figure = patch_chooser(layer)
    marks = figure.layout.sliders[0].steps[7].args[0]  # patch (1, 1)
    assert (marks["x"][0][:2], marks["y"][0][1:3]) == ([7.5, 15.5], [7.5, 15.5])
    top, left = (float(layer.starts[axis][1, 1]) for axis in (0, 1))
    np.testing.assert_allclose(marks["x"][1][:2], [left - 0.5, left + 7.5], rtol=1e-6)
    np.testing.assert_allclose(marks["y"][1][1:3], [top - 0.5, top + 7.5], rtol=1e-6)
    assert [figure.data[index].fill for index in figure.layout.sliders[0].steps[7].args[1]] == ["toself", "toself"]


def test_patch_chooser_offers_evenly_spaced_patches_of_many():
    big = make_snapshot(epitome=(1024, 1024, 1, 1), weight=(1280, 1280, 1, 1), patch=(16, 16))
    labels = [step.label for step in patch_chooser(big).layout.sliders[0].steps]
    assert len(labels) == MOST_PATCHES and labels[0].startswith("(0, 0)") and labels[-1].startswith("(79, 79)")


def test_computing_steps_show_channels_and_multiply_adds():
    figure = PICTURES["steps"]()
    assert list(figure.layout.yaxis.ticktext) == ["dense:<br>600", "factored:<br>100"]
    assert figure.data[3].text == ("16", "8", "32")
    assert "&lt;b&gt;3x3&lt;/b&gt;<br>600" in [note.text for note in figure.layout.annotations]


def test_time_against_madds_draws_shares_of_dense():
    line = PICTURES["time"]().data[0]
    assert (list(line.x), list(line.y), line.text) == ([1.0, 0.25], [1.0, 1.5], ("dense", "factored"))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: patch_by_hand(CELLS, []), "readings is empty"),
        (lambda: patch_by_hand(CELLS[None], [READING]), r"shape \(1, 5\)"),
        (lambda: patch_and_gradient(CELLS, PatchReading(1.0, np.ones(2))), "gradient=None"),
        (lambda: gradient_over_starts(SWEEP[:1]), "at least 2"),
        (lambda: computing_steps({"dense": []}, 16), "at least one way"),
        (lambda: time_against_madds({"thin": COSTS}, {"thin": {"dense": TIMES["dense"]}}), "no time of factored"),
        (lambda: start_descent(np.zeros(2), np.zeros(3)), "one number per step"),
    ],
)
def test_figures_by_hand_name_mistakes(draw, message):
    with pytest.raises(OptionError, match=message):
        draw()
