"""How fast a training is and when it will be done."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Clock"]

_PROGRESS_SECONDS = 0.2


class Clock:
    """Measures images per second between two rows of metrics, and the time that is left.

    Args:
        now: Seconds, from any beginning; given in tests.

    Examples:
        >>> clock = Clock(now=iter([0.0, 2.0]).__next__)
        >>> clock.count(100)
        >>> clock.images_per_s()
        50.0
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._images, self._since, self._until = 0, now(), 0.0
        self._begun: tuple[float, int] | None = None
        self._shown = float("-inf")

    def count(self, images: int) -> None:
        """Add the images of a step."""
        self._images += images
        self._until = self._now()

    def images_per_s(self) -> float:
        """Return the speed from :meth:`restart` to the last step counted."""
        seconds = self._until - self._since
        return self._images / seconds if seconds > 0 else 0.0

    def restart(self) -> None:
        """Begin to measure the speed anew, so that a validation in between does not count."""
        self._images, self._since = 0, self._now()

    def eta(self, step: int, total: int) -> float | None:
        """Return the seconds left at the pace since the first call, validations included; None at first."""
        now = self._now()
        if self._begun is None:
            self._begun = (now, step)
        seconds, steps = now - self._begun[0], step - self._begun[1]
        return seconds / steps * (total - step) if steps > 0 else None

    def is_due(self) -> bool:
        """Whether progress was last shown a fifth of a second ago or more; counts as shown when it is."""
        now = self._now()
        if now - self._shown < _PROGRESS_SECONDS:
            return False
        self._shown = now
        return True
