"""Pictures of one axis: cells, windows, samples, gradients, a start on its way."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nes_lab.errors import OptionError
from nes_lab.figures.patch_by_hand import PatchReading, patch_and_gradient, patch_by_hand
from nes_lab.figures.start_curves import gradient_over_starts, start_descent
from nes_lab.figures.theme import figure_json

CELLS = np.array([0.0, 1.0, 3.0, 2.0, -1.0])
READING = PatchReading(1.5, np.array([2.0, 2.5]), np.array([2.0, -1.0]))
SWEEP = [PatchReading(s / 4, np.array([s / 4, 1.0]), np.array([float(s // 4), 0.0])) for s in range(9)]

PICTURES = {
    "patches": lambda: patch_by_hand(CELLS, [READING, PatchReading(0.0, np.array([0.0, 1.0]), name="<i>b</i>")]),
    "gradient": lambda: patch_and_gradient(CELLS, READING),
    "sweep": lambda: gradient_over_starts(SWEEP),
    "descent": lambda: start_descent(np.linspace(0, 2, 9), np.linspace(3, 0, 9), target=2.0),
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


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: patch_by_hand(CELLS, []), "readings is empty"),
        (lambda: patch_by_hand(CELLS[None], [READING]), r"shape \(1, 5\)"),
        (lambda: patch_and_gradient(CELLS, PatchReading(1.0, np.ones(2))), "gradient=None"),
        (lambda: gradient_over_starts(SWEEP[:1]), "at least 2"),
        (lambda: start_descent(np.zeros(2), np.zeros(3)), "one number per step"),
    ],
)
def test_figures_by_hand_name_mistakes(draw, message):
    with pytest.raises(OptionError, match=message):
        draw()
