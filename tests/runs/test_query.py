"""Tables, the front, means over seeds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nes_lab.errors import OptionError
from nes_lab.runs.compared_settings import compared_settings
from nes_lab.runs.info import RunInfo
from nes_lab.runs.query import COLUMNS, config_difference, group_rows, pareto, run_table


def info(run_id="a", seed=0, routing="free", **summary):
    compression = {"routing": routing, "scope": "separable"} if routing else None
    config = {"seed": seed, "backbone": {"name": "small", "width": 1.0}, "compression": compression}
    return RunInfo(run_id, config=config, summary=summary, state="finished")


def test_rows_are_flat_and_complete():
    table = run_table([info(params=5, madds=10, top1=90.5), info("b", routing=None)])
    assert all(tuple(row) == COLUMNS for row in table)
    assert (table[0]["routing"], table[0]["madds"], table[0]["top1"]) == ("free", 10, 90.5)
    assert (table[1]["routing"], table[1]["params"]) == (None, None)
    assert len(table) == 2


def test_strange_configs_and_numbers_do_no_harm():
    odd = RunInfo("x", config={"backbone": 3, "compression": "free"}, summary={"top1": "high", "params": math.nan})
    row = run_table([odd])[0]
    assert (row["backbone"], row["top1"], row["params"], row["routing"]) == (None, None, None, None)


def test_csv_disarms_formulas():
    text = run_table([RunInfo("a", label=cell) for cell in ("=1", "+1", "-1", "@x", "\tx", "fine")]).to_csv()
    labels = [line.split(",")[1] for line in text.splitlines()[1:]]
    assert labels == ["'=1", "'+1", "'-1", "'@x", "'\tx", "fine"]


def test_the_front():
    rows = [
        {"madds": 1, "top1": 60}, {"madds": 2, "top1": 70}, {"madds": 3, "top1": 65}, {"madds": 2, "top1": 70},
        {"madds": 2, "top1": 69}, {"madds": None, "top1": 99}, {"madds": 9, "top1": math.nan},
    ]  # fmt: skip
    assert pareto(rows) == [True, True, False, True, False, False, False]
    assert pareto([]) == []


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_the_front_is_what_nothing_dominates(points):
    rows = [{"madds": x, "top1": y} for x, y in points]
    slow = [not any((a <= x and b > y) or (a < x and b >= y) for a, b in points) for x, y in points]
    assert pareto(rows) == slow


def test_seeds_are_averaged():
    table = run_table([info(top1=90.0, madds=10), info(seed=1, top1=92.0, madds=10), info(routing=None, top1=80.0)])
    free, dense = group_rows(table, by=["routing"])
    assert (free["routing"], free["n"], free["top1"], free["madds"]) == ("free", 2, 91.0, 10)
    assert free["top1_std"] == pytest.approx(math.sqrt(2))  # sample deviation of two values two apart
    assert (dense["routing"], dense["n"], dense["top1_std"], dense["madds"]) == (None, 1, None, None)
    with pytest.raises(OptionError, match="'routing'"):
        group_rows(table, by="rooting")


def test_a_setting_is_the_configuration_without_seed_and_label():
    first = RunInfo("a", config={"seed": 0, "label": "x", "data": {"limit": 8}, "training": {"epochs": 2, "lr": 0.1}})
    again = RunInfo("b", config={"training": {"lr": 0.1, "epochs": 2}, "data": {"limit": 8}, "seed": 1, "label": "y"})
    wider = RunInfo("c", config={**first.config, "backbone": {"width": 2.0}})
    longer = RunInfo("d", config={**first.config, "training": {"epochs": 3, "lr": 0.1}})
    a, b, c, d = run_table([first, again, wider, longer])
    assert (a["epochs"], a["lr"], a["limit"]) == (2, 0.1, 8)
    assert a["setting"] == b["setting"] and a["recipe"] == b["recipe"] == c["recipe"]
    assert len({a["setting"], c["setting"], d["setting"]}) == 3 and d["recipe"] != a["recipe"]
    assert run_table([RunInfo("e")])[0]["setting"] is None


def test_only_what_differs_is_shown():
    one = RunInfo("a", config={"seed": 0, "training": {"lr": 0.1}, "compression": None})
    two = RunInfo("b", config={"seed": 0, "training": {"lr": 0.2}, "compression": {"routing": "free"}})
    assert config_difference([one, two]) == {
        "training.lr": [0.1, 0.2], "compression": [None, None], "compression.routing": [None, "free"],
    } or config_difference([one, two]) == {"training.lr": [0.1, 0.2], "compression.routing": [None, "free"]}  # fmt: skip
    assert config_difference([one]) == {}


def test_run_table_gives_old_and_new_field_names_one_setting():
    old = {"compression": {"routing": "free", "weights": "search"}, "seed": 0}
    new = {"compression": {"routing": "free", "initial_weights": "fit", "search_starts": True}, "seed": 1}
    rows = run_table([RunInfo("a", config=old), RunInfo("b", config=new)]).rows
    assert rows[0]["setting"] == rows[1]["setting"] is not None


def test_settings_of_the_compression_are_compared_among_compressed_runs():
    configs = ({"routing": "free", "patch": 8, "round_to": 8}, {"routing": "tiled", "patch": 8, "round_to": 4}, None)
    runs = [RunInfo(name, config={"compression": c}) for name, c in zip("abc", configs, strict=True)]
    rows = {row["field"]: [row[f"run-{place}"] for place in range(3)] for row in compared_settings(runs).rows}
    assert rows == {"Who sets the starts": ["free", "tiled", "dense"], "Round channels to": ["8", "4", "–"]}
    assert len(compared_settings([runs[0], runs[2]]).rows) == 1
