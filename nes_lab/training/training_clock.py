"""Measure the speed of a training and estimate the time left."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from nes_lab.progress_bar import RECENT_ROWS, seconds_left

__all__ = ["TrainingClock"]

_SECONDS_BETWEEN_REPORTS = 0.2


class TrainingClock:
    """Measures the images per second of a training, and estimates the time left.

    Args:
        now: Function that returns the current time in seconds; tests pass a different one.

    Examples:
        >>> clock = TrainingClock(now=iter([0.0, 2.0]).__next__)
        >>> clock.count(100)
        >>> clock.images_per_s()
        50.0
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._images, self._since, self._until = 0, now(), 0.0
        self._marks: deque[dict[str, float]] = deque(maxlen=RECENT_ROWS)
        self._last_report = float("-inf")

    def count(self, images: int) -> None:
        """Count the images of a training step, for the measured speed."""
        self._images += images
        self._until = self._now()

    def images_per_s(self) -> float:
        """Return the images per second from the last :meth:`restart` to the last counted step."""
        seconds = self._until - self._since
        return self._images / seconds if seconds > 0 else 0.0

    def restart(self) -> None:
        """Start measuring the speed again, so that the time of a validation before it is not included."""
        self._images, self._since = 0, self._now()

    def mark(self, step: int) -> None:
        """Save the step and time of a row of metrics, from which the time left is estimated."""
        self._marks.append({"step": step, "time": self._now()})

    def seconds_left(self, total: int) -> float | None:
        """Return the estimated seconds until step ``total`` of the training, or None if they cannot be estimated yet."""
        return seconds_left(self._marks, total, now=self._now())

    def is_due(self) -> bool:
        """Return True if progress should be reported now, which is at most five times per second."""
        now = self._now()
        if now - self._last_report < _SECONDS_BETWEEN_REPORTS:
            return False
        self._last_report = now
        return True
