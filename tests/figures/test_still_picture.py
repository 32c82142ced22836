"""PNG pictures of figures: where their pixels are, and that they follow the numbers."""

from __future__ import annotations

import io

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from nes_lab.errors import OptionError
from nes_lab.figures.still_picture import figure_png


def pixels(figure):
    image = Image.open(io.BytesIO(figure_png(figure)))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB")).astype(int)


def near(image, color):
    """Rows and columns of the pixels that have about this color."""
    return np.argwhere(np.abs(image - color).max(axis=-1) < 12)


def test_a_marker_is_where_its_numbers_say():
    def place(x, y):
        figure = go.Figure().add_scatter(x=[x], y=[y], mode="markers", marker={"color": "red", "size": 12})
        figure.update_layout(xaxis_range=[0, 10], yaxis_range=[0, 10], height=400)
        return near(pixels(figure), (255, 0, 0)).mean(axis=0)

    (low, left), (middle, half), (high, right) = place(1, 1), place(5, 5), place(9, 9)
    assert high < middle < low and left < half < right
    assert middle == pytest.approx((low + high) / 2, abs=1) and half == pytest.approx((left + right) / 2, abs=1)


def test_a_logarithmic_axis_keeps_ratios_apart():
    figure = go.Figure().add_scatter(x=[1, 2, 3], y=[1, 10, 100], mode="markers", marker={"color": "red", "size": 12})
    figure.update_yaxes(type="log")
    found = near(pixels(figure), (255, 0, 0))
    first, second, third = (found[np.abs(found[:, 1] - x).argsort()[:40], 0].mean() for x in sorted(_centers(found)))
    assert first - second == pytest.approx(second - third, abs=2)


def _centers(found):
    columns = np.unique(found[:, 1])
    return [group.mean() for group in np.split(columns, np.flatnonzero(np.diff(columns) > 5) + 1)]


def test_cells_of_a_heatmap_have_the_colors_of_the_scale_and_gaps_stay_white():
    scale = [[0, "rgb(0,0,255)"], [1, "rgb(255,0,0)"]]
    figure = go.Figure().add_heatmap(z=[[0, 1], [np.nan, 0]], colorscale=scale)
    figure.update_yaxes(autorange="reversed")
    image = pixels(figure)
    blue, red = (near(image, color).mean(axis=0) for color in ((0, 0, 255), (255, 0, 0)))
    assert red[0] < image.shape[0] / 2 and red[1] > blue[1], "row 0 is at the top, and its second cell is red"
    assert len(near(image, (0, 0, 255))) == pytest.approx(2 * len(near(image, (255, 0, 0))), rel=0.05)


def test_panels_with_a_common_axis_show_the_same_steps():
    figure = go.Figure().add_scatter(x=[5], y=[1], mode="markers", marker={"color": "red", "size": 12})
    figure.add_scatter(
        x=[0, 10], y=[1, 1], mode="markers", xaxis="x2", yaxis="y2", marker={"color": "lime", "size": 12}
    )
    figure.update_layout(
        xaxis={"matches": "x2"}, xaxis2={}, yaxis={"domain": [0.6, 1]}, yaxis2={"domain": [0, 0.4]}, showlegend=False
    )
    image = pixels(figure)
    red, lime = (near(image, color).mean(axis=0) for color in ((255, 0, 0), (0, 255, 0)))
    assert red[0] < lime[0] and red[1] == pytest.approx(lime[1], abs=1)


def test_lines_across_a_panel_stay_inside_it():
    figure = go.Figure().add_scatter(x=[0, 1], y=[0, 1], line_width=0)
    figure.add_vline(x=0.5, line={"color": "red", "width": 4})
    found = near(pixels(figure), (255, 0, 0))
    assert found[:, 0].min() > 50 and found[:, 0].max() < 450 - 40 and np.ptp(found[:, 1]) <= 4


def test_it_refuses_what_it_cannot_draw():
    with pytest.raises(OptionError, match="trace of type 'pie'"):
        figure_png(go.Figure().add_pie(values=[1, 2]))
    with pytest.raises(OptionError, match="shape of type 'rect'"):
        figure_png(go.Figure().add_scatter(x=[0], y=[0]).add_shape(type="rect", x0=0, x1=1, y0=0, y1=1))
    with pytest.raises(OptionError, match="the place 'a' on an axis"):
        figure_png(go.Figure().add_bar(x=["a", "b"], y=[1, 2]))
