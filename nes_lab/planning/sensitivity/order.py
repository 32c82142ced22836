"""The order of steps by what they cost for what they save. Torch-free.

Along one layer the costs of its states over their savings are replaced by the lower convex hull: a step that saves little may
lead to one that saves much, and then both are worth the slope between. Slopes of a hull rise, so that the steps of a layer keep
their order when all layers' steps are sorted by slope.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import inf, prod

from nes_lab.planning.ladder import LayerSteps, Step
from nes_lab.records.compression_plan import LayerPlan
from nes_lab.records.counts import Counts
from nes_lab.records.sensitivity_report import COSTS, SensitivityReport

__all__ = ["hull_slopes", "sensitive_steps"]


def sensitive_steps(
    layers: Iterable[LayerSteps], names: Sequence[str], report: SensitivityReport, dense: Counts, saved: Sequence[str]
) -> tuple[Step, ...]:
    """Steps by rising cost per saving; of equal losses, by the residual; then in module order.

    Args:
        layers: All states of the layers.
        names: Of the survey's layers.
        report: What shrinking costs.
        dense: Counts of the dense model.
        saved: What counts as saving: ``"params"``, ``"madds"`` or both, each as a share of the dense model's.
    """
    kinds = COSTS[COSTS.index(report.measured_by) :]
    steps = []
    for item in layers:
        curve = report.by_name[names[item.index]]
        savings = [0.0, *(_saving(plan, dense, saved) for plan in item.plans)]
        ratios = [prod(plan.epitome_shape) / prod(plan.weight_shape) for plan in item.plans]
        slopes = [hull_slopes(savings, [0.0, *(curve.cost(r, by) for r in ratios)]) for by in kinds]
        steps += [Step(key, item.index, plan) for key, plan in zip(zip(*slopes, strict=True), item.plans, strict=True)]
    return tuple(sorted(steps, key=lambda s: (s.key, s.layer)))


def _saving(plan: LayerPlan, dense: Counts, saved: Sequence[str]) -> float:
    return sum((getattr(plan.dense, w) - getattr(plan.predicted, w)) / max(getattr(dense, w), 1) for w in saved)


def hull_slopes(xs: Sequence[float], ys: Sequence[float]) -> list[float]:
    """Per step from one point to the next, the slope of the lower convex hull there; slopes never fall.

    Args:
        xs: Rising, steps of nothing allowed.
        ys: Any.

    Examples:
        >>> hull_slopes([0, 1, 2, 3], [0, 2, 2, 5])
        [1.0, 1.0, 3.0]
    """
    hull: list[int] = []
    for point in range(len(xs)):
        while len(hull) > 1 and _slope(xs, ys, hull[-2], hull[-1]) >= _slope(xs, ys, hull[-1], point):
            hull.pop()
        hull.append(point)
    slopes: list[float] = []
    for left, right in pairwise(hull):
        slopes += [_slope(xs, ys, left, right)] * (right - left)
    return slopes


def _slope(xs: Sequence[float], ys: Sequence[float], left: int, right: int) -> float:
    run = xs[right] - xs[left]
    return (ys[right] - ys[left]) / run if run > 0 else inf
