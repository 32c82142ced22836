"""Rounds: their order and number; ratios that single interruptions do not move."""

from __future__ import annotations

import time
from statistics import median

import pytest
import torch

from nes_lab.cost.timing import device_name, time_rounds
from nes_lab.records.spread import ratio_of_times

CPU = torch.device("cpu")


def test_each_round_runs_all_and_begins_with_another():
    order: list[str] = []
    found = time_rounds({n: lambda n=n: order.append(n) for n in "abc"}, CPU, 10.0, least=3, most=4, precision=0.0)
    assert "".join(order) == "abc" * 2 + "abcbcacababc"  # two rounds of warm-up
    assert [len(t) for t in found.values()] == [4, 4, 4]


def test_untimed_calls_come_before_each_timed_one_and_do_not_count(monkeypatch):
    order: list[str] = []
    ticks = iter(range(10**6))
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks) * 1e-3)
    calls = {n: lambda n=n: order.append(n) for n in "ab"}
    found = time_rounds(calls, CPU, 10.0, least=2, most=2, precision=0.0, untimed=1)
    assert "".join(order) == "ab" * 2 + "aabb" + "bbaa" and all(t == pytest.approx([1.0, 1.0]) for t in found.values())


def test_the_time_ends_the_rounds_but_for_the_least():
    begun = time.perf_counter()
    found = time_rounds({"a": lambda: time.sleep(0.02)}, CPU, 0.001, least=3, most=1000)
    assert len(found["a"]) == 3 and time.perf_counter() - begun < 1
    assert all(20 <= t < 200 for t in found["a"])  # milliseconds


def test_known_well_enough_is_enough(monkeypatch):
    ticks = iter(range(10**6))
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks) * 1e-4)
    found = time_rounds({"a": lambda: None, "b": lambda: None}, CPU, 1e3, least=3, most=200, precision=0.01)
    assert len(found["a"]) == 10  # the first look at the ratio


def test_a_ratio_is_taken_round_by_round():
    base = [1.0, 1.0, 2.0, 2.0, 9.0]
    ratio = ratio_of_times([0.5 * b for b in base], base)
    assert (ratio.median, ratio.error, ratio.low, ratio.high, ratio.rounds) == (0.5, 0.0, 0.5, 0.5, 5)
    disturbed = ratio_of_times([0.5, 0.5, 1.0, 50.0, 4.5], base)
    assert disturbed.median == 0.5 and disturbed.error == 0.0


def test_the_error_is_that_of_a_median():
    generator = torch.Generator().manual_seed(0)
    draws = (1 + 0.1 * torch.randn(2000, 51, generator=generator)).tolist()
    errors = [ratio_of_times(row, [1.0] * 51).error for row in draws]
    spread = torch.tensor([median(row) for row in draws]).std()
    assert median(errors) == pytest.approx(float(spread), rel=0.15)


def test_one_round_has_no_spread():
    assert ratio_of_times([3.0], [2.0]).low == ratio_of_times([3.0], [2.0]).high == 1.5


def test_devices_have_names():
    assert device_name(CPU) and device_name(torch.device("meta")) == "meta"
