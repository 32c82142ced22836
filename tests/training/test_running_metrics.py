"""Mean loss and accuracy, batch by batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from nes_lab.training.metrics import Metric
from nes_lab.training.running_metrics import RunningMetrics


def test_running_metrics_agree_with_a_count_by_hand() -> None:
    meter = RunningMetrics("cpu")
    logits = torch.eye(7)[:4] + torch.arange(7) * 0.01
    meter.update(torch.tensor(1.0), logits, torch.tensor([0, 1, 0, 6]))  # third: class 0 is last of seven
    meter.update(torch.tensor(4.0), logits[:2], torch.tensor([0, 1]))
    assert meter.means() == {"loss": 2.0, "top1": pytest.approx(400 / 6), "top5": pytest.approx(500 / 6)}


def test_running_metrics_do_not_count_constant_logits_as_right() -> None:
    meter = RunningMetrics("cpu")
    meter.update(torch.tensor(1.0), torch.zeros(100, 100), torch.arange(100))
    assert meter.means()["top1"] == pytest.approx(1.0)


def test_running_metrics_continue_those_of_version_0_1_0() -> None:
    meter = RunningMetrics("cpu")
    meter.load_state_dict({"sums": torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64), "images": 2})
    meter.update(torch.tensor(0.0), torch.zeros(2, 7).index_fill(1, torch.tensor([0]), 1.0), torch.tensor([0, 0]))
    assert meter.means() == {"loss": 0.75, "top1": 75.0, "top5": 100.0}
    meter.load_state_dict({"sums": torch.zeros(3), "images": 0})
    assert math.isnan(meter.means()["top1"])


def test_running_metrics_come_back_from_their_state() -> None:
    meter, other = RunningMetrics("cpu"), RunningMetrics("cpu")
    meter.update(torch.tensor(1.5), torch.eye(7), torch.arange(7))
    other.load_state_dict(meter.state_dict())
    for each in (meter, other):
        each.update(torch.tensor(0.5), torch.eye(7), torch.zeros(7, dtype=torch.long))
    assert other.means() == meter.means() != RunningMetrics("cpu").means()


def test_running_metrics_are_nan_when_empty() -> None:
    assert all(math.isnan(value) for value in RunningMetrics("cpu").means().values())


def test_running_metrics_name_a_metric_that_raises_and_take_numpy_numbers() -> None:
    outputs, targets = torch.zeros(2, 3), torch.zeros(2, dtype=torch.long)
    metrics = RunningMetrics("cpu", {"error": Metric(lambda outputs, targets: np.float32(2.5))})
    metrics.update(torch.tensor(0.5), outputs, targets)
    assert metrics.means()["error"] == 2.5
    metrics = RunningMetrics("cpu", {"error": Metric(lambda outputs, targets: 1 / 0)})
    with pytest.raises(ZeroDivisionError) as caught:
        metrics.update(torch.tensor(0.5), outputs, targets)
    assert caught.value.__notes__ == ["metric 'error' raised this error"]
