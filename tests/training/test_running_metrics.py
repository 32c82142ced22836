"""Mean loss and accuracy, batch by batch."""

from __future__ import annotations

import math

import pytest
import torch

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


def test_running_metrics_are_nan_when_empty() -> None:
    assert all(math.isnan(value) for value in RunningMetrics("cpu").means().values())
