"""One parser of budgets for Python, YAML, command line and app."""

from __future__ import annotations

import pytest

from nes_lab.compress.budget import Budget, parse_quantity
from nes_lab.errors import BudgetError


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


def test_both_limits_in_absolute_numbers():
    assert Budget(params="50%", madds="225M").absolute(1000, 300_000_000) == (500, 225e6)
