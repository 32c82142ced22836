"""Define the callbacks of a training.

Callbacks are functions that the training calls to report what happens, and to ask whether it should stop.

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
        metric: Called with each row of metrics. A row is a dict with step, epoch, split, loss, and the metrics by name:
            top1 and top5 if there are no others. A row of the training split also has lr and images_per_s.
        epoch_end: Called with the training after each validation.
        checkpoint: Called with the training when it should be saved: every few epochs, when a validation
            is the best so far, at the end, and when it is stopped.
        on_progress: Called at most five times per second with a :class:`~nes_lab.progress_bar.ProgressEvent`, which
            gives the number of finished steps.
        event: Called with a dict when a rare event happens, for example when the learned positions in the
            epitomes are frozen. The dict has kind, step, epoch and more.
        should_stop: Called after each step and before each validation batch; if it returns True, the training stops.

    If several processes train together, each process calls its own ``should_stop``. If one of these calls returns True, all
    processes stop. Only the first process calls the other callbacks.
    """

    metric: Callable[[dict[str, Any]], None] = _ignore
    epoch_end: Callable[[TrainingState], None] = _ignore
    checkpoint: Callable[[TrainingState], None] = _ignore
    on_progress: OnProgress = _ignore
    event: Callable[[dict[str, Any]], None] = _ignore
    should_stop: Callable[[], bool] = _no
