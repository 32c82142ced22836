"""Say how much measured times scatter, and whether two times can be told apart. This is the only place with a rule for that.

Two functions are timed in turn, round by round. In each round, the time of the first is divided by the time of the other. The
median of these ratios is what counts, and its standard error says how certain it is.

1. The two can be told apart if the median differs from 1 by more than two standard errors.
2. Otherwise they are equally fast if two standard errors are at most :data:`CLOSE`.
3. Otherwise the machine was too busy to tell them apart.

Tests: tests/records/test_spread.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median, quantiles

from nes_lab.records.record import Part
from nes_lab.text import format_ms, format_share

__all__ = ["CLOSE", "Ratio", "quartiles", "ratio_of_times", "spread_words"]

CLOSE = 0.05
"""Largest uncertainty of a ratio of times with which two functions may be called equally fast."""


@dataclass(frozen=True)
class Ratio(Part):
    """Ratio of the times of two functions, over several rounds that time both.

    Args:
        median: Median of the ratios of the rounds.
        error: Standard error of the median. Outliers barely change it.
        low, high: Lower and upper quartile of the ratios: half of the rounds lie between them.
        rounds: Number of rounds.

    Examples:
        >>> Ratio(0.9, 0.01, 0.88, 0.92, 20).is_faster(), Ratio(0.9, 0.06, 0.8, 1.1, 20).is_faster()
        (True, False)
        >>> Ratio(0.9, 0.06, 0.8, 1.1, 20).too_busy, Ratio(0.99, 0.01, 0.98, 1.0, 20).too_busy
        (True, False)
    """

    median: float
    error: float
    low: float
    high: float
    rounds: int

    @property
    def uncertainty(self) -> float:
        """Two standard errors of the median: the true ratio is rarely farther away."""
        return 2 * self.error

    def is_faster(self, by: float = 0.0) -> bool:
        """Return True if the first function takes clearly less time than the other.

        Args:
            by: Share of the other function's time that must be saved at least.
        """
        return self.median + self.uncertainty < 1 - by

    @property
    def differs(self) -> bool:
        """True if the two functions can be told apart: one of them is clearly faster."""
        return abs(self.median - 1) > self.uncertainty

    @property
    def too_busy(self) -> bool:
        """True if the two functions cannot be told apart because the times scatter too much."""
        return not self.differs and self.is_unsure

    @property
    def is_unsure(self) -> bool:
        """True if the ratio is not known well: its uncertainty is above :data:`CLOSE`."""
        return self.uncertainty > CLOSE

    def words(self, name: str, other: str) -> str:
        """Return in words how two functions compare, with the spread of the ratio.

        Args:
            name: Name of the first function, such as ``fused``.
            other: Name of the other function.

        Examples:
            >>> Ratio(0.9, 0.01, 0.88, 0.92, 20).words("fused", "dense")
            'fused takes 0.900 ± 0.020 of the time of dense (half of 20 rounds in 0.880 to 0.920)'
            >>> Ratio(0.99, 0.01, 0.98, 1.0, 20).words("fused", "dense")
            'fused is as fast as dense, within 2.0 % (half of 20 rounds in 0.980 to 1.000)'
            >>> Ratio(0.9, 0.06, 0.8, 1.1, 20).words("fused", "dense")
            'the machine was too busy to tell fused from dense: 0.900 ± 0.120 of its time (half of 20 rounds in 0.800 to 1.100)'
        """
        share = f"{self.median:.3f} ± {self.uncertainty:.3f}"
        rounds = f"half of {self.rounds} rounds in {self.low:.3f} to {self.high:.3f}"
        if self.differs:
            return f"{name} takes {share} of the time of {other} ({rounds})"
        if self.too_busy:
            return f"the machine was too busy to tell {name} from {other}: {share} of its time ({rounds})"
        return f"{name} is as fast as {other}, within {format_share(self.uncertainty)} ({rounds})"


def ratio_of_times(times: Sequence[float], base: Sequence[float]) -> Ratio:
    """Compare the times of two functions: return the median of their ratio, and its standard error.

    In each round, the time of the first function is divided by the time of the other function.

    If the machine is slow in one round, both times grow. The ratio stays about the same.

    Args:
        times: Times of the first function, one per round.
        base: Times of the other function in the same rounds.

    Examples:
        >>> ratio_of_times([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
        Ratio(median=0.5, error=0.0, low=0.5, high=0.5, rounds=3)
    """
    ratios = [t / b for t, b in zip(times, base, strict=True)]
    low, middle, high = quartiles(ratios)
    # the standard deviation, if the ratios are normally distributed
    spread = 1.4826 * median(abs(r - middle) for r in ratios)
    return Ratio(middle, 1.2533 * spread / sqrt(len(ratios)), low, high, len(ratios))


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile: half of the values lie between the first and the last.

    Examples:
        >>> quartiles([3.0, 1.0, 2.0])
        (1.5, 2.0, 2.5)
        >>> quartiles([4.0])
        (4.0, 4.0, 4.0)
    """
    low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else (*values, *values, *values)
    return low, median(values), high


def spread_words(low: float, high: float) -> str:
    """Return in words between which times half of the rounds lie; both are in milliseconds.

    Examples:
        >>> spread_words(1.25, 1.5)
        'half of the calls in 1.25 ms to 1.5 ms'
    """
    return f"half of the calls in {format_ms(low)} to {format_ms(high)}"
