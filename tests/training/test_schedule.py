"""Learning rates over steps."""

from __future__ import annotations

import pytest
import torch

from nes_lab.training.recipe import Recipe
from nes_lab.training.schedule import build_scheduler


def recipe(**changes) -> Recipe:
    return Recipe(**({"epochs": 4, "batch_size": 4, "lr": 0.1} | changes))


def curve(**changes) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    scheduler = build_scheduler(optimizer, recipe(**changes), steps_per_epoch=10)
    rates = []
    for step in range(41):
        scheduler.step_update(step)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("schedule", ["cosine", "poly", "tanh"])
def test_build_scheduler_warms_up_and_falls_to_the_least_rate(schedule: str) -> None:
    rates = curve(schedule=schedule, warmup_epochs=1, warmup_lr=0.01, min_lr=0.001)
    assert rates[0] == pytest.approx(0.01)
    assert rates[5] == pytest.approx(0.055)
    assert max(rates) == rates[10] == pytest.approx(0.1, rel=1e-3)  # tanh begins a little below
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.001)


def test_build_scheduler_falls_evenly_for_poly_and_by_the_factor_for_step() -> None:
    assert curve(schedule="poly")[20] == pytest.approx(0.05)
    assert curve(schedule="constant", warmup_epochs=1)[10:] == [0.1] * 31
    stairs = curve(schedule="step", decay_epochs=1.5, decay_rate=0.5)
    assert [stairs[step] for step in (0, 14, 15, 29, 30, 40)] == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025])
