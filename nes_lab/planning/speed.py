"""The strategy ``speed``: choose the wiring and the rounding of each layer from measured times, and spare layers that gain none.

For each layer, the times of the dense layer and of an epitome with half of the multiply-adds are predicted from the times that
``nes-lab calibrate-device`` has measured on this device (:mod:`nes_lab.tuning.device_table`).

1. The layer shrinks along the axis, or both, with which the epitome is fastest.
2. Its channels are multiples of the number with which convolutions are fastest, if the axis is long enough.
3. If no epitome is clearly faster than the dense layer, the layer is spared: it shrinks last.

Tests: tests/planning/test_speed.py
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

from torch import nn

from nes_lab.geometry.start_rules import routing_mode
from nes_lab.planning.ladder import Ladder, Step
from nes_lab.planning.survey import SurveyedLayer
from nes_lab.progress_bar import OnProgress
from nes_lab.records.budget import Budget
from nes_lab.records.device_table import DeviceTable
from nes_lab.records.options import PlanOptions, Wiring, option_default
from nes_lab.tuning.device_table import load_table

__all__ = ["gain_of", "order_by_speed", "spared_layers", "speed_note", "speed_options"]

REFERENCE = 0.5
"""Share of the multiply-adds with which layers are compared; fixed, so that the order of steps does not depend on the budget."""

MIN_GAIN = 0.05
"""Share of the dense layer's time that an epitome must save, or the layer is spared."""

SPARED_RATIO = 0.25
"""A spared layer begins to shrink when the others have this share of their channels left."""

WIRINGS: tuple[Wiring, ...] = ("input_axis", "output_axis", "both_axes")


def gain_of(layer: SurveyedLayer, options: PlanOptions, table: DeviceTable) -> tuple[Wiring, float]:
    """Return the fastest wiring of a layer, and the share of the dense layer's time that it is predicted to save.

    Args:
        layer: The dense layer.
        options: Options of planning of this layer. A wiring that is not the default is kept.
        table: Times of this device.
    """
    asked = options.wiring != option_default("wiring")
    wirings = (options.wiring,) if asked else WIRINGS
    if layer.op.groups > 1 and not asked:
        wirings = ("input_axis",)
    dense = _ms(layer, options, table, 1.0, 1.0)
    shares = {"input_axis": (REFERENCE, 1.0), "output_axis": (1.0, REFERENCE)}
    times: dict[Wiring, float] = {}
    for wiring in wirings:
        axes = [shares[wiring]] if wiring in shares else []
        axes = axes or (list(shares.values()) if wiring == "narrow_axis" else [(sqrt(REFERENCE), sqrt(REFERENCE))])
        times[wiring] = min(_ms(layer, options, table, *axis) for axis in axes)
    best = min(times, key=lambda wiring: times[wiring])
    return best, 1 - times[best] / dense


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
    if inner < 1:
        ms += table.pass_ms("fold", fractional, c_in * groups * read)
    return ms + (table.pass_ms("expand", fractional, c_out * written) if outer < 1 else 0.0)


def speed_options(layer: SurveyedLayer, options: PlanOptions) -> PlanOptions:
    """Return the options of planning of a layer, with the fastest wiring and rounding on this device.

    Raises:
        OptionError: If the times of this device have not been measured.
    """
    table = load_table()
    wiring, _ = gain_of(layer, options, table)
    longest = max(layer.weight_shape[:2])
    coarser = table.round_to > options.round_to and longest >= 4 * table.round_to
    return replace(options, wiring=wiring, round_to=table.round_to if coarser else options.round_to)


def order_by_speed(
    ladder: Ladder,
    model: nn.Module,
    budget: Budget,
    sensitivity: object,
    progress: bool,
    on_progress: OnProgress | None,
) -> tuple[Step, ...]:
    """Sort the shrink steps so that layers that gain time shrink first, by one ratio. This is the strategy ``speed``.

    Layers that gain none come last: each shrinks only when the others are much smaller.

    Raises:
        OptionError: If the times of this device have not been measured.
    """
    spared = {layer.index for layer in spared_layers(ladder)}

    def key(step: Step) -> tuple[float, ...]:
        return tuple(number * SPARED_RATIO for number in step.key) if step.layer in spared else step.key

    steps = [replace(step, key=key(step)) for step in ladder.steps]
    return tuple(sorted(steps, key=lambda s: (s.key, s.layer)))


def spared_layers(ladder: Ladder) -> list[SurveyedLayer]:
    """Return the layers of a ladder that gain no time on this device."""
    table, shrinking = load_table(), {step.layer for step in ladder.steps}
    layers = [layer for layer in ladder.survey.layers if layer.index in shrinking]
    return [layer for layer in layers if gain_of(layer, ladder.options, table)[1] < MIN_GAIN]


def speed_note(ladder: Ladder) -> str:
    """Return a sentence about the layers that are spared, for the notes of a plan."""
    spared, table = spared_layers(ladder), load_table()
    shrinking = len({step.layer for step in ladder.steps})
    return (
        f"strategy speed: {len(spared)} of {shrinking} layers gain no time at half of their multiply-adds on {table.device}, "
        f"{table.threads} threads (measured on {table.date}), and shrink last"
    )
