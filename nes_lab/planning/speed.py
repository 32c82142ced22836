"""The strategy ``speed``: choose the wiring and the rounding of each layer from measured times, and which layers shrink first.

Times of convolutions, folds and expansions are predicted from those that ``nes-lab calibrate-device`` has measured on this device
(:mod:`nes_lab.tuning.device_table`).

1. Each layer shrinks along the axis, or both, with which an epitome of half of its multiply-adds is fastest.
2. Its channels are multiples of the number with which convolutions are fastest, if the axis is long enough.
3. Layers that save most time per multiply-add shrink first. A fold or an expansion takes time even if the epitome saves little. So a
   few layers that shrink much are faster than many that shrink a little. How many shrink is chosen for each of several shares of the
   multiply-adds: the number whose predicted time is shortest.

Tests: tests/planning/test_speed.py
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from operator import neg

from torch import nn

from nes_lab.geometry.start_rules import routing_mode
from nes_lab.planning.ladder import Ladder, Step
from nes_lab.planning.survey import SurveyedLayer
from nes_lab.progress_bar import OnProgress
from nes_lab.records.budget import Budget
from nes_lab.records.device_table import DeviceTable
from nes_lab.records.layer_plan import LayerPlan
from nes_lab.records.options import PlanOptions, Wiring, option_default
from nes_lab.tuning.device_table import load_table

__all__ = ["order_by_speed", "speed_note", "speed_options"]

REFERENCE = 0.5
"""Share of the multiply-adds with which the wirings and the gains of layers are compared."""

SHARES = (0.9, 0.8, 0.75, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2)
"""Shares of the dense model's multiply-adds for which the number of shrinking layers is chosen, one after the other."""

LEAST_RATIO = 0.25
"""As long as other layers can shrink, no layer takes a step with a smaller ratio (:class:`~nes_lab.planning.ladder.LayerSteps`)."""

PASS_FACTOR = 16.0
"""A fold or an expansion counts as this many times the time that it takes alone. ONNX Runtime, in which networks are fastest, keeps
activations in blocks of channels. It rearranges them before and after each pass, and cannot fuse the activation function with the
convolution. The number was chosen on resnet50 and mobilenetv2_100, on one processor (notebooks/LOG.md). In PyTorch a pass costs less."""

LEVEL = 0.01
"""Of all numbers of layers whose predicted times are within this share of the shortest, the largest is taken: it costs least rank."""

WIRINGS: tuple[Wiring, ...] = ("input_axis", "output_axis", "both_axes")


def _best_wiring(layer: SurveyedLayer, options: PlanOptions, table: DeviceTable) -> Wiring:
    """Return the wiring with which an epitome of half of the layer's multiply-adds is fastest; a wiring that is asked for is kept.

    Args:
        layer: The dense layer.
        options: Options of planning of this layer. A wiring that is not the default is asked for.
        table: Times of this device.
    """
    if options.wiring != option_default("wiring"):
        return options.wiring
    both = sqrt(REFERENCE)
    shares = {"input_axis": (REFERENCE, 1.0), "output_axis": (1.0, REFERENCE), "both_axes": (both, both)}
    wirings = WIRINGS[:1] if layer.op.groups > 1 else WIRINGS
    return min(wirings, key=lambda wiring: _ms(layer, options, table, *shares[wiring]))


def _ms(layer: SurveyedLayer, options: PlanOptions, table: DeviceTable, inner: float, outer: float) -> float:
    """Predict the milliseconds of a layer whose epitome has shares of its input and output channels."""
    c_out, c_in, *kernel = layer.weight_shape
    cells = 1
    for size in kernel:
        cells *= size
    read, written = layer.positions
    fractional = routing_mode(options.routing).learned and not options.snap
    groups = layer.op.groups
    ms = groups * table.conv_ms(cells, max(1.0, c_in * inner), max(1.0, c_out / groups * outer), max(1, written))
    passes = table.pass_ms("fold", fractional, c_in * groups * read) if inner < 1 else 0.0
    passes += table.pass_ms("expand", fractional, c_out * written) if outer < 1 else 0.0
    return ms + PASS_FACTOR * passes


