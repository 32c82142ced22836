"""The page of budgets is made of its results, the results keep their promise, and the plans can be made again."""

from __future__ import annotations

import copy
import json

import pytest

from benchmarks import budgets

DATA = json.loads(budgets.RESULTS.read_text(encoding="utf-8"))


def test_the_page_is_what_the_results_say():
    assert budgets.PAGE.read_text(encoding="utf-8") == budgets.page(DATA)


def test_every_row_keeps_the_promise():
    assert len(DATA["rows"]) == len(budgets.BACKBONES) * 4 * len(budgets.STRATEGIES)
    assert all(budgets.holds(row) for row in DATA["rows"])


def test_a_broken_promise_would_be_seen():
    row = copy.deepcopy(DATA["rows"][0])
    for change in (
        {"counted": row["counted"] | {"params": row["counted"]["params"] + 1}},
        {"limits": {"params": 2, "madds": None}},
    ):
        assert not budgets.holds(row | change)
    slack = row | {
        "limits": {"params": 10 * row["counted"]["params"], "madds": None},
        "note": "uses 10.0% of the params budget",
    }
    assert not budgets.holds(slack) and budgets.holds(slack | {"note": slack["note"] + "; the step of x prevents more"})
    assert "**no, in 1**" in budgets.page(DATA | {"rows": [slack]})


def test_a_small_backbone_again():
    """Both strategies; the plans of ``uniform`` do not depend on weights, so they are the committed ones."""
    found = list(budgets.rows_of("small_mobilenetv2", budgets.BACKBONES["small_mobilenetv2"]))
    assert len(found) == 8 and all(budgets.holds(row) for row in found)
    assert [row for row in found if row["strategy"] == "uniform"] == _committed("small_mobilenetv2")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in budgets.BACKBONES if name != "small_mobilenetv2"])
def test_a_backbone_again(name):
    found = list(budgets.rows_of(name, budgets.BACKBONES[name], ["uniform"]))
    assert len(found) == 4 and all(budgets.holds(row) for row in found)
    assert found == _committed(name)


def _committed(name: str) -> list[dict]:
    return [row for row in DATA["rows"] if row["backbone"] == name and row["strategy"] == "uniform"]
