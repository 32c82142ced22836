"""Define the callbacks through which a training reports what happens and is asked to stop.

Tests: tests/training/test_reporter.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nes_lab.progress_bar import OnProgress
from nes_lab.training.training_state import TrainingState

__all__ = ["Hooks"]


def _ignore(*_: Any) -> None:
    return None


def _no() -> bool:
    return False


@dataclass(frozen=True)
class Hooks:
    """Callbacks of a training (:class:`~nes_lab.training.loop.Trainer`). All are optional.

    Attributes:
        metric: Called with every row of metrics: step, epoch, split, loss, top1, top5; rows of the training split also have
            lr and images_per_s.
        epoch_end: Called with the training after each validation.
        checkpoint: Called with the training when it should be saved: every few epochs, at the end, and when it is stopped.
        on_progress: Called at most five times per second with a :class:`~nes_lab.progress_bar.ProgressEvent` that counts
            steps.
        event: Called with a dict when something happens once, such as the freezing of starts: kind, step, epoch and more.
        should_stop: Called after each step and before each validation batch; if it returns True, the training stops.

    With several processes, each process calls its own ``should_stop``, and if one returns True, all of them stop. The other
    callbacks are called in the first process only.
    """

    metric: Callable[[dict[str, Any]], None] = _ignore
    epoch_end: Callable[[TrainingState], None] = _ignore
    checkpoint: Callable[[TrainingState], None] = _ignore
    on_progress: OnProgress = _ignore
    event: Callable[[dict[str, Any]], None] = _ignore
    should_stop: Callable[[], bool] = _no
