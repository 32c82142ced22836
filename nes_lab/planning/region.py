"""Find which params and multiply-adds a network can have, in any mix of the sizes of its layers.

The sizes of one layer form a chain of points (multiply-adds, params), from dense to smallest. A network adds up one point of each
chain. The sums lie between two curves: one takes first the shrinks that save most params per multiply-add, the other takes them last.

Tests: tests/planning/test_region.py.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from nes_lab.planning.ladder import Ladder
from nes_lab.records.counts import Counts
from nes_lab.records.reachable import Reachable

__all__ = ["params_between", "reachable"]

POINTS = 65
"""Number of points of each curve."""

Point = tuple[float, float]
"""Multiply-adds and params."""


def reachable(ladder: Ladder, madds: Sequence[float] | None = None) -> Reachable:
    """Return which params and multiply-adds the network of a ladder can have.

    Args:
        ladder: All sizes of the network under one set of options.
        madds: Numbers of multiply-adds for which to return the fewest and the most params; None takes 65 of them, evenly from the
            smallest network to the largest. Numbers that cannot be reached are left out.

    Examples:
        >>> import nes_lab, torch
        >>> from nes_lab.planning.build_ladder import build_ladder
        >>> model, x = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 8)), torch.zeros(1, 64)
        >>> region = reachable(build_ladder(model, x, nes_lab.records.options.PlanOptions()))
        >>> region.fewest_params[-1] <= region.dense.params == region.most_params[-1]
        True
    """
    totals = ladder.totals
    low, high = _curves(ladder)
    (least, _), (largest, _) = low[0], low[-1]
    if madds is None:
        madds = sorted({least + (largest - least) * number / (POINTS - 1) for number in range(POINTS)})
    within = [number for number in madds if least <= number <= largest]
    last = len(totals) - 1
    path = [totals[rung] for rung in sorted({round(last * n / (POINTS - 1)) for n in range(POINTS)})]
    return Reachable(
        dense=ladder.survey.dense,
        least=totals[-1],
        madds=tuple(within),
        fewest_params=tuple(_at(low, number, lowest=True) for number in within),
        most_params=tuple(_at(high, number, lowest=False) for number in within),
        path_madds=tuple(float(counts.madds) for counts in path),
        path_params=tuple(float(counts.params) for counts in path),
    )


def params_between(ladder: Ladder, madds: float) -> tuple[float, float] | None:
    """Return the fewest and the most params that the network can have with a number of multiply-adds.

    Args:
        ladder: All sizes of the network under one set of options.
        madds: The number of multiply-adds.

    Returns:
        A pair; None if the network cannot have so few or so many multiply-adds.
    """
    region = reachable(ladder, [madds])
    return (region.fewest_params[0], region.most_params[0]) if region.madds else None


def _curves(ladder: Ladder) -> tuple[list[Point], list[Point]]:
    """Return the curves of the fewest and of the most params, each with the fewest multiply-adds first."""
    chains: dict[int, list[Point]] = defaultdict(list)
    for step in ladder.steps:
        chain = chains[step.layer]
        if not chain:
            chain.append((step.plan.dense.madds, step.plan.dense.params))
        chain.append((step.plan.predicted.madds, step.plan.predicted.params))
    # equal layers have equal chains
    equal = Counter(tuple(chain) for chain in chains.values())
    least = ladder.totals[-1]
    fewest, most = (
        _sum_of_chains([(_hull(chain[::-1], side), times) for chain, times in equal.items()], side, least)
        for side in (1, -1)
    )
    return fewest, most


def _hull(chain: Sequence[Point], side: int) -> list[Point]:
    """Return the points of a chain on its convex hull, on one side, with the fewest multiply-adds first.

    Args:
        chain: Points with rising multiply-adds and params.
        side: 1: the side of few params; -1: the side of many.
    """
    hull: list[Point] = []
    for point in chain:
        while len(hull) > 1 and side * _turn(hull[-2], hull[-1], point) <= 0:
            hull.pop()
        hull.append(point)
    return hull


def _turn(a: Point, b: Point, c: Point) -> float:
    """Return a positive number if the way from a over b to c turns left, a negative one if it turns right."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _sum_of_chains(hulls: Iterable[tuple[Sequence[Point], int]], side: int, least: Counts) -> list[Point]:
    """Add up the hulls of all layers, from the smallest network to the largest one.

    The fewest params come from growing first where a multiply-add adds the fewest params.
    """
    edges = [
        (times * (b[0] - a[0]), times * (b[1] - a[1])) for hull, times in hulls for a, b in pairwise(hull) if a != b
    ]
    edges.sort(key=lambda edge: side * (edge[1] / edge[0] if edge[0] else float("inf")))
    points = [(float(least.madds), float(least.params))]
    for more_madds, more_params in edges:
        points.append((points[-1][0] + more_madds, points[-1][1] + more_params))
    return points


def _at(curve: Sequence[Point], madds: float, lowest: bool) -> float:
    """Return the params of a curve at a number of multiply-adds; on an upright piece, its lowest or its highest params."""
    numbers = [point[0] for point in curve]
    place = bisect_left(numbers, madds) if lowest else bisect_right(numbers, madds) - 1
    at, params = curve[min(max(place, 0), len(curve) - 1)]
    if at == madds:
        return params
    (x0, y0), (x1, y1) = curve[place - 1 : place + 1] if lowest else curve[place : place + 2]
    return y0 + (y1 - y0) * (madds - x0) / (x1 - x0)
