"""The strategy ``sensitivity``: shrink first where the harm per saving is smallest.

A shrink step gives one layer its next smaller size. The saving of a step is counted in params, multiply-adds or both. The harm
is how much the model's loss on calibration data grows. If the loss was not measured, the harm is a number that grows with the
residual: the error of the sampled weight, relative to the dense weight. The order of the steps is found like this:

1. Draw the dense layer and each of its smaller sizes as points: savings to the right, harm upward.
2. Take the lower convex hull of these points. The price of a step is the slope of the hull between its two sizes.
3. Sort the steps of all layers by price, lowest first.

Along the hull of one layer, the slope never falls. So step 3 never puts a smaller size of a layer before a larger one. The
order does not depend on the budget. A plan takes steps from the beginning of the list until the budget is met.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import inf, prod
from typing import Any

from torch import nn

from nes_lab.errors import OptionError
from nes_lab.planning.ladder import Ladder, LayerSteps, Step
from nes_lab.planning.sensitivity.measure import measure_ladder, measured_options
from nes_lab.progress_bar import OnProgress
from nes_lab.records.budget import Budget
from nes_lab.records.counts import Counts
from nes_lab.records.layer_plan import LayerPlan
from nes_lab.records.sensitivity_report import COSTS, SensitivityReport

__all__ = ["hull_slopes", "order_by_sensitivity"]


def order_by_sensitivity(
    ladder: Ladder,
    model: nn.Module,
    budget: Budget,
    sensitivity: Any,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> tuple[Step, ...]:
    """Sort the shrink steps of all layers by their harm per saving: the strategy ``sensitivity``.

    The harm of a step is how much the model's loss grows. If the loss was not measured, it is a number that grows with the error
    of the sampled weight. Savings are counted in params, multiply-adds or both: whatever the budget limits.

    Args:
        ladder: All shrink steps of the model.
        model: The dense model.
        budget: The budget. It limits a quantity if the limit is below the dense model's value. A limit on time counts
            as a limit on multiply-adds.
        sensitivity: Report of :func:`nes_lab.measure_sensitivity`. None: the residuals are measured here.
        progress: Show a bar on standard error.
        on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` as the work goes on; None for no calls.

    Raises:
        PlanError: If the report was measured on another model.
        OptionError: If the report was measured with other options, or is not a sensitivity report.
    """
    report = (
        measure_ladder(model, ladder, progress=progress, on_progress=on_progress)
        if sensitivity is None
        else sensitivity
    )
    if not isinstance(report, SensitivityReport):
        raise OptionError(f"sensitivity is a {type(report).__name__}; give what nes_lab.measure_sensitivity returns")
    surveyed, steps_by_layer = ladder.survey.layers, ladder.steps_by_layer()
    shapes = {surveyed[steps.index].name: surveyed[steps.index].weight_shape for steps in steps_by_layer}
    report.check(shapes, measured_options(ladder))
    names = [layer.name for layer in surveyed]
    return _by_slope(
        steps_by_layer, names, report, ladder.survey.dense, _limited_quantities(budget, ladder.survey.dense)
    )


def _limited_quantities(budget: Budget, dense: Counts) -> tuple[str, ...]:
    """Return the quantities that the budget limits: params, multiply-adds or both.

    A limit on time counts as a limit on multiply-adds. If nothing is limited, both are returned.
    """
    binding = [name for name, limit in budget.limits(dense).items() if limit < getattr(dense, name)]
    if budget.latency_ms is not None and "madds" not in binding:
        binding.append("madds")
    return tuple(binding) or ("params", "madds")


def _by_slope(
    layers: Iterable[LayerSteps],
    names: Sequence[str],
    report: SensitivityReport,
    dense: Counts,
    quantities: Sequence[str],
) -> tuple[Step, ...]:
    """Sort shrink steps by their harm per saving, the smallest first.

    The harm of a step is how much the model's loss grows. If the loss was not measured, it is a number that grows with
    the error of the sampled weight. The same number decides between steps whose loss grows equally per saving.

    Args:
        layers: All sizes of each layer.
        names: Names of all layers in the survey (the list of the model's layers).
        report: Measured loss or residual of each layer at several sizes.
        dense: Counts of the dense model.
        quantities: What is saved, such as ``"params"``. Each saving is divided by the dense model's count. The savings
            of all quantities are added.
    """
    cost_kinds = COSTS[COSTS.index(report.measured_by) :]
    steps = []
    for layer in layers:
        curve = report.by_name[names[layer.index]]
        savings = [0.0, *(_saving(plan, dense, quantities) for plan in layer.plans)]
        ratios = [prod(plan.epitome_shape) / prod(plan.weight_shape) for plan in layer.plans]
        slopes = [hull_slopes(savings, [0.0, *(curve.cost(ratio, kind) for ratio in ratios)]) for kind in cost_kinds]
        keys = zip(*slopes, strict=True)
        steps += [Step(key, layer.index, plan) for key, plan in zip(keys, layer.plans, strict=True)]
    return tuple(sorted(steps, key=lambda s: (s.key, s.layer)))


def _saving(plan: LayerPlan, dense: Counts, quantities: Sequence[str]) -> float:
    return sum((getattr(plan.dense, q) - getattr(plan.predicted, q)) / max(getattr(dense, q), 1) for q in quantities)


def hull_slopes(xs: Sequence[float], ys: Sequence[float]) -> list[float]:
    """Return the slopes of the lower convex hull of points in the plane.

    There is one slope for each pair of neighboring points. Slopes never fall from left to right. In the example, the second point
    lies above the hull.

    Args:
        xs: First coordinate of each point; it never falls from one point to the next.
        ys: Second coordinate of each point.

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
