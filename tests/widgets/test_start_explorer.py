"""The slider for a start: what it reads, and that the figure follows."""

from __future__ import annotations

import numpy as np
import pytest

from nes_lab.errors import GeometryError, OptionError
from nes_lab.widgets.start_explorer import StartExplorer, read_patch

CELLS = np.array([0.0, 0.5, 1.5, 3.0, 2.0, 1.0, -0.5, -1.0])


@pytest.mark.parametrize(
    ("start", "patch", "gradient"),
    [
        (3.25, [2.75, 1.75, 0.625], [-1.0, -1.0, -1.5]),
        (2.0, [1.5, 3.0, 2.0], [1.5, -1.0, -1.0]),  # right derivative at a whole start
        (5.0, [1.0, -0.5, -1.0], [-1.0, -1.5, -0.5]),  # left derivative at the last
    ],
)
def test_read_patch_agrees_with_a_computation_by_hand(start, patch, gradient):
    reading = read_patch(CELLS, start, 3)
    np.testing.assert_allclose(reading.patch, patch, atol=1e-12)
    np.testing.assert_allclose(reading.gradient, gradient, atol=1e-12)


def test_read_patch_has_no_gradient_if_the_patch_cannot_move():
    reading = read_patch(CELLS, 0.0, 8)
    np.testing.assert_array_equal(reading.patch, CELLS)
    np.testing.assert_array_equal(reading.gradient, np.zeros(8))


@pytest.mark.parametrize(
    ("cells", "start", "length", "error", "message"),
    [
        (CELLS, 5.1, 3, OptionError, r"start=5.1 should be from 0 to 5"),
        (CELLS, -0.1, 3, OptionError, "start=-0.1"),
        (CELLS, float("nan"), 3, OptionError, "start=nan"),
        (CELLS, 0.0, 9, GeometryError, "needs 9 epitome cells and has 8"),
        (CELLS[None], 0.0, 3, OptionError, r"shape \(1, 8\)"),
    ],
)
def test_read_patch_names_mistakes(cells, start, length, error, message):
    with pytest.raises(error, match=message):
        read_patch(cells, start, length)


def test_start_explorer_figure_follows_the_slider():
    explorer = StartExplorer(CELLS, length=3, start=3.25)
    assert explorer.children == (explorer.slider, explorer.view)
    assert (explorer.slider.min, explorer.slider.max) == (0.0, 5.0)
    before = np.array(explorer.figure.data[-1].y)
    explorer.slider.value = 3.75
    cells, _, _, samples, values, slopes = explorer.figure.data
    np.testing.assert_allclose(samples.x, [3.75, 4.75, 5.75])
    np.testing.assert_allclose(values.y, [2.25, 1.25, -0.125])
    np.testing.assert_array_equal(slopes.y, before)
    np.testing.assert_allclose(cells.y, CELLS)
    explorer.slider.value = 4.0
    assert not np.array_equal(explorer.figure.data[-1].y, before)
    assert explorer.view.spec["layout"]["meta"] == explorer.figure.layout.meta
    assert "4.00" in explorer.figure.layout.meta["alt"]


def test_start_explorers_do_not_share_state():
    first, second = StartExplorer(CELLS, length=3), StartExplorer(CELLS, length=3)
    first.slider.value = 2.5
    assert (first.reading.start, second.reading.start) == (2.5, 0.0)
