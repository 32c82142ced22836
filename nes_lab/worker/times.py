"""Measure the time of a planned network beside the dense one, on this machine.

Tests: tests/worker/test_times.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nes_lab.planning.latency import DeviceTimer
from nes_lab.progress_bar import OnProgress
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.worker.plans import PlanDesk, read_question

__all__ = ["measure_times"]

SECONDS = 8.0
"""About how long the measurement takes, without making the networks."""


def measure_times(question: Mapping[str, Any], on_progress: OnProgress | None = None) -> dict[str, float]:
    """Build the planned and the dense network, and time one forward pass of each in turn.

    Args:
        question: The question for the plan, as :meth:`~nes_lab.worker.plans.PlanDesk.answer` takes it. Optionally
            ``measure_seconds``: about how long the measurement may take.
        on_progress: Called as the work goes on. An error that it raises ends the work.

    Returns:
        Median times ``ms`` and ``dense_ms`` in milliseconds, ``error``: the relative standard error of their ratio, ``low`` and
        ``high``: the quartiles of the ratio, and ``rounds``: how often each network was timed.

    Raises:
        NesLabError: If a value is wrong, or the budget cannot be met.

    Examples:
        >>> question = {"backbone": {"name": "small_mobilenetv2"}, "compression": {"madds": "75%"}, "input_shape": [1, 8, 8], "classes": 10}
        >>> sorted(measure_times(question | {"measure_seconds": 0.5}))
        ['dense_ms', 'error', 'high', 'low', 'ms', 'rounds']
    """
    source, _ = read_question(question)
    answer = PlanDesk().answer(question, on_progress)
    plan = CompressionPlan.from_dict({name: value for name, value in answer.items() if name != "rows"})
    if on_progress is not None:
        on_progress({"phase": "measuring", "done": 0, "total": 1, "label": source.name})
    assert plan.budget is not None  # a question gives a budget
    timer = DeviceTimer(source.make(), source.example(), plan.budget)
    timing = timer(plan, question.get("measure_seconds", SECONDS))
    times = {"ms": timing.ms, "dense_ms": timing.dense_ms, "error": timing.error, "rounds": timing.rounds}
    return times | ({} if timing.spread is None else {"low": timing.spread.low, "high": timing.spread.high})
