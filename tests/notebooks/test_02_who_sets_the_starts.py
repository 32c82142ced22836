"""Notebook 02: the index learner by hand, and five ways to set starts on the same task."""

from __future__ import annotations

import re

import pytest

from docs.site.executed import executed
from tests.notebooks.places import FOLDER
from tests.notebooks.test_notebooks import figures, printed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
]  # it trains for half a minute alone, minutes on a busy machine


@pytest.fixture(scope="module")
def story():
    return executed(FOLDER / "02_who_sets_the_starts.ipynb")


def test_notebook_02_does_the_index_learner_by_hand(story):
    text = printed(story)
    assert "1. pooled: (64, 16)" in text
    assert "as predicted: the layer has stored" in text
    assert "numbers stored for inference: 1192 - the index learner, for training only: 208" in text
    assert "the same output, no index learner" in text
    assert "Warning" not in text


def test_notebook_02_compares_five_ways_over_three_seeds(story):
    text = printed(story)
    assert re.search(r"tiled +params 7,556  madds 112,672", text)
    assert re.search(r"learner +params 7,070  madds 110,464", text)
    moves = {
        name: line for name in ("free", "learner") for line in text.splitlines() if re.match(rf"{name} +largest", line)
    }
    for line in moves.values():
        found = [float(number) for number in re.findall(r"\d\.\d{3}", line)]
        assert len(found) == 3 and 0 < max(found) < 1, line
    assert "as predicted: learned starts moved less than one cell" in text
    assert "\nas predicted (tiled is not worse)" in text
    assert "not as predicted (at least half a cell)" in text, "the prose says that this prediction failed"


def test_notebook_02_draws_seeds_paths_and_maps(story):
    titles = [spec["layout"]["title"]["text"] for spec in figures(story)]
    assert titles == ["Starts of conv", "Top-1 of each seed", *["Starts of 6"] * 2, "Routing map of 6", "Starts of 6"]
    seeds = figures(story)[1]["data"]
    assert len(seeds) == 10 and all(len(trace["y"]) == 3 for trace in seeds[::2])
