"""Tell whether the means of two networks differ by more than noise. All pages, reports and tables use this one rule.

Each network is trained one or more times, with different seeds. The rule is a 95 % interval of the difference of the two means, from
the spreads over the seeds (Welch's t interval). If the interval excludes 0, the difference counts. Studies that train all networks with
the same seeds compare seed by seed (``paired_difference``).

Tests: tests/runs/test_compare.py.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from nes_lab.errors import OptionError

__all__ = ["RULE", "Difference", "binomial_error", "mean_difference", "paired_difference"]

RULE = "A difference counts if its 95 % interval excludes 0. The interval follows from the spread over seeds (Welch)."
"""The rule in words, for reports and pages."""

# 97.5 % quantiles of Student's t with 1, 2, ... degrees of freedom; past the end, those of the normal distribution with a correction
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110,
      2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)  # fmt: skip
_NORMAL = 1.96


@dataclass(frozen=True)
class Difference:
    """The difference of two means, with its 95 % interval.

    Attributes:
        value: Mean of the first network minus mean of the second.
        low: Lower end of the interval; None if nothing is known about the noise, because a network has a single seed.
        high: Upper end of the interval; None together with ``low``.
    """

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def is_known(self) -> bool:
        """True if there is an interval."""
        return self.low is not None

    @property
    def sign(self) -> int:
        """1 if the first mean is larger, -1 if it is smaller, 0 if the two cannot be told apart or nothing is known.

        Examples:
            >>> Difference(2.0, 1.0, 3.0).sign, Difference(-2.0, -3.0, -1.0).sign, Difference(2.0, -1.0, 5.0).sign, Difference(2.0).sign
            (1, -1, 0, 0)
        """
        if self.low is None or self.high is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)

    @property
    def level_within(self) -> float | None:
        """Largest difference in either direction that the interval contains, if the two cannot be told apart; otherwise None.

        Examples:
            >>> Difference(2.0, -1.0, 5.0).level_within, Difference(2.0, 1.0, 3.0).level_within, Difference(2.0).level_within
            (5.0, None, None)
        """
        return None if self.low is None or self.high is None or self.sign else max(-self.low, self.high)


def mean_difference(first: Sequence[float], second: Sequence[float], images: int | None = None) -> Difference:
    """Return the difference of the means of two networks, with its 95 % interval.

    Args:
        first: Results of the first network, one per seed.
        second: Results of the second network, one per seed.
        images: Number of test images, if the results are accuracies in percent and the number is known. The error of a mean is
            then at least the one that follows from the number of images (binomial): a few seeds may agree by chance. With it, a
            single seed is enough. Without it, there is no interval if all seeds of both networks agree exactly.

    Raises:
        OptionError: If a network has no result, or ``images`` is less than 1.

    Examples:
        >>> found = mean_difference([90.0, 91.0, 92.0], [80.0, 81.0, 82.0])
        >>> found.value, round(found.low, 1), round(found.high, 1)
        (10.0, 7.7, 12.3)
        >>> mean_difference([98.0], [97.5]).is_known, mean_difference([98.0], [97.5], images=360).sign
        (False, 0)
    """
    if not first or not second or (images is not None and images < 1):
        raise OptionError(
            f"results={list(first)!r} and {list(second)!r}, images={images!r}; at least one run each and one image are needed"
        )
    value = statistics.fmean(first) - statistics.fmean(second)
    parts = [_squared_error(results, images) for results in (first, second)]
    if any(squared is None for squared, _ in parts):
        return Difference(value)
    squares = [(squared or 0.0, freedom) for squared, freedom in parts]
    total = sum(squared for squared, _ in squares)
    if total == 0:  # seeds that agree by chance do not show that there is no noise
        return Difference(value)
    half = _quantile(total**2, sum(squared**2 / freedom for squared, freedom in squares)) * math.sqrt(total)
    return Difference(value, value - half, value + half)


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Return the mean difference of two networks that were trained with the same seeds, with its 95 % interval.

    What a seed does to both networks alike, such as the order of the training images, cancels. The interval is Student's t of the
    differences.

    Args:
        first: Results of the first network, one per seed.
        second: Results of the second network, with the same seeds in the same order.

    Raises:
        OptionError: If the networks have no result, or not equally many.

    Examples:
        >>> found = paired_difference([90.0, 91.0, 92.0], [80.0, 81.2, 81.8])
        >>> round(found.value, 2), round(found.low, 2), round(found.high, 2)
        (10.0, 9.5, 10.5)
        >>> paired_difference([90.0], [80.0]).is_known
        False
    """
    if not first or len(first) != len(second):
        raise OptionError(
            f"results={list(first)!r} and {list(second)!r}; each seed needs one result of both networks, and one seed is needed"
        )
    differences = [one - other for one, other in zip(first, second, strict=True)]
    value = statistics.fmean(differences)
    if (
        len(differences) == 1 or statistics.stdev(differences) == 0
    ):  # equal by chance does not show that there is no noise
        return Difference(value)
    half = _quantile(len(differences) - 1.0, 1.0) * statistics.stdev(differences) / math.sqrt(len(differences))
    return Difference(value, value - half, value + half)


def binomial_error(top1: Sequence[float], images: int) -> float:
    """Return the standard error of a mean accuracy that follows from the number of test images alone, in percentage points.

    Args:
        top1: Accuracies in percent, one per seed.
        images: Number of test images of each run.

    Examples:
        >>> round(binomial_error([98.0], 360), 2), binomial_error([100.0], 360) > 0  # a perfect score is not a certain one
        (0.74, True)
    """
    share = min(max(statistics.fmean(top1) / 100, 1 / images), 1 - 1 / images) if images > 1 else 0.5
    return 100 * math.sqrt(share * (1 - share) / (images * len(top1)))


def _squared_error(results: Sequence[float], images: int | None) -> tuple[float | None, float]:
    """Return the squared standard error of a mean, and its degrees of freedom. The error is None if nothing is known about it."""
    spread = statistics.variance(results) / len(results) if len(results) > 1 else None
    least = None if images is None else binomial_error(results, images) ** 2
    if least is not None and (spread is None or least > spread):
        return least, math.inf
    return spread, len(results) - 1 or math.inf


def _quantile(squared_total: float, parts: float) -> float:
    """Return the 97.5 % quantile of Student's t for the degrees of freedom ``squared_total / parts`` (Welch and Satterthwaite)."""
    freedom = squared_total / parts if parts > 0 else math.inf
    if freedom < len(_T) + 1:
        return _T[max(int(freedom), 1) - 1]
    return _NORMAL * (1 + (_NORMAL**2 + 1) / (4 * freedom))
