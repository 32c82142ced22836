"""One rule says whether two times can be told apart: whoever reports times follows it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.records.spread import CLOSE, Ratio, ratio_of_times


@pytest.mark.parametrize(
    ("median", "error", "words"),
    [
        (0.80, 0.02, "takes 0.800 ± 0.040 of the time of b"),
        (1.20, 0.02, "takes 1.200 ± 0.040 of the time of b"),
        (0.98, 0.02, "is as fast as b, within 4.0 %"),
        (0.90, 0.06, "the machine was too busy to tell a from b: 0.900 ± 0.120"),
        (1.00, CLOSE / 2, "is as fast as b"),
    ],
)
def test_two_times_differ_are_close_or_are_unknown(median, error, words):
    ratio = Ratio(median, error, 0.8, 1.2, 9)
    assert words in ratio.words("a", "b")
    assert ratio.too_busy == ("too busy" in words) and ratio.differs == ("takes" in words)


def test_measure_latency_says_how_far_the_times_scatter_and_who_is_faster():
    models = {"large": nn.Linear(1024, 1024), "small": nn.Linear(4, 4)}
    reports = nes_lab.measure_latency({"large": models["large"]}, torch.randn(64, 1024), pairs=9)
    assert reports["large"].low_ms <= reports["large"].median_ms <= reports["large"].high_ms
    reports.rounds_ms = {"large": [2.0, 2.1, 2.0, 1.9], "small": [1.0, 1.0, 1.1, 1.0]}
    for name, ms in (("large", 2.0), ("small", 1.0)):
        reports[name] = reports["large"].__class__(ms, ms + 0.1, 4, 1, 1, "cpu", "float32", ms, ms + 0.1)
    assert "large takes 1.9" in str(reports) and "of the time of small" in str(reports)
    reports.rounds_ms = {"large": [2.0, 0.5, 9.0, 1.0], "small": [1.0, 1.0, 1.1, 1.0]}
    assert "the machine was too busy to tell large from small" in str(reports)


def test_the_median_ratio_of_one_round_is_that_ratio():
    assert ratio_of_times([3.0], [2.0]) == Ratio(1.5, 0.0, 1.5, 1.5, 1)
