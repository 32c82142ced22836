"""Notebook 04: plans for a budget, and the network that has what its plan predicts."""

from __future__ import annotations

import re

import pytest

from docs.site.executed import executed
from tests.notebooks.places import FOLDER
from tests.notebooks.test_notebooks import figures, printed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def story():
    return executed(FOLDER / "04_compress_a_backbone.ipynb")


def test_notebook_04_keeps_its_budgets_and_counts_what_it_predicts(story):
    text = printed(story)
    assert "3,504,872 params, 300,774,272 MAdds" in text
    assert "as predicted: 2,866,280 params, 222,076,352 MAdds, 11,601,984 bytes" in text
    assert re.search(r"predicted 11,601,984 bytes, on disk 11,6\d\d,\d\d\d", text)
    assert "as predicted: least reachable 35,744,640" in text and "conv_stem 10.84 M" in text
    assert "the same outputs, and the same plan" in text


def test_notebook_04_says_which_predictions_failed(story):
    assert printed(story).count("NOT as predicted") == 2
    assert "Warning" not in printed(story)


def test_notebook_04_draws_each_layer(story):
    (bars,) = figures(story)
    assert bars["layout"]["title"]["text"] == "Cost of every layer" and len(bars["data"]) == 6
