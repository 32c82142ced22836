"""Is a difference noise: by hand, and the words said about it."""

from __future__ import annotations

import pytest

from nes_lab.errors import OptionError
from nes_lab.runs.compare import Contest, compare_accuracy, tally
from nes_lab.runs.difference import Difference, mean_difference, paired_difference


def test_an_interval_is_never_narrower_than_the_test_set_allows():
    # two seeds of 360 images at 98 % each: binomial sqrt(.98 * .02 / 720) = 0.522 points, and 1.96 * sqrt(2) of it
    found = mean_difference([98.0, 98.0], [98.0, 98.0], images=360)
    assert (found.low, found.high) == (pytest.approx(-1.446, abs=1e-3), pytest.approx(1.446, abs=1e-3))
    # the seeds disagree by more: stdev([90, 98]) / sqrt(2) = 4 on each side, t of 2 degrees of freedom
    found = mean_difference([90.0, 98.0], [90.0, 98.0], images=360)
    assert found.high == pytest.approx(4.303 * 4 * 2**0.5, abs=1e-2)
    assert mean_difference([90.0, 98.0], [90.0, 98.0]) == found
    assert mean_difference([98.0], [90.0], images=360).sign == 1 and not mean_difference([98.0], [90.0]).is_known
    assert not mean_difference([98.0, 98.0], [90.0, 90.0]).is_known  # two seeds may agree by chance


@pytest.mark.filterwarnings("ignore:Precision loss")  # two equal results leave the degrees of freedom to the other side
@pytest.mark.parametrize("freedom", [1, 2, 5, 30, 31, 200])
def test_the_interval_is_that_of_scipy(freedom):
    stats = pytest.importorskip("scipy.stats")
    first, second = [float(seed % 7) for seed in range(freedom + 1)], [3.0] * 2
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert mean_difference(first, second).high == pytest.approx(expected.high, rel=0.005)


@pytest.mark.parametrize("seeds", [2, 3, 40])
def test_the_interval_seed_by_seed_is_that_of_scipy(seeds):
    stats = pytest.importorskip("scipy.stats")
    first, second = [float(seed % 7) for seed in range(seeds)], [float(seed % 3) / 2 for seed in range(seeds)]
    expected = stats.ttest_rel(first, second).confidence_interval(0.95)
    found = paired_difference(first, second)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=0.005, abs=0.001)


def test_differences_seed_by_seed_need_equally_many_results():
    with pytest.raises(OptionError, match=r"each seed needs one result of both networks"):
        paired_difference([1.0, 2.0], [1.0])


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
    assert contest.difference.value == pytest.approx(sum(mine) / 2 - sum(rival) / 2)


def test_tally_counts_every_verdict():
    contests = [Contest("a", "b", Difference(gap, gap - 2, gap + 2), (2, 2)) for gap in (5, -5, 0, 2)]
    assert tally(contests).endswith("ahead in 1, behind in 1, within noise in 2.")


@pytest.mark.parametrize(("top1", "images"), [([], 360), ([98.0], 0)])
def test_nothing_to_compare(top1, images):
    with pytest.raises(OptionError, match="at least one run"):
        mean_difference(top1, [98.0], images)
