"""A planned network is timed beside the dense one, for the network and the plan of the question."""

from __future__ import annotations

import pytest

from nes_lab.errors import BudgetError
from nes_lab.planning.latency import DeviceTimer, Timing
from nes_lab.worker import times
from nes_lab.worker.times import measure_times

SMALL = {"backbone": {"name": "small_mobilenetv2"}, "input_shape": [1, 8, 8], "classes": 10}


def test_times_are_those_of_the_plan(monkeypatch: pytest.MonkeyPatch):
    timed = []
    monkeypatch.setattr(
        DeviceTimer,
        "__call__",
        lambda self, plan, seconds: timed.append((self, plan, seconds)) or Timing(plan, 2.0, 3.0, 0.1, 7),
    )
    question = SMALL | {"compression": {"madds": "75%", "round_to": 2}}
    assert measure_times(question) == {"ms": 2.0, "dense_ms": 3.0, "error": 0.1, "rounds": 7}
    ((timer, plan, seconds),) = timed
    assert plan.predicted.madds <= 0.75 * plan.dense.madds and seconds == times.SECONDS
    assert sum(parameter.numel() for parameter in timer.model.parameters()) == plan.dense.params


def test_times_of_no_plan_are_refused():
    with pytest.raises(BudgetError, match="cannot be met"):
        measure_times(SMALL | {"compression": {"madds": "1%"}})
