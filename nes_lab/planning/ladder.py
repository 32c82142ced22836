"""The ladder: every size a model can shrink to, in one fixed order.

Rung 0 is the dense model, and each further rung shrinks one layer by one step. For a budget, the first rung that meets it is taken.
No count (params, multiply-adds) rises from one rung to the next, so a larger budget never means fewer params. If a step would raise
a count of its layer, it is merged with the steps after it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby

from nes_lab.planning.layer_plans import plan_layer
from nes_lab.planning.survey import Survey, SurveyedLayer
from nes_lab.records.compression_plan import LayerPlan
from nes_lab.records.counts import Counts, total
from nes_lab.records.options import PlanOptions

__all__ = ["Ladder", "LayerSteps", "Step", "layer_steps", "shrinking_axes", "uniform_steps"]


@dataclass(frozen=True)
class Step:
    """A step of the ladder: one layer shrunk to its next smaller size.

    Args:
        key: Sort key. Steps with smaller keys are taken first; steps with equal keys are taken in module order.
        layer: Index of the layer in the survey.
        plan: Plan of the layer after the step.
    """

    key: tuple[float, ...]
    layer: int
    plan: LayerPlan


@dataclass(frozen=True)
class LayerSteps:
    """Every size one layer can shrink to, largest first.

    Args:
        index: Index of the layer in the survey.
        ratios: Ratio (epitome channels / weight channels) at which the strategy ``uniform`` takes each step, in decreasing order.
        plans: Plan of the layer at each size; its counts never rise from one size to the next.
    """

    index: int
    ratios: tuple[float, ...]
    plans: tuple[LayerPlan, ...]


@dataclass(frozen=True)
class Ladder:
    """All shrink steps of a model, in the order in which they are taken.

    Args:
        survey: List of the layers of the model.
        steps: The steps in order; on rung *n* the first *n* of them are taken.
        fixed: Plans of the layers whose size ``overrides`` sets, by index in the survey; they are the same on every rung.
        options: Options of planning; their scope is not ``auto``.
    """

    survey: Survey
    steps: tuple[Step, ...]
    fixed: Mapping[int, LayerPlan]
    options: PlanOptions

    @cached_property
    def totals(self) -> tuple[Counts, ...]:
        """Counts of the complete model on every rung of the ladder; they never rise from one rung to the next."""
        last: dict[int, LayerPlan] = {}
        changes: list[Counts] = []
        for step in self.steps:
            before = last[step.layer].predicted if step.layer in last else step.plan.dense
            changes.append(step.plan.predicted - before)
            last[step.layer] = step.plan
        begin = self.survey.dense + total(p.predicted - p.dense for p in self.fixed.values())
        return tuple(accumulate(changes, initial=begin))

    def steps_by_layer(self) -> list[LayerSteps]:
        """Group the steps of the ladder by layer. The ratios at which ``uniform`` takes them are left empty."""
        steps = sorted(self.steps, key=lambda step: step.layer)  # stable: the steps of a layer stay in order
        groups = {index: list(group) for index, group in groupby(steps, key=lambda step: step.layer)}
        return [LayerSteps(index, (), tuple(step.plan for step in group)) for index, group in groups.items()]

    def first_within(self, limits: Mapping[str, float]) -> int | None:
        """Return the first rung that meets all limits, or None if even the last one does not.

        Args:
            limits: Absolute limits by quantity, from :meth:`Budget.limits`.
        """
        totals, rung = self.totals, 0
        for name, limit in limits.items():
            rung = max(rung, bisect_left(totals, -limit, key=lambda counts, name=name: -getattr(counts, name)))
        return rung if rung < len(totals) else None

    def layer_plans(self, rung: int) -> dict[int, LayerPlan]:
        """Return the plans of the layers that are replaced on a rung, by index of the layer in the survey."""
        return dict(self.fixed) | {step.layer: step.plan for step in self.steps[:rung]}


def layer_steps(layer: SurveyedLayer, options: PlanOptions, why: str = "") -> LayerSteps:
    """List the sizes that one layer can shrink to, largest first.

    1. List, for each axis that the wiring shrinks, every multiple of ``round_to`` below its length.
    2. Sort these lengths of all axes by the ratio at which rounding gives them, largest first, and shrink the axes in this order.
    3. Leave out sizes that have a larger count (params, multiply-adds) than the size before.

    Args:
        layer: The dense layer.
        options: Options of planning for this layer.
        why: Overrides that set the options, for messages; empty if there are none.
    """
    shape, smallest = list(layer.weight_shape), layer.dense
    roundings = [
        (ratio, axis, size)
        for axis in shrinking_axes(layer, options.wiring)
        for ratio, size in _roundings(shape[axis], options.round_to)
    ]
    ratios: list[float] = []
    plans: list[LayerPlan] = []
    for ratio, axis, size in sorted(roundings, key=lambda rounding: (-rounding[0], rounding[1])):
        shape[axis] = size
        plan = plan_layer(layer, tuple(shape), options, why)
        counts = plan.predicted
        if counts.within(smallest) and counts != smallest:
            smallest = counts
            ratios.append(ratio)
            plans.append(plan)
    return LayerSteps(layer.index, tuple(ratios), tuple(plans))


def uniform_steps(layers: Iterable[LayerSteps]) -> tuple[Step, ...]:
    """Order the steps of all layers by their ratio, largest first, then in module order."""
    steps = [
        Step((-ratio,), item.index, plan)
        for item in layers
        for ratio, plan in zip(item.ratios, item.plans, strict=True)
    ]
    return tuple(sorted(steps, key=lambda s: (s.key, s.layer)))


def shrinking_axes(layer: SurveyedLayer, wiring: str) -> tuple[int, ...]:
    """Return the channel axes of a layer that a wiring shrinks: 0 (output), 1 (input) or both."""
    if wiring == "narrow_axis":
        c_out, c_in = layer.weight_shape[:2]
        read, written = layer.positions
        return (0,) if c_out * written <= c_in * layer.op.groups * read else (1,)
    return {"both_axes": (0, 1), "input_axis": (1,), "output_axis": (0,)}[wiring]


def _roundings(size: int, round_to: int) -> Iterator[tuple[float, int]]:
    """Yield ``(ratio, multiple)`` for each multiple of ``round_to`` below ``size``, largest first.

    Rounding ``ratio * size`` to the nearest multiple gives this multiple if the ratio is just below the one yielded.
    """
    above = size
    for below in range((size - 1) // round_to * round_to, 0, -round_to):
        yield (above + below) / (2 * size), below
        above = below
