"""Notebook 05: epitomes fitted to trained weights, and what a short training makes of them."""

from __future__ import annotations

import re

import pytest

from docs.site.executed import executed
from tests.notebooks.places import FOLDER
from tests.notebooks.test_notebooks import figures, printed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def story():
    return executed(FOLDER / "05_fit_a_pretrained_network.ipynb")


def test_notebook_05_compares_each_prediction_with_its_result(story):
    text = printed(story)
    assert text.count("\nas predicted") == 2 and text.count("NOT as predicted") == 2
    assert re.search(r"residual: 0\.\d+ with the plan's starts, 0\.\d+ with searched ones", text)
    assert "Warning" not in text


def test_notebook_05_trains_fitted_and_fresh_networks_for_equal_steps(story):
    found = re.search(r"\{'fitted': ([\d.]+), 'from scratch': ([\d.]+)\} after 44 steps each", printed(story))
    assert found is not None and float(found[1]) > float(found[2]) + 3


def test_notebook_05_draws_the_fit_and_the_trainings(story):
    titles = [spec["layout"]["title"]["text"] for spec in figures(story)]
    assert titles[:2] == ["Relative residual of each layer", "Curves of 2 runs"] and len(titles) == 3
    residuals = figures(story)[0]
    assert residuals["layout"]["xaxis2"]["title"]["text"].endswith("output (%)")
