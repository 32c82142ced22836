"""Latency: names, conditions and modes; the speed itself is a benchmark's business."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.errors import OptionError


def test_measures_each_and_leaves_modes():
    models = {"a": nn.Sequential(nn.Linear(8, 8)).train(), "b": nn.Linear(8, 8).eval()}
    found = nes_lab.measure_latency(models, torch.randn(3, 8), pairs=5, warmup=1)
    assert list(found) == ["a", "b"]
    for report in found.values():
        assert 0 < report.median_ms <= report.p90_ms and (report.batch, report.repeats) == (3, 5)
        assert (report.device, report.dtype, report.threads) == ("cpu", "float32", torch.get_num_threads())
    assert models["a"].training and not models["b"].training


def test_at_least_one_round():
    with pytest.raises(OptionError, match="pairs=0"):
        nes_lab.measure_latency({"a": nn.Linear(2, 2)}, torch.randn(1, 2), pairs=0)


def test_contenders_have_names():
    with pytest.raises(OptionError, match="by name"):
        nes_lab.measure_latency(nn.Linear(2, 2), torch.randn(1, 2))
