"""Define the ladder of a model, the list of all sizes it can shrink to; compute the sizes of one layer, and sort those of all layers.

One such size is called a rung. Rung 0 is the dense model. On each later rung, one layer is smaller than on the rung
before. The plan for a budget is the first rung that meets the budget.

Params and multiply-adds never rise from one rung to the next. A larger budget therefore never leads to fewer params.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, groupby

from nes_lab.planning.layer_plans import plan_layer
from nes_lab.planning.survey import Survey, SurveyedLayer
from nes_lab.progress_bar import OnProgress
from nes_lab.records.counts import QUANTITIES, Counts, total
from nes_lab.records.layer_plan import LayerPlan
from nes_lab.records.options import PlanOptions

__all__ = ["Ladder", "LayerSteps", "Step", "layer_steps", "shrinking_axes", "steps_of_layers", "uniform_steps"]


@dataclass(frozen=True)
class Step:
    """One step that shrinks a model: one layer gets its next smaller size.

    Args:
        key: Numbers by which the steps are sorted. Steps with smaller numbers come first.
        layer: Index of the layer in the survey (the list of the model's layers).
        plan: Plan of the layer after the step.
    """

    key: tuple[float, ...]
    layer: int
    plan: LayerPlan


@dataclass(frozen=True)
class LayerSteps:
    """All sizes one layer can shrink to, largest first.

    Args:
        index: Index of the layer in the survey (the list of the model's layers).
        ratios: For each size, a ratio (epitome channels / weight channels). The strategy ``uniform`` sorts the sizes by
            these ratios.
        plans: Plan of the layer at each size. Params and multiply-adds never rise from one size to the next.
    """

    index: int
    ratios: tuple[float, ...]
    plans: tuple[LayerPlan, ...]


@dataclass(frozen=True)
class Ladder:
    """All sizes a model can shrink to, from dense to smallest.

    Each size is called a rung; rung 0 is the dense model. Each step from one rung to the next shrinks one layer.

    Args:
        survey: List of the layers of the model.
        steps: The steps in order. A rung with index *n* is the model after the first *n* steps.
        fixed: Plans of the layers whose size the user sets with the option ``overrides``. They are the same at every
            size of the model. The keys are the layers' indices in the survey.
        options: Options of planning. The scope must be ``joint`` (starts per patch) or ``separable`` (starts per axis),
            not ``auto``.
    """

    survey: Survey
    steps: tuple[Step, ...]
    fixed: Mapping[int, LayerPlan]
    options: PlanOptions

    @cached_property
    def totals(self) -> tuple[Counts, ...]:
        """Params, multiply-adds and stored bytes of the complete model, for each size it can shrink to."""
        last: dict[int, LayerPlan] = {}
        changes: list[list[int]] = [[] for _ in QUANTITIES]
        for step in self.steps:
            before = last[step.layer].predicted if step.layer in last else step.plan.dense
            for name, column in zip(QUANTITIES, changes, strict=True):
                column.append(getattr(step.plan.predicted, name) - getattr(before, name))
            last[step.layer] = step.plan
        begin = self.survey.dense + total(p.predicted - p.dense for p in self.fixed.values())
        sums = (accumulate(c, initial=getattr(begin, n)) for n, c in zip(QUANTITIES, changes, strict=True))
        return tuple(Counts(*row) for row in zip(*sums, strict=True))

    def steps_by_layer(self) -> list[LayerSteps]:
        """Return one :class:`LayerSteps` for each layer that can shrink: the plan of the layer at each size, largest size first.

        The field ``ratios`` of these objects is empty.
        """
        steps = sorted(self.steps, key=lambda step: step.layer)  # stable: the steps of a layer stay in order
        groups = {index: list(group) for index, group in groupby(steps, key=lambda step: step.layer)}
        return [LayerSteps(index, (), tuple(map(self._own_plan, group))) for index, group in groups.items()]

    def first_within(self, limits: Mapping[str, float]) -> int | None:
        """Return the index of the largest model size that meets all limits; None if even the smallest size does not.

        Args:
            limits: Dict from quantity, such as ``params``, to the largest allowed value.
        """
        totals, rung = self.totals, 0
        for name, limit in limits.items():
            rung = max(rung, bisect_left(totals, -limit, key=lambda counts, name=name: -getattr(counts, name)))
        return rung if rung < len(totals) else None

    def layer_plans(self, rung: int) -> dict[int, LayerPlan]:
        """Return the layer plans for one size of the model.

        Args:
            rung: Index of the model size; 0 is the dense model.

        Returns:
            A dict from the index of the layer in the survey (the list of the model's layers) to its plan.
        """
        last = {step.layer: step for step in self.steps[:rung]}
        return dict(self.fixed) | {index: self._own_plan(step) for index, step in last.items()}

    def _own_plan(self, step: Step) -> LayerPlan:
        """Return the plan of a step with the seed of its layer. Equal layers share their steps, not their seeds."""
        return replace(step.plan, seed=self.options.seed + step.layer)


def layer_steps(layer: SurveyedLayer, options: PlanOptions, why: str = "") -> LayerSteps:
    """List the sizes that one layer can shrink to, largest first.

    1. Start at the shape of the weight. Shrink one channel axis at a time to the next smaller multiple of ``round_to``.
       The axis that keeps the larger share of its length comes first. Each shrink gives one size.
    2. Leave out a size that saves nothing compared with the last size that was kept: it has as many params and
       multiply-adds, or more of one of them.

    Args:
        layer: The dense layer.
        options: Options of planning for this layer.
        why: Sentence about the user's overrides, for messages; empty if there are none.
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


def steps_of_layers(
    layers: Sequence[tuple[SurveyedLayer, PlanOptions, str]], on_progress: OnProgress | None = None
) -> list[LayerSteps]:
    """List the sizes of several layers. Equal layers are computed once: a large transformer has 98 layers of six kinds.

    Args:
        layers: For each layer, the arguments of :func:`layer_steps`.
        on_progress: Called before each layer; None for no calls. An error that it raises ends the work.
    """
    known: dict[object, LayerSteps] = {}
    steps: list[LayerSteps] = []
    for done, (layer, options, why) in enumerate(layers):
        if on_progress is not None:
            on_progress({"phase": "sizes", "done": done, "total": len(layers), "label": layer.name})
        # layers with an equal key have equal plans, except for the seed
        cell_bytes = layer.module.weight.element_size()  # type: ignore[union-attr]
        key = (layer.kind, layer.weight_shape, cell_bytes, layer.op, layer.calls, layer.dense, layer.bypassed)
        key = (*key, repr(options), why)
        if key not in known:
            known[key] = layer_steps(layer, options, why)
        steps.append(replace(known[key], index=layer.index))
    return steps


def uniform_steps(layers: Iterable[LayerSteps]) -> tuple[Step, ...]:
    """Sort the shrink steps of all layers, so that all layers shrink by about the same ratio.

    The ratio is epitome channels / weight channels. Steps with larger ratios come first.
    """
    steps = [
        Step((-ratio,), item.index, plan)
        for item in layers
        for ratio, plan in zip(item.ratios, item.plans, strict=True)
    ]
    return tuple(sorted(steps, key=lambda s: (s.key, s.layer)))


def shrinking_axes(layer: SurveyedLayer, wiring: str) -> tuple[int, ...]:
    """Return the channel axes along which a layer shrinks, as the option ``wiring`` says: 0 (output), 1 (input) or both."""
    if wiring == "narrow_axis":
        c_out, c_in = layer.weight_shape[:2]
        read, written = layer.positions
        return (0,) if c_out * written <= c_in * layer.op.groups * read else (1,)
    return {"both_axes": (0, 1), "input_axis": (1,), "output_axis": (0,)}[wiring]


def _roundings(size: int, round_to: int) -> Iterator[tuple[float, int]]:
    """Yield the lengths to which an axis of length ``size`` can shrink: the multiples of ``round_to`` below it, largest first.

    Each length is yielded as a pair ``(ratio, length)``. The ratio serves to sort the lengths of different axes. It is the mean
    of this length and the next larger one, divided by ``size``.
    """
    above = size
    for below in range((size - 1) // round_to * round_to, 0, -round_to):
        yield (above + below) / (2 * size), below
        above = below
