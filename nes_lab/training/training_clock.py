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
        now: Function that returns the current time in seconds; tests pass their own function.

    In the example, 100 images are counted, and two seconds have passed.

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
        """Add the images of a training step to the measurement of speed."""
        self._images += images
        self._until = self._now()

    def images_per_s(self) -> float:
        """Return the speed in images per second, measured from the last :meth:`restart` to the last :meth:`count`."""
        seconds = self._until - self._since
        return self._images / seconds if seconds > 0 else 0.0

    def restart(self) -> None:
        """Start the measurement of speed again, for example after a validation."""
        self._images, self._since = 0, self._now()

    def mark(self, step: int) -> None:
        """Store the time at which the training reached this step. :meth:`seconds_left` uses the stored times."""
        self._marks.append({"step": step, "time": self._now()})

    def seconds_left(self, total: int) -> float | None:
        """Return the estimated seconds until the training reaches step ``total``, or None if no estimate is possible yet."""
        return seconds_left(self._marks, total, now=self._now())

    def is_due(self) -> bool:
        """Return True if it is time to report progress: at most five times per second."""
        now = self._now()
        if now - self._last_report < _SECONDS_BETWEEN_REPORTS:
            return False
        self._last_report = now
        return True
