"""The ladder: every size a model can shrink to, in one fixed order.

Rung 0 is the dense model, and each further rung shrinks one layer by one step. A budget gets the first rung that meets it. From rung
to rung no count rises (params, multiply-adds), so more budget never means fewer params. A step that would raise a count of its layer is
joined with later ones.
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
    """One layer shrunk to its next smaller size.

    Args:
        key: Sort key: steps are taken smallest key first, then in module order.
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
        ratios: Ratio at which ``uniform`` takes each step, in decreasing order.
        plans: Plan of the layer at each size; no count rises from one to the next.
    """

    index: int
    ratios: tuple[float, ...]
    plans: tuple[LayerPlan, ...]


@dataclass(frozen=True)
class Ladder:
    """All shrink steps of a model, in the order in which they are taken.

    Args:
        survey: The survey of the model.
        steps: The steps; rung *n* takes the first *n* of them.
        fixed: Plans of the layers whose size ``overrides`` sets, by index; they are the same on every rung.
        options: Options of planning, with a scope that is not ``auto``.
    """

    survey: Survey
    steps: tuple[Step, ...]
    fixed: Mapping[int, LayerPlan]
    options: PlanOptions

    @cached_property
    def totals(self) -> tuple[Counts, ...]:
        """Counts of the whole model on every rung; none rises from rung to rung."""
        last: dict[int, LayerPlan] = {}
        changes: list[Counts] = []
        for step in self.steps:
            before = last[step.layer].predicted if step.layer in last else step.plan.dense
            changes.append(step.plan.predicted - before)
            last[step.layer] = step.plan
        begin = self.survey.dense + total(p.predicted - p.dense for p in self.fixed.values())
        return tuple(accumulate(changes, initial=begin))

    def steps_by_layer(self) -> list[LayerSteps]:
        """Return the steps of each layer, without the ratios at which ``uniform`` takes them."""
        steps = sorted(self.steps, key=lambda step: step.layer)  # stable: the steps of a layer stay in order
        groups = {index: list(group) for index, group in groupby(steps, key=lambda step: step.layer)}
        return [LayerSteps(index, (), tuple(step.plan for step in group)) for index, group in groups.items()]

    def first_within(self, limits: Mapping[str, float]) -> int | None:
        """Return the first rung that meets all limits (:meth:`Budget.limits`), or None if the last rung does not."""
        totals, rung = self.totals, 0
        for name, limit in limits.items():
            rung = max(rung, bisect_left(totals, -limit, key=lambda counts, name=name: -getattr(counts, name)))
        return rung if rung < len(totals) else None

    def layer_plans(self, rung: int) -> dict[int, LayerPlan]:
        """Return the plan of every layer that is replaced on a rung, by its index in the survey."""
        return dict(self.fixed) | {step.layer: step.plan for step in self.steps[:rung]}


def layer_steps(layer: SurveyedLayer, options: PlanOptions, why: str = "") -> LayerSteps:
    """List the sizes that one layer can shrink to, largest first.

    1. Round each axis that the wiring shrinks down to every multiple of ``round_to``.
    2. Take the roundings of all axes in one order, by the ratio at which they fall due.
    3. Leave out sizes that have a larger count (params, multiply-adds) than the one before.

    Args:
        layer: The dense layer.
        options: Options of planning, as they are for this layer.
        why: What set the options, if it was an override.
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
    """Order the steps of all layers by the ratio at which they fall due, then in module order."""
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
    """Yield the multiples of ``round_to`` below ``size``, each with the ratio from which on rounding to the nearest gives it."""
    above = size
    for below in range((size - 1) // round_to * round_to, 0, -round_to):
        yield (above + below) / (2 * size), below
        above = below