def speed_options(layer: SurveyedLayer, options: PlanOptions) -> PlanOptions:
    """Return the options of planning of a layer, with the fastest wiring and rounding on this device.

    Raises:
        OptionError: If the times of this device have not been measured.
    """
    table = load_table()
    wiring = _best_wiring(layer, options, table)
    longest = max(layer.weight_shape[:2])
    coarser = table.round_to > options.round_to and longest >= 4 * table.round_to
    return replace(options, wiring=wiring, round_to=table.round_to if coarser else options.round_to)


@dataclass(frozen=True)
class _Sizes:
    """The sizes of one layer, largest first; the first is the dense layer.

    Attributes:
        steps: Step to each size but the first.
        ratios: Ratio of each step, by which the strategy ``uniform`` sorts; they fall.
        madds: Multiply-adds at each size.
        ms: Predicted milliseconds at each size.
    """

    steps: Sequence[Step]
    ratios: Sequence[float]
    madds: Sequence[int]
    ms: Sequence[float]

    def at(self, ratio: float, least: int) -> int:
        """Return the number of steps down to a ratio, and no fewer than ``least``."""
        return max(least, bisect_right(self.ratios, -ratio, key=neg))

    @property
    def gain(self) -> float:
        """Milliseconds saved per multiply-add, at the size nearest to half of the multiply-adds."""
        half = self.madds[0] * REFERENCE
        size = min(range(len(self.madds)), key=lambda i: abs(self.madds[i] - half))
        return (self.ms[0] - self.ms[size]) / max(1, self.madds[0] - self.madds[size])


def order_by_speed(
    ladder: Ladder,
    model: nn.Module,
    budget: Budget,
    sensitivity: object,
    progress: bool,
    on_progress: OnProgress | None,
) -> tuple[Step, ...]:
    """Sort the shrink steps so that layers that save most time per multiply-add shrink first. This is the strategy ``speed``.

    The order does not depend on the budget.

    Raises:
        OptionError: If the times of this device have not been measured.
    """
    table = load_table()
    begin = ladder.totals[0].madds
    sizes = sorted(_sizes(ladder, table), key=lambda layer: -layer.gain)
    taken, order, leading = [0] * len(sizes), [], 0
    for share in SHARES:
        saved = begin - share * ladder.survey.dense.madds
        if _saved(sizes, taken) >= saved:
            continue
        found = _phase(sizes, taken, saved, max(1, leading))
        if found is None:
            # too small a ratio would be needed; or no multiply-adds can be saved, as with scope="joint"
            break
        number, ratio = found
        ends = _ends(sizes, taken, number, ratio)
        for layer, end in zip(sizes[leading:number], ends[leading:number], strict=True):
            order += layer.steps[:end]  # one layer after the other: one that shrinks a little saves no time
        order += _between(sizes[:leading], taken, ends)
        taken, leading = ends, number
    return (*order, *_between(sizes, taken, [len(layer.steps) for layer in sizes]))


def _sizes(ladder: Ladder, table: DeviceTable) -> list[_Sizes]:
    """Return the sizes of each layer that can shrink, with their predicted times."""
    by_layer: dict[int, list[Step]] = {}
    for step in ladder.steps:
        by_layer.setdefault(step.layer, []).append(step)
    layers = {layer.index: layer for layer in ladder.survey.layers}
    known: dict[tuple, float] = {}
    found = []
    for index, steps in by_layer.items():
        layer, first = layers[index], steps[0].plan
        plans = [step.plan for step in steps]
        shares = [(1.0, 1.0), *(_shares(plan) for plan in plans)]
        ms = []
        for inner, outer in shares:
            key = (layer.weight_shape, layer.positions, layer.op, first.routing, inner, outer)
            if key not in known:
                known[key] = _ms(layer, replace(ladder.options, routing=first.routing), table, inner, outer)
            ms.append(known[key])
        madds = [first.dense.madds, *(plan.predicted.madds for plan in plans)]
        # a size with the dense multiply-adds is computed as a dense layer
        ms = [ms[0] if number == madds[0] else time for number, time in zip(madds, ms, strict=True)]
        found.append(_Sizes(steps, [-step.key[0] for step in steps], madds, ms))
    return found


