"""Measure how fast a training is and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["TrainingClock"]

_SECONDS_BETWEEN_REPORTS = 0.2


class TrainingClock:
    """Measures images per second between two rows of metrics, and estimates the time left.

    Args:
        now: Returns the present time in seconds; tests pass their own.

    Examples:
        >>> clock = TrainingClock(now=iter([0.0, 2.0]).__next__)
        >>> clock.count(100)
        >>> clock.images_per_s()
        50.0
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._images, self._since, self._until = 0, now(), 0.0
        self._first: tuple[float, int] | None = None
        self._last_report = float("-inf")

    def count(self, images: int) -> None:
        """Add the images of a step."""
        self._images += images
        self._until = self._now()

    def images_per_s(self) -> float:
        """Return the speed from :meth:`restart` to the last counted step."""
        seconds = self._until - self._since
        return self._images / seconds if seconds > 0 else 0.0

    def restart(self) -> None:
        """Start measuring the speed again, so that the validation in between does not count."""
        self._images, self._since = 0, self._now()

    def eta(self, step: int, total: int) -> float | None:
        """Return the seconds left, at the pace since the first call and with validations; None at the first call."""
        now = self._now()
        if self._first is None:
            self._first = (now, step)
        seconds, steps = now - self._first[0], step - self._first[1]
        return seconds / steps * (total - step) if steps > 0 else None

    def is_due(self) -> bool:
        """Return True at most five times per second: when progress should be reported."""
        now = self._now()
        if now - self._last_report < _SECONDS_BETWEEN_REPORTS:
            return False
        self._last_report = now
        return True
