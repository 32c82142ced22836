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


def test_peak_memory_counts_what_lives_at_once():
    def chain() -> None:
        x = torch.zeros(1000)
        for _ in range(5):
            x = x + 1  # the old one dies when the name moves on

    def hoard() -> None:
        kept = [torch.zeros(1000) for _ in range(5)]
        kept[0].add_(1)  # in place: nothing new
        kept[1].view(10, 100)  # a view: nothing new

    assert nes_lab.measure_peak_memory(chain) == 8000
    assert nes_lab.measure_peak_memory(hoard) == 20000


def test_peak_memory_of_a_training_step_holds_what_backward_needs():
    """ReLU(Conv(x)) keeps its output; the inputs, there before, do not count."""
    net, x = (
        nn.Sequential(nn.Linear(100, 100, bias=False), nn.Sigmoid(), nn.Linear(100, 100, bias=False)),
        torch.randn(50, 100),
    )
    with torch.no_grad():
        inference = nes_lab.measure_peak_memory(lambda: net(x))
    training = nes_lab.measure_peak_memory(lambda: net(x).sum().backward())
    assert inference == 2 * 50 * 100 * 4  # an operation's input and output
    assert training >= inference + 100 * 100 * 4  # and the gradients of weights


def test_peak_memory_needs_a_function():
    with pytest.raises(OptionError, match="step=3"):
        nes_lab.measure_peak_memory(3)
    with pytest.raises(OptionError, match="step=Linear; give a function"):
        nes_lab.measure_peak_memory(nn.Linear(1, 1))
    with pytest.raises(OptionError, match="device='gpu' is not a device"):
        nes_lab.measure_peak_memory(lambda: None, "gpu")


def test_measure_latency_takes_a_tuple_of_arguments_and_says_what_an_input_is():
    model = nn.Bilinear(2, 3, 4)
    report = nes_lab.measure_latency({"two": model}, (torch.zeros(5, 2), torch.zeros(5, 3)), pairs=1, warmup=0)["two"]
    assert report.batch == 5
    with pytest.raises(OptionError, match="x is a str without a tensor"):
        nes_lab.measure_latency({"two": model}, "x")
