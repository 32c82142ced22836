"""Notebook 03: the same output under every execution plan, counted multiply-adds, and times measured on this machine."""

from __future__ import annotations

import pytest

from docs.site.executed import executed
from tests.notebooks.places import FOLDER
from tests.notebooks.test_notebooks import figures, printed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def story():
    return executed(FOLDER / "03_same_result_at_a_tenth.ipynb")


def test_notebook_03_counts_what_it_predicts(story):
    text = printed(story)
    assert "the same output under materialize, wrapped, factored" in text
    # 9 x 128 x 128, 9 x 40 x 128 and 9 x 40 x 40, at 256 positions
    for plan, madds in (("materialize", "37,748,736"), ("wrapped", "11,796,480"), ("factored", "3,686,400")):
        assert next(line.split() for line in text.splitlines() if line.startswith(f"{plan} "))[2] == f"{madds},"
    assert "4 channels: 20 multiply-adds at each position, dense 16" in text
    assert "the same output as its materialized form" in text
    assert "Warning" not in text


def test_notebook_03_measures_time_beside_multiply_adds(story):
    text, drawn = printed(story), figures(story)
    for layer in ("wide 3x3", "wide 1x1", "thin 1x1"):
        (line,) = (line for line in text.splitlines() if line.startswith(f"{layer}: dense"))
        assert line.endswith("as predicted"), "or not as predicted: times are this machine's"
    assert [spec["layout"]["title"]["text"] for spec in drawn] == ["Does the time follow the multiply-adds?"] * 2
    assert [trace["name"] for trace in drawn[0]["data"][:3]] == ["wide 3x3", "wide 1x1", "thin 1x1"]
    assert {"dense", "factored", "tuned", "materialized"} == set(drawn[1]["data"][0]["text"])
