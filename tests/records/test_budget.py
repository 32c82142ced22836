"""One parser of budgets for Python, YAML, command line and app."""

from __future__ import annotations

import pytest

from nes_lab.errors import BudgetError
from nes_lab.records.budget import Budget, parse_quantity
from nes_lab.records.counts import Counts


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("75%", 0.75),
        ("0.75", 0.75),
        (0.75, 0.75),
        ("225M", 225e6),
        ("2.9 M", 2.9e6),
        (225e6, 225e6),
        ("300k", 3e5),
        ("1.5G", 1.5e9),
        (1, 1.0),
        ("100%", 1.0),
        ("1e6", 1e6),
        (" 50 % ", 0.5),
    ],
)
def test_reads(text, value):
    assert parse_quantity(text) == pytest.approx(value)


@pytest.mark.parametrize(
    "bad",
    [
        0,
        -1,
        "0%",
        "-5M",
        "abc",
        "",
        "12 apples",
        float("nan"),
        float("inf"),
        True,
        [1],
        "1e400",
        10**400,
        "120%",
        "0.5M%",
        "0.0000001M",
        "nan",
    ],
)
def test_refuses_and_names(bad):
    with pytest.raises(BudgetError, match="madds="):
        Budget(madds=bad)


def test_needs_a_limit():
    with pytest.raises(BudgetError, match="params=, madds="):
        Budget()


def test_limits_are_absolute_numbers_by_name():
    assert Budget(params="50%", madds="225M").limits(Counts(1000, 300_000_000)) == {"params": 500, "madds": 225e6}
    with pytest.warns(FutureWarning, match=r"limits\(\)"):
        assert Budget(madds=0.5).absolute(1000, 300) == (None, 150)


@pytest.mark.parametrize(
    ("given", "value", "limit"),
    [
        (12, 12.0, 12.0),
        (0.5, 0.5, 0.5),
        ("0.5", 0.5, 0.5),
        ("12.5 ms", 12.5, 12.5),
        ("75%", "75%", 15.0),
        (" 7.5 % ", "7.5%", 1.5),
    ],
)
def test_time_is_milliseconds_or_a_share_as_text(given, value, limit):
    budget = Budget(latency_ms=given)
    assert budget.latency_ms == value and budget.latency_limit(20.0) == pytest.approx(limit)
    assert Budget(**{"params": None, "madds": None, "latency_ms": budget.latency_ms}) == budget


@pytest.mark.parametrize(
    "bad", [0, -1, "0%", "120%", "fast", True, [1], float("nan"), float("inf"), "1 s", "5M", 10**400]
)
def test_times_that_are_none(bad):
    with pytest.raises(BudgetError, match="latency_ms="):
        Budget(latency_ms=bad)


def test_it_prints_as_it_is_written():
    assert repr(Budget(params="50%")) == "Budget(params=0.5, madds=None)"
    assert repr(Budget(latency_ms="75%", madds=0.5)) == "Budget(params=None, madds=0.5, latency_ms='75%')"
