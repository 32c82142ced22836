"""The committed sample of docstrings: how many are clear on first reading, and that a verdict cannot be left out."""

import json
from collections import Counter

import pytest

from benchmarks.docstring_sample import COUNT, RESULTS, VERDICTS, docstrings, draw, record

LEAST_CLEAR = 0.95
"""Share of texts that a reader must understand on first reading."""


def test_sample_is_clear_on_first_reading():
    result = json.loads(RESULTS.read_text(encoding="utf-8"))
    counts = Counter(row["verdict"] for row in result["sample"])
    assert {name: counts[name] for name in VERDICTS} == result["counts"]
    assert len(result["sample"]) == COUNT and len({row["place"] for row in result["sample"]}) > 0.9 * COUNT
    assert counts["clear"] >= LEAST_CLEAR * COUNT and not counts["riddle"]


def test_draw_gives_the_same_texts_for_the_same_seed():
    assert draw(3, 5) == draw(3, 5) != draw(4, 5)
    assert len(docstrings()) > 1000


def test_record_refuses_a_missing_verdict():
    with pytest.raises(SystemExit, match="text 2"):
        record({"1": "clear"}, seed=3, reader="nobody")
