"""Turn what a user gives to a figure (a plan, a report, a layer or a run) into the plain data that the figure draws.

Tests: tests/figures/test_inputs.py
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from nes_lab.errors import OptionError, closest
from nes_lab.geometry.layer_snapshot import LayerSnapshot
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.cost_report import CostReport
from nes_lab.records.fit_report import FitReport
from nes_lab.runs.handle import RunHandle
from nes_lab.runs.info import RunInfo
from nes_lab.runs.query import run_table

if TYPE_CHECKING:
    from nes_lab.figures.accuracy_vs_madds import MeasuredPoint

__all__ = [
    "HasSnapshot",
    "History",
    "Layer",
    "Rows",
    "fit_rows",
    "history_of",
    "largest_layers",
    "layer_rows",
    "metrics_of",
    "run_rows",
    "snapshot_of",
]

Rows = Sequence[Mapping[str, Any]]


class HasSnapshot(Protocol):
    """An object that can copy its starts, and its epitome if it has one: an epitome layer or a routing map."""

    def snapshot(self, name: str = "") -> LayerSnapshot:
        """Copy the starts and the epitome into numpy arrays."""
        ...


Layer = LayerSnapshot | HasSnapshot
"""What figures of a layer take: an epitome layer, its routing map, or a copy of its epitome and starts."""
History = Sequence[tuple[int, LayerSnapshot]] | Mapping[int, Mapping[str, LayerSnapshot]] | RunHandle
"""What figures of starts over training take: a run, its snapshots, or pairs of a step and a copy of the layer."""


def snapshot_of(layer: Layer) -> LayerSnapshot:
    """Return a copy of a layer's epitome and starts.

    Raises:
        OptionError: If the object has neither epitome nor starts.
    """
    if isinstance(layer, LayerSnapshot):
        return layer
    if not callable(getattr(layer, "snapshot", None)):
        raise OptionError(
            f"layer is a {type(layer).__name__}; give an epitome layer, its routing_map(), or a snapshot of it, "
            "such as run.snapshots()[step][name]"
        )
    return layer.snapshot()


def layer_rows(plan: CompressionPlan | CostReport | RunHandle | Rows) -> Rows:
    """Return one row per layer that has a weight.

    Args:
        plan: A compression plan, a cost report, or a run with a plan. Or the rows themselves, which are returned unchanged.

    Raises:
        OptionError: If a run has no compression plan.
    """
    if isinstance(plan, RunHandle):
        found = plan.plan
        if found is None:
            raise OptionError(
                f"run {plan.id} has no compression plan: its network is dense, or training has not started"
            )
        return found.rows()
    if isinstance(plan, CostReport):
        return [row for row in plan.rows() if row["madds"] and row["weight_shape"]]
    return plan.rows() if isinstance(plan, CompressionPlan) else plan


def fit_rows(report: FitReport | Rows) -> Rows:
    """Return one row per layer of a fit report. If the rows themselves are given, return them unchanged."""
    return report.rows() if isinstance(report, FitReport) else report


def metrics_of(run: RunHandle | Rows, events: Iterable[Mapping[str, Any]]) -> tuple[Rows, Iterable[Mapping[str, Any]]]:
    """Return the rows of metrics and the events of a run.

    If the rows themselves are given instead of a run, return them and ``events`` unchanged.
    """
    return (run.metrics().rows, run.events()) if isinstance(run, RunHandle) else (run, events)


def run_rows(
    runs: Iterable[RunHandle | RunInfo | MeasuredPoint | Mapping[str, Any]],
) -> list[MeasuredPoint | Mapping[str, Any]]:
    """Return one row of a run table for each run. Anything else, such as a :class:`MeasuredPoint`, is returned unchanged."""
    listed: list[Any] = [runs] if isinstance(runs, RunHandle | RunInfo | Mapping) else list(runs)
    for item in listed:
        if not isinstance(item, RunHandle | RunInfo | Mapping) and not hasattr(item, "madds"):
            raise OptionError(f"runs has {item!r} in it; give runs, as nes_lab.list_runs() returns them, or dicts")
    items = (item.info if isinstance(item, RunHandle) else item for item in listed)
    return [run_table([item])[0] if isinstance(item, RunInfo) else item for item in items]


def history_of(history: History, layer: str | None = None) -> Sequence[tuple[int, LayerSnapshot]]:
    """Return pairs of a training step and a copy of a layer's epitome and starts, oldest first.

    Args:
        history: A run, or the snapshots of a run. Or the pairs themselves, which are returned unchanged.
        layer: Name of the layer in a run. None: the layer whose epitome has most cells.

    Raises:
        OptionError: If no snapshot has a layer of this name.
    """
    snapshots = history.snapshots() if isinstance(history, RunHandle) else history
    if not isinstance(snapshots, Mapping):
        return snapshots
    layers = snapshots[max(snapshots)] if snapshots else {}
    name = layer or next(iter(largest_layers(layers, most=1)), "")
    if snapshots and name not in layers:
        raise OptionError(f"layer={name!r} is not in the snapshots of the run.{closest(name, layers)}")
    return [(step, layers[name]) for step, layers in sorted(snapshots.items()) if name in layers]


def largest_layers(layers: Mapping[str, LayerSnapshot], most: int = 2) -> list[str]:
    """Return the names of the layers with the largest epitomes, largest first. ``most`` limits the number of names."""
    return sorted(layers, key=lambda name: -math.prod(layers[name].epitome_shape))[:most]
