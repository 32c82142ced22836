"""The ladder of states from the dense model down to the least one, in one order that no budget changes.

Every rung is one rounding step of one layer. A budget is answered by the first rung that meets it, and along the way neither
total ever rises: more budget never means fewer params. Steps that would raise a layer's params or multiply-adds are joined with
later ones.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

from nes_lab.planning.layer_plans import EpitomeOptions, plan_layer
from nes_lab.planning.survey import Survey, SurveyedLayer
from nes_lab.records.compression_plan import LayerPlan
from nes_lab.records.counts import Counts, total

__all__ = ["Ladder", "LayerSteps", "Step", "axes_of", "layer_steps", "uniform_steps"]


@dataclass(frozen=True)
class Step:
    """A layer's next state on its way down.

    Args:
        key: Steps are taken by this, smallest first, then in module order.
        layer: Index among the survey's layers.
        plan: The state.
    """

    key: tuple[float, ...]
    layer: int
    plan: LayerPlan


@dataclass(frozen=True)
class LayerSteps:
    """All states of one layer on the way down.

    Args:
        index: Among the survey's layers.
        ratios: Share of each axis at which each state falls due, falling.
        plans: The states; params and multiply-adds fall.
    """

    index: int
    ratios: tuple[float, ...]
    plans: tuple[LayerPlan, ...]


@dataclass(frozen=True)
class Ladder:
    """States of a whole model: rung 0 is dense, each further rung takes one step.

    Args:
        found: The survey.
        steps: In order.
        fixed: Layers whose state is set, on every rung.
        scope: Of the layers, but for overrides.
    """

    found: Survey
    steps: tuple[Step, ...]
    fixed: Mapping[int, LayerPlan] = field(default_factory=dict)
    scope: str = "separable"

    @cached_property
    def totals(self) -> tuple[Counts, ...]:
        """Counts of the whole model on every rung; neither ever rises."""
        last: dict[int, LayerPlan] = {}
        changes: list[Counts] = []
        for step in self.steps:
            before = last[step.layer].predicted if step.layer in last else step.plan.dense
            changes.append(step.plan.predicted - before)
            last[step.layer] = step.plan
        begin = self.found.report.counts + total(p.predicted - p.dense for p in self.fixed.values())
        return tuple(accumulate(changes, initial=begin))

    def first_within(self, limits: Mapping[str, float]) -> int | None:
        """Return the first rung that meets all limits (:meth:`Budget.limits`), or None where the last does not."""
        totals, rung = self.totals, 0
        for name, limit in limits.items():
            rung = max(rung, bisect_left(totals, -limit, key=lambda counts, name=name: -getattr(counts, name)))
        return rung if rung < len(totals) else None

    def state(self, rung: int) -> dict[int, LayerPlan]:
        """The plan of every layer that is replaced on a rung, by index."""
        return dict(self.fixed) | {step.layer: step.plan for step in self.steps[:rung]}


def layer_steps(
    index: int,
    layer: SurveyedLayer,
    found: Survey,
    options: EpitomeOptions,
    round_to: int,
    axes: Sequence[int],
    why: str = "",
) -> LayerSteps:
    """A layer's states on the way down, each no dearer than the one before in params and in multiply-adds."""
    dense = layer.dense(found.report)
    shape = list(layer.weight_shape)
    falls = [(ratio, axis, size) for axis in axes for ratio, size in _roundings(shape[axis], round_to)]
    best, states = dense, []
    for ratio, axis, size in sorted(falls, key=lambda fall: (-fall[0], fall[1])):
        shape[axis] = size
        plan = plan_layer(layer, index, tuple(shape), dense, options, why)
        now = plan.predicted
        if now.within(best) and now != best:
            best = now
            states.append((ratio, plan))
    return LayerSteps(index, tuple(ratio for ratio, _ in states), tuple(plan for _, plan in states))


def uniform_steps(layers: Iterable[LayerSteps]) -> tuple[Step, ...]:
    """One ratio for all layers: steps by the ratio at which they fall due, then in module order."""
    steps = [
        Step((-ratio,), item.index, plan)
        for item in layers
        for ratio, plan in zip(item.ratios, item.plans, strict=True)
    ]
    return tuple(sorted(steps, key=lambda s: (s.key, s.layer)))


def axes_of(layer: SurveyedLayer, wiring: str) -> tuple[int, ...]:
    """The channel axes of a layer that may shrink."""
    if wiring == "narrow_axis":
        c_out, c_in = layer.weight_shape[:2]
        read, written = layer.positions
        return (0,) if c_out * written <= c_in * layer.op.groups * read else (1,)
    return {"both_axes": (0, 1), "input_axis": (1,), "output_axis": (0,)}[wiring]


def _roundings(size: int, round_to: int) -> Iterator[tuple[float, int]]:
    """Sizes below ``size`` that are multiples of ``round_to``, each with the ratio at which rounding arrives there."""
    above = size
    for below in range((size - 1) // round_to * round_to, 0, -round_to):
        yield (above + below) / (2 * size), below
        above = below
