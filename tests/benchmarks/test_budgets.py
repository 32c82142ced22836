"""docs/budgets.md is written from its results, every row holds, and the same plans can be made again."""

from __future__ import annotations

import copy
import json

import pytest

from benchmarks import budgets

DATA = json.loads(budgets.RESULTS.read_text(encoding="utf-8"))


def test_page_is_written_from_the_committed_results():
    assert budgets.PAGE.read_text(encoding="utf-8") == budgets.page(DATA)


def test_holds_for_every_row():
    assert len(DATA["rows"]) == len(budgets.BACKBONES) * 4 * len(budgets.STRATEGIES)
    assert all(budgets.holds(row) for row in DATA["rows"])


def test_holds_refuses_wrong_counts_exceeded_limits_and_unexplained_slack():
    row = copy.deepcopy(DATA["rows"][0])
    for change in (
        {"counted": row["counted"] | {"params": row["counted"]["params"] + 1}},
        {"limits": {"params": 2, "madds": None}},
    ):
        assert not budgets.holds(row | change)
    slack = row | {
        "limits": {"params": 10 * row["counted"]["params"], "madds": None},
        "note": "under the params budget by 90%",
    }
    assert not budgets.holds(slack) and budgets.holds(slack | {"note": slack["note"] + "; the step of x prevents more"})
    assert "**no, in 1**" in budgets.page(DATA | {"rows": [slack]})


def test_rows_of_a_small_backbone_are_the_committed_ones():
    """Both strategies; the plans of ``uniform`` do not depend on weights, so they are the committed ones."""
    rows = list(budgets.rows_of("small_mobilenetv2", budgets.BACKBONES["small_mobilenetv2"]))
    assert len(rows) == 8 and all(budgets.holds(row) for row in rows)
    assert [row for row in rows if row["strategy"] == "uniform"] == _committed("small_mobilenetv2")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in budgets.BACKBONES if name != "small_mobilenetv2"])
def test_rows_of_a_backbone_are_the_committed_ones(name):
    rows = list(budgets.rows_of(name, budgets.BACKBONES[name], ["uniform"]))
    assert len(rows) == 4 and all(budgets.holds(row) for row in rows)
    assert rows == _committed(name)


def _committed(name: str) -> list[dict]:
    return [row for row in DATA["rows"] if row["backbone"] == name and row["strategy"] == "uniform"]
