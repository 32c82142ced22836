"""Speed and time left of a training."""

from __future__ import annotations

import pytest

from nes_lab.training.training_clock import TrainingClock


def test_training_clock_estimates_time_and_limits_reports() -> None:
    times = iter([0.0, 10.0, 10.0, 12.0, 13.0, 20.0, 20.1, 20.3])
    clock = TrainingClock(now=lambda: next(times))
    clock.mark(0)
    assert clock.seconds_left(10) is None
    clock.mark(2)
    assert clock.seconds_left(10) == pytest.approx(7.0)  # 8 steps from second 12 on, and now it is second 13
    assert [clock.is_due() for _ in range(3)] == [True, False, True]
