"""The figures of attributions show the maps they are given, scaled alike, and say the numbers of their agreement."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from nes_lab.errors import OptionError
from nes_lab.figures.attributions import SIDE, attribution_rows, attributions
from nes_lab.figures.deletion_curves import curve_data, deletion_curves
from nes_lab.figures.theme import figure_json


def make_agreement(*shape, count=2, seed=0):
    random = np.random.default_rng(seed)
    found = [
        SimpleNamespace(
            maps=random.normal(size=(count, *shape)), target=np.arange(count), answers=np.arange(count) + add
        )
        for add in (0, 1)
    ]
    return SimpleNamespace(
        first=found[0], second=found[1], rank_correlation=np.array([0.5, np.nan]), overlap=np.array([0.25, 1.0])
    )


def test_attributions_draw_maps_difference_and_agreement_of_each_input():
    agreement = make_agreement(8, 8)
    agreement.first.maps *= 1000  # the scores of two networks may have other scales
    figure = attributions(agreement, np.zeros((2, 1, 8, 8)), classes=["zero", "<b>one</b>", "two"], labels=[0, 1])
    first, second, difference = (np.asarray(trace.z) for trace in figure.data[:3])
    assert len(figure.data) == 6 and len(figure.layout.images) == 2
    assert np.abs(first).max() == np.abs(second).max() == 1.0
    np.testing.assert_allclose(difference, second - first)
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-1, 1)
    texts = [note.text for note in figure.layout.annotations]
    assert "label zero · dense: zero · compressed: &lt;b&gt;on" in texts[0] + texts[1]
    assert any("rank correlation 0.50 · 25 % of the top tenth shared" in text for text in texts)
    assert any("rank correlation –" in text for text in texts)
    assert "rank correlation 0.50" in figure.layout.meta["alt"]
    assert len(json.dumps(figure_json(figure))) < 2_000_000


def test_attributions_place_rows_without_overlap_on_square_cells():
    figure = attributions(make_agreement(8, 16), np.zeros((2, 3, 8, 16)))
    across, down = np.asarray(figure.data[0].z).shape[::-1]
    assert figure.data[0].x0 + (across - 1) * figure.data[0].dx < 2 and figure.layout.yaxis.scaleanchor == "x"
    assert figure.data[0].y0 + (down - 1) * figure.data[0].dy < figure.layout.annotations[1].y < figure.data[3].y0


def test_attributions_color_the_line_of_a_signal():
    agreement, signals = make_agreement(1000), np.random.default_rng(1).normal(size=(2, 1, 1000))
    figure = attributions(agreement, signals)
    line, first = figure.data[0], figure.data[1]
    assert len(figure.data) == 8 and not figure.layout.images
    assert len(first.x) == len(first.marker.color) < 200 and first.marker.coloraxis == "coloraxis"
    np.testing.assert_allclose(np.asarray(first.x) - np.asarray(line.x), 1)
    np.testing.assert_allclose(first.y, line.y)


def test_attribution_rows_are_small_data_for_json():
    rows = attribution_rows(make_agreement(224, 224), np.random.default_rng(0).random((2, 3, 224, 224)))
    again = json.loads(json.dumps(rows))
    assert np.asarray(again[0]["first"]).shape <= (SIDE, SIDE) and len(json.dumps(rows)) < 200_000
    assert attributions(again).layout.height == attributions(rows).layout.height


@pytest.mark.parametrize("inputs", [np.zeros((2, 1, 9, 9)), np.zeros((2, 64)), None])
def test_attributions_refuse_inputs_that_do_not_fit(inputs):
    with pytest.raises(OptionError, match="of the same call"):
        attributions(make_agreement(8, 8), inputs)
    with pytest.raises(OptionError, match="0 inputs"):
        attributions([])


def test_deletion_curves_draw_the_mean_of_each_network():
    curves = SimpleNamespace(
        shares=np.array([0, 0.5, 1]),
        deletion=np.array([[1, 0.5, 0], [0.5, 0.1, 0]]),
        insertion=np.array([[0, 0.2, 1], [0, 0.4, 0.5]]),
    )
    figure = deletion_curves({"dense": curves, "compressed": curve_data(curves)})
    assert [trace.xaxis for trace in figure.data] == ["x", "x2", "x", "x2"]
    np.testing.assert_allclose(figure.data[0].y, [0.75, 0.3, 0])
    np.testing.assert_allclose(figure.data[3].y, figure.data[1].y)
    assert "dense: 0.34 and 0.34" in figure.layout.meta["alt"]  # areas of (0.75, 0.3, 0) and (0, 0.3, 0.75)
    with pytest.raises(OptionError, match="curves is empty"):
        deletion_curves({})
