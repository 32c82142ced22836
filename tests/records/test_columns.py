"""A value of a row has a column, a column shown has a value, and text, HTML, CSV and grid show the same columns."""

from dataclasses import fields

import pytest

from nes_lab.errors import OptionError
from nes_lab.records.columns import columns
from nes_lab.records.cost_report import CostReport, LayerCost
from nes_lab.records.counts import QUANTITIES, Counts
from tests.fitting.networks import plan

NOT_SHOWN = {  # values of a plan's row that other tables or figures show
    "runs": "old name of execution",
    "executions": "plan.explain() has a column per execution plan",
    "unavailable": "plan.explain() lists them below the table",
    "why": "plan.explain() has this column",
    "scope": "the app's grid of runs has this column",
}
NOT_IN_COST = {
    "adds": "not a multiply-add",
    "weight_madds": "sampled once by for_inference",
    "learner_params": "said below the table",
    "dense": "one column per quantity",
}


def test_columns_show_each_value_of_a_plan_s_row():
    table = plan().table()
    shown = [column.key for column in table.columns]
    assert set(shown) == set(plan().rows()[0]) - set(NOT_SHOWN)
    assert {key for name in QUANTITIES for key in (name, f"{name}_dense")} <= set(shown)


def test_columns_show_each_value_of_a_counted_layer():
    layer = LayerCost("fc", "EpitomeLinear", 1, 2, dense=Counts(2, 3, 4))
    table = CostReport(1, 2, 0, 3, 0, 0, (1, 3), (layer,)).table()
    values = {field.name for field in fields(LayerCost)} | {f"{name}_dense" for name in QUANTITIES}
    assert {column.key for column in table.columns} == values - set(NOT_IN_COST)


def test_columns_are_the_same_in_text_html_csv_and_grid():
    table = plan().table()
    titles = [column.title for column in table.columns]
    header = table.csv().splitlines()[0]
    for title in titles:
        assert title in header.replace('"', "") and f">{title}</th>" in table.html() and title in table.text()
    assert all(list(row) == [column.key for column in table.columns] for row in table.grid())
    assert all(column.help.endswith(".") for column in table.columns)


def test_columns_refuses_an_unknown_key_and_suggests_one():
    with pytest.raises(OptionError, match=r"'param' is not known.*'params'"):
        columns("param")


def test_columns_without_a_total_stay_empty_in_the_row_of_totals():
    last = plan().table().text().splitlines()[-1]
    assert last.startswith("complete model") and "dense" not in last and "–" not in last
