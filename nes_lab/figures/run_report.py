"""The report of one run: what was asked, what came out, and its pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nes_lab.compress.compression_plan import CompressionPlan
from nes_lab.figures.coverage import coverage
from nes_lab.figures.epitome_atlas import epitome_atlas
from nes_lab.figures.layer_bars import layer_bars
from nes_lab.figures.live_run import live_run
from nes_lab.figures.progress import progress_text
from nes_lab.figures.report import Section, report_html
from nes_lab.figures.routing_map import routing_map
from nes_lab.figures.start_trajectories import start_trajectories
from nes_lab.runs import layout
from nes_lab.runs.query import run_table

if TYPE_CHECKING:
    from nes_lab.epitome.snapshot import LayerSnapshot
    from nes_lab.runs.info import RunInfo
    from nes_lab.runs.store import RunStore

__all__ = ["largest_layer", "layer_sections", "plan_rows", "run_report", "run_sections"]


def plan_rows(store: RunStore, run_id: str) -> list[dict[str, Any]]:
    """Rows of the run's compression plan, empty for a dense network or before it was planned."""
    path = store.path(run_id) / layout.PLAN
    return CompressionPlan.from_json(path.read_text(encoding="utf-8")).rows() if path.is_file() else []


def run_report(store: RunStore, run_id: str) -> str:
    """Read one run and write its report.

    Raises:
        RunError: If there is no such run.
    """
    info = store.get(run_id)
    steps = store.snapshots(run_id)
    marks = sorted({steps[0], steps[-1]}) if steps else []
    sections = run_sections(
        info,
        store.metrics(run_id),
        store.events(run_id),
        plan_rows(store, run_id),
        [(step, store.snapshot(run_id, step)) for step in marks],
    )
    return report_html(f"Run {info.label or info.id}", sections)


def run_sections(
    info: RunInfo,
    metrics: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
    layers: Sequence[Mapping[str, Any]],
    history: Sequence[tuple[int, Mapping[str, LayerSnapshot]]],
) -> list[Section]:
    """Arrange what is known about a run.

    Args:
        info: The run.
        metrics: Its rows of metrics.
        events: What happened.
        layers: Rows of its compression plan; may be empty.
        history: Snapshots at their steps, oldest first; may be empty.
    """
    row = dict(run_table([info])[0])
    told = progress_text(info.step, info.total, metrics, running=False)
    sections = [Section("Result", text=f"{info.state}: {told}.\n\n{info.reason}".strip(), table=[row])]
    if info.summary:
        numbers = [{"number": name, "value": value} for name, value in info.summary.items()]
        sections.append(Section("All numbers of its summary", table=numbers))
    if metrics:
        sections.append(Section("Curves", figure=live_run(metrics, events)))
    if layers:
        sections.append(Section("Layers", figure=layer_bars(layers)))
    if history:
        sections += layer_sections(largest_layer(history[-1][1]), history)
    return sections


def largest_layer(layers: Mapping[str, LayerSnapshot]) -> str:
    """Name of the layer with the most cells, the one worth a picture."""
    return max(layers, key=lambda name: math.prod(layers[name].epitome_shape))


def layer_sections(name: str, history: Sequence[tuple[int, Mapping[str, LayerSnapshot]]]) -> list[Section]:
    """Pictures of one layer: epitome, routing before and after, trajectories, coverage."""
    first, last = history[0][1][name], history[-1][1][name]
    sections = []
    if last.epitome is not None:
        sections.append(Section(f"Epitome of {name}", figure=epitome_atlas(last)))
    before = first if len(history) > 1 else None
    sections.append(Section(f"Routing map of {name}", figure=routing_map(last, before)))
    if len(history) > 1:
        path = [(step, layers[name]) for step, layers in history]
        sections.append(Section(f"Starts of {name} over training", figure=start_trajectories(path)))
    sections.append(Section(f"Coverage of {name}", figure=coverage(last)))
    return sections
