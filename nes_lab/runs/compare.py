"""Compare the accuracies of two networks with equally many multiply-adds, and say in words which one is better.

The rule that tells a difference from noise is in ``difference``.

Tests: tests/runs/test_compare.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nes_lab.runs.difference import Difference, mean_difference

__all__ = ["Contest", "compare_accuracy", "tally"]

VERDICTS = ("ahead", "behind", "within noise")


@dataclass(frozen=True)
class Contest:
    """Holds the comparison of the top-1 accuracies of two networks with equally many multiply-adds.

    Each network was trained one or more times, with different seeds.

    Args:
        name, rival: Names of the two networks.
        difference: Mean top-1 of the first network minus mean top-1 of the second, in percentage points, with its interval.
        seeds: Number of runs of the first network, and number of runs of the second.
    """

    name: str
    rival: str
    difference: Difference
    seeds: tuple[int, int]

    @property
    def verdict(self) -> str:
        """Verdict on network ``name``, compared with network ``rival``: ``ahead``, ``behind`` or ``within noise``.

        ``within noise`` means that the interval of the difference contains 0.
        """
        return {1: "ahead", -1: "behind", 0: "within noise"}[self.difference.sign]

    def sentence(self) -> str:
        """Return one sentence that says which of the two compared networks is more accurate, and by how much.

        Examples:
            >>> Contest("free", "narrower", Difference(0.4, -0.6, 1.4), (2, 2)).sentence()
            'free is within noise of narrower: +0.40 points of top-1, 95 % interval -0.60 to +1.40'
        """
        word = "behind" if self.verdict == "behind" else f"{self.verdict} of"
        gap = self.difference
        interval = "" if gap.low is None else f", 95 % interval {gap.low:+.2f} to {gap.high:+.2f}"
        return f"{self.name} is {word} {self.rival}: {gap.value:+.2f} points of top-1{interval}"


def compare_accuracy(name: str, top1: Sequence[float], rival: str, rival_top1: Sequence[float], images: int) -> Contest:
    """Compare the mean accuracies of two networks, each trained with one or more seeds.

    Args:
        name: Name of the first network.
        top1: Accuracies of the first network in percent, one per seed.
        rival: Name of the second network.
        rival_top1: Accuracies of the second network in percent, one per seed.
        images: Number of test images of each run.

    Raises:
        OptionError: If a network has no accuracy, or ``images`` is less than 1.

    Examples:
        >>> compare_accuracy("a", [90.0, 90.0], "b", [80.0, 80.0], 360).verdict
        'ahead'
    """
    return Contest(name, rival, mean_difference(top1, rival_top1, images), (len(top1), len(rival_top1)))


def tally(contests: Sequence[Contest]) -> str:
    """Count in how many comparisons the epitome network is ahead, behind or within noise. Return one sentence.

    Args:
        contests: The comparisons: names of an epitome network and its rival, difference of their accuracies, numbers of runs.

    Examples:
        >>> tally([Contest("a", "b", Difference(gap, gap - 1, gap + 1), (2, 2)) for gap in (0.1, -3.0)])
        'Of 2 comparisons at equal multiply-adds, epitomes are ahead in 0, behind in 1, within noise in 1.'
    """
    counts = {verdict: sum(c.verdict == verdict for c in contests) for verdict in VERDICTS}
    told = ", ".join(f"{verdict} in {n}" for verdict, n in counts.items())
    return f"Of {len(contests)} comparisons at equal multiply-adds, epitomes are {told}."