def _shares(plan: LayerPlan) -> tuple[float, float]:
    """Return the shares of the input and of the output channels that an epitome has."""
    return plan.epitome_shape[1] / plan.weight_shape[1], plan.epitome_shape[0] / plan.weight_shape[0]


def _phase(sizes: Sequence[_Sizes], taken: Sequence[int], saved: float, leading: int) -> tuple[int, float] | None:
    """Choose how many layers shrink until as much is saved, and down to which ratio; None if the ratio would be too small.

    Args:
        sizes: The layers; those that save most time per multiply-add come first.
        taken: Number of steps that each layer has taken before.
        saved: How many multiply-adds must be saved in all.
        leading: The fewest layers to choose.
    """
    offers = []
    for number in range(leading, len(sizes) + 1):
        ratio = _ratio_for(sizes, taken, saved, number)
        if ratio is not None:
            ends = _ends(sizes, taken, number, ratio)
            offers.append((sum(layer.ms[end] for layer, end in zip(sizes, ends, strict=True)), number, ratio))
    if not offers:
        return None
    least, fastest, _ = min(offers)
    most = max(fastest, sum(layer.gain > 0 for layer in sizes))
    return max((number, ratio) for ms, number, ratio in offers if ms <= least * (1 + LEVEL) and number <= most)


def _ratio_for(sizes: Sequence[_Sizes], taken: Sequence[int], saved: float, number: int) -> float | None:
    """Return the largest ratio with which the first layers save enough; None if they do not save it with ``LEAST_RATIO``."""

    def enough(ratio: float) -> bool:
        ends = _ends(sizes, taken, number, ratio)
        return _saved(sizes, ends) >= saved

    low, high = LEAST_RATIO, 1.0
    if not enough(low):
        return None
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if enough(middle) else (low, middle)
    return low


def _saved(sizes: Sequence[_Sizes], ends: Sequence[int]) -> int:
    """Return how many multiply-adds all layers save with given numbers of steps."""
    return sum(layer.madds[0] - layer.madds[end] for layer, end in zip(sizes, ends, strict=True))


def _ends(sizes: Sequence[_Sizes], taken: Sequence[int], number: int, ratio: float) -> list[int]:
    """Return the number of steps of each layer after the first layers were shrunk to a ratio."""
    return [layer.at(ratio, t) if n < number else t for n, (layer, t) in enumerate(zip(sizes, taken, strict=True))]


def _between(sizes: Sequence[_Sizes], begins: Sequence[int], ends: Sequence[int]) -> list[Step]:
    """Return the steps of all layers from one size to another, in the order of the strategy ``uniform``."""
    parts = (layer.steps[b:e] for layer, b, e in zip(sizes, begins, ends, strict=False))
    return sorted((step for part in parts for step in part), key=lambda step: (step.key, step.layer))


def speed_note(ladder: Ladder, plans: Collection[int]) -> str:
    """Return a sentence about the layers that stay dense, for the notes of a plan; empty if all or none of them do.

    Args:
        ladder: All sizes of the model.
        plans: Indices of the layers that the plan replaces.
    """
    shrinking, table = {step.layer for step in ladder.steps}, load_table()
    kept = len(shrinking - set(plans))
    if kept in (0, len(shrinking)):
        return ""
    return (
        f"strategy speed: {kept} of {len(shrinking)} layers stay dense: the others save more time per multiply-add on {table.device}, "
        f"{table.threads} threads (measured on {table.date})"
    )
