"""Tell whether the accuracies of two networks differ by more than noise.

Each network is trained one or more times, with different seeds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from nes_lab.errors import OptionError

__all__ = ["Contest", "compare_accuracy", "standard_error", "tally"]

VERDICTS = ("ahead", "behind", "within noise")


@dataclass(frozen=True)
class Contest:
    """Holds the comparison of the top-1 accuracies of two networks with equally many multiply-adds.

    Each network was trained one or more times, with different seeds.

    Args:
        name, rival: Names of the two networks.
        difference: Mean top-1 of the first network minus mean top-1 of the second, in percentage points.
        error: Standard error of the difference, in percentage points.
        seeds: Number of runs of the first network, and number of runs of the second.
    """

    name: str
    rival: str
    difference: float
    error: float
    seeds: tuple[int, int]

    @property
    def verdict(self) -> str:
        """Verdict on network ``name``, compared with network ``rival``: ``ahead``, ``behind`` or ``within noise``.

        ``within noise`` means that the accuracies differ by at most two standard errors.
        """
        if abs(self.difference) <= 2 * self.error:
            return "within noise"
        return "ahead" if self.difference > 0 else "behind"

    def sentence(self) -> str:
        """Return one sentence that says which of the two compared networks is more accurate, and by how much.

        Examples:
            >>> Contest("free", "narrower", 0.4, 0.5, (2, 2)).sentence()
            'free is within noise of narrower: +0.40 points of top-1, standard error 0.50'
        """
        word = "within noise of" if self.verdict == "within noise" else f"{self.verdict} of"
        word = word.replace("behind of", "behind")
        return f"{self.name} is {word} {self.rival}: {self.difference:+.2f} points of top-1, standard error {self.error:.2f}"


def standard_error(top1: Sequence[float], images: int) -> float:
    """Return the standard error of a mean accuracy, in percentage points.

    There are two estimates, and the larger one is returned. The first comes from the spread of the accuracies over the
    seeds. The second is the binomial error, which follows from the number of test images. With one seed, as in the example, there is
    only the second.

    Args:
        top1: Accuracies in percent, one per seed.
        images: Number of test images of each run.

    Raises:
        OptionError: If ``top1`` is empty, or ``images`` is less than 1.

    Examples:
        >>> round(standard_error([98.0], 360), 2)
        0.74
    """
    if not top1 or images < 1:
        raise OptionError(f"top1={list(top1)!r}, images={images!r}; at least one run and one image are needed")
    share = min(max(statistics.fmean(top1) / 100, 1 / images), 1 - 1 / images)
    binomial = 100 * math.sqrt(share * (1 - share) / (images * len(top1)))
    spread = statistics.stdev(top1) / math.sqrt(len(top1)) if len(top1) > 1 else 0.0
    # If a few seeds agree by chance, the spread is too small.
    return max(binomial, spread)


def compare_accuracy(name: str, top1: Sequence[float], rival: str, rival_top1: Sequence[float], images: int) -> Contest:
    """Compare the mean accuracies of two networks, each trained with one or more seeds.

    Args:
        name: Name of the first network.
        top1: Accuracies of the first network in percent, one per seed.
        rival: Name of the second network.
        rival_top1: Accuracies of the second network in percent, one per seed.
        images: Number of test images of each run.

    Examples:
        >>> compare_accuracy("a", [90.0, 90.0], "b", [80.0, 80.0], 360).verdict
        'ahead'
    """
    error = math.hypot(standard_error(top1, images), standard_error(rival_top1, images))
    difference = statistics.fmean(top1) - statistics.fmean(rival_top1)
    return Contest(name, rival, difference, error, (len(top1), len(rival_top1)))


def tally(contests: Sequence[Contest]) -> str:
    """Count in how many comparisons the epitome network is ahead, behind or within noise. Return one sentence.

    Args:
        contests: The comparisons: names of an epitome network and its rival, difference of their accuracies, standard error,
            numbers of runs.

    Examples:
        >>> tally([Contest("a", "b", 0.1, 0.5, (2, 2)), Contest("c", "b", -3.0, 0.5, (2, 2))])
        'Of 2 comparisons at equal multiply-adds, epitomes are ahead in 0, behind in 1, within noise in 1.'
    """
    counts = {verdict: sum(c.verdict == verdict for c in contests) for verdict in VERDICTS}
    told = ", ".join(f"{verdict} in {n}" for verdict, n in counts.items())
    return f"Of {len(contests)} comparisons at equal multiply-adds, epitomes are {told}."
