"""The seconds that notebooks take are those of present notebooks, and the means are theirs."""

from __future__ import annotations

import json

import pytest

from benchmarks.notebook_times import RESULTS
from tests.notebooks.places import SOURCES


@pytest.mark.parametrize("name", ["wall", "cpu"])
def test_rows_are_notebooks_and_means_are_theirs(name):
    record = json.loads(RESULTS.read_text(encoding="utf-8"))
    seconds = [row[name] for row in record["notebooks"].values()]
    assert set(record["notebooks"]) <= {path.stem for path in SOURCES}, "run python -m benchmarks.notebook_times"
    assert record["mean"][name] == round(sum(seconds) / len(seconds), 1)
