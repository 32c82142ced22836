"""Is a difference noise: by hand, and the words said about it."""

from __future__ import annotations

import pytest

from nes_lab.errors import OptionError
from nes_lab.runs.compare import Contest, compare_accuracy, standard_error, tally


def test_standard_error_is_the_larger_of_seeds_and_test_set():
    # two seeds of 360 images at 98 %: binomial sqrt(.98 * .02 / 720) = 0.522 points
    assert standard_error([98.0, 98.0], 360) == pytest.approx(0.5217, abs=1e-4)
    # the seeds disagree by more: stdev([90, 98]) / sqrt(2) = 4
    assert standard_error([90.0, 98.0], 360) == pytest.approx(4.0)
    assert standard_error([100.0, 100.0], 360) > 0  # a perfect score is not a certain one


@pytest.mark.parametrize(
    ("mine", "rival", "verdict"),
    [
        ([98.0, 98.5], [98.2, 98.1], "within noise"),
        ([99.0, 99.2], [90.0, 90.5], "ahead"),
        ([80.0, 81.0], [98.0, 98.0], "behind"),
    ],
)
def test_verdicts(mine, rival, verdict):
    contest = compare_accuracy("a", mine, "b", rival, 360)
    assert contest.verdict == verdict and verdict.split()[0] in contest.sentence()
    assert contest.difference == pytest.approx(sum(mine) / 2 - sum(rival) / 2)


def test_the_border_is_two_standard_errors():
    assert Contest("a", "b", 2.0, 1.0, (2, 2)).verdict == "within noise"
    assert Contest("a", "b", 2.01, 1.0, (2, 2)).verdict == "ahead"
    assert Contest("a", "b", -2.01, 1.0, (2, 2)).verdict == "behind"


def test_tally_counts_every_verdict():
    contests = [Contest("a", "b", d, 1.0, (2, 2)) for d in (5, -5, 0, 0)]
    assert tally(contests).endswith("ahead in 1, behind in 1, within noise in 2.")


@pytest.mark.parametrize(("top1", "images"), [([], 360), ([98.0], 0)])
def test_nothing_to_compare(top1, images):
    with pytest.raises(OptionError, match="at least one run"):
        standard_error(top1, images)
