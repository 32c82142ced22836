"""Notebook 07: a sweep over budgets, routings and seeds, its front, and what the spread over seeds allows to say."""

from __future__ import annotations

import re

import pytest

from docs.site.executed import executed
from tests.notebooks.places import FOLDER
from tests.notebooks.test_notebooks import figures, printed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def story():
    return executed(FOLDER / "07_sweep_and_pareto.ipynb")


def test_notebook_07_says_nothing_from_one_seed_and_something_from_three(story):
    text = printed(story)
    one, three = text.index("Too few seeds to tell it from"), text.index("9 of 9 trials finished")
    assert one < three
    assert "Too few seeds" not in text[three:]
    assert text[three:].count("3 seeds · ") == 2


def test_notebook_07_compares_its_predictions_and_runs_nothing_twice(story):
    text = printed(story)
    assert len(re.findall(r"^(?:NOT )?as predicted: +.+ -> (?:True|False)$", text, re.MULTILINE)) == 3
    assert re.search(r"madds \{.*'seed': '0%'", text)
    assert "as predicted: no run was started" in text
    assert "Warning" not in text


def test_notebook_07_draws_runs_published_numbers_and_the_study_apart(story):
    measured, published, study = figures(story)
    assert measured["layout"]["title"]["text"] == "Top-1 against MAdds"
    assert {"tiled", "free"} <= {trace.get("name") for trace in measured["data"]}
    assert published["layout"]["title"]["text"] == "As published, ImageNet"
    assert study["layout"]["title"]["text"].startswith("Measured study")
    assert {"narrower network", "tiled epitomes on both axes"} <= {trace["name"] for trace in study["data"]}
