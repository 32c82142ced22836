"""Write the report of one run: results, training curves, layers, epitomes and configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nes_lab.errors import RunError
from nes_lab.figures.coverage import coverage
from nes_lab.figures.epitome_atlas import epitome_atlas
from nes_lab.figures.inputs import largest_layers
from nes_lab.figures.layer_bars import layer_bars
from nes_lab.figures.live_run import live_run
from nes_lab.figures.patches_on_epitome import patches_on_epitome
from nes_lab.figures.progress import progress_text
from nes_lab.figures.report import Section, report_html
from nes_lab.figures.routing_map import routing_map
from nes_lab.figures.start_trajectories import start_trajectories
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.runs import layout
from nes_lab.runs.flatten import flatten
from nes_lab.text import format_value

if TYPE_CHECKING:
    from nes_lab.geometry.layer_snapshot import LayerSnapshot
    from nes_lab.runs.info import RunInfo
    from nes_lab.runs.store import RunStore

__all__ = ["fit_comparison", "layer_sections", "plan_rows", "run_report", "run_sections"]

History = Sequence[tuple[int, Mapping[str, "LayerSnapshot"]]]


def plan_rows(store: RunStore, run_id: str) -> list[dict[str, Any]]:
    """Return the rows of a run's compression plan, one per layer.

    There are no rows if the network is dense, or if the run has not made its plan yet.

    Raises:
        RunError: If there is no such run, or its plan is damaged.
        PlanError: If its plan has a format that this version cannot read.
    """
    try:
        text = (store.path(run_id) / layout.PLAN).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{layout.PLAN} of run {run_id} cannot be read: {error}") from error
    return CompressionPlan.from_json(text).rows()


def run_report(store: RunStore, run_id: str) -> str:
    """Read one run and return its report as one HTML document.

    Args:
        store: The store that holds the run.
        run_id: Id of the run.

    Raises:
        RunError: If there is no such run, or one of its files is damaged.
    """
    info = store.get(run_id)
    history = [(step, store.snapshot(run_id, step)) for step in store.snapshots(run_id)]
    sections = run_sections(info, store.metrics(run_id), store.events(run_id), plan_rows(store, run_id), history)
    return report_html(f"Run {info.label or info.id}", sections)


def run_sections(
    info: RunInfo,
    metrics: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
    layers: Sequence[Mapping[str, Any]],
    history: History,
) -> list[Section]:
    """Return the sections of a run's report: result, training curves, layers, epitomes and configuration.

    Args:
        info: The run's state, configuration and summary.
        metrics: Rows of the run's metrics.
        events: Rows of the run's events, such as saved checkpoints.
        layers: Rows of the run's compression plan, one per layer; may be empty.
        history: The training steps that the run has saved, oldest first; may be empty. Each is a pair: the step, and a
            mapping from the name of a layer to a copy of its epitome and starts (positions of patches in the epitome).
    """
    progress = progress_text(info, metrics, events)
    attempts = f"{info.attempt} attempt{'' if info.attempt == 1 else 's'}"
    paragraphs = (f"Run {info.id} is {info.state} after {attempts}: {progress}.", fit_comparison(events), info.reason)
    text = "\n\n".join(filter(None, paragraphs))
    numbers = [{"number": name, "value": format_value(value)} for name, value in info.summary.items()]
    sections = [Section("Result", text=text, table=numbers)]
    if metrics:
        sections.append(Section("Training", figure=live_run(metrics, events)))
    if layers:
        sections.append(Section("Layers", figure=layer_bars(layers)))
    for name in largest_layers(history[-1][1]) if history else ():
        sections += layer_sections(name, history)
    settings = [{"field": path, "value": str(value)} for path, value in flatten(info.config).items()]
    return [*sections, Section("Configuration", table=settings)]


def fit_comparison(events: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence that compares the fitted network of a run, before training, with the dense network.

    The text is empty if the run fitted nothing.

    Args:
        events: Rows of the run's events.

    Examples:
        >>> fit_comparison([{"kind": "fit", "comparison": "outputs differ by 2.0 %"}])
        'Fitted, before training: outputs differ by 2.0 %.'
    """
    told = [str(event["comparison"]) for event in events if event.get("kind") == "fit" and event.get("comparison")]
    return f"Fitted, before training: {told[-1]}." if told else ""


def layer_sections(name: str, history: History) -> list[Section]:
    """Return a report's sections about one layer: its latest epitome, how this epitome is read, and how its starts moved.

    Args:
        name: Name of the layer.
        history: The training steps that the run has saved, oldest first. Each is a pair: the step, and a mapping from
            the name of a layer to a copy of its epitome and starts (positions of patches in the epitome).
    """
    path = [(step, layers[name]) for step, layers in history if name in layers]
    first, (step, last) = path[0][1], path[-1]
    sections = []
    if last.epitome is not None:
        sections.append(Section(f"Epitome of {name} at step {step}", figure=epitome_atlas(last)))
    sections.append(Section(f"Patches of {name} at step {step}", figure=patches_on_epitome(last)))
    sections.append(Section(f"Coverage of {name} at step {step}", figure=coverage(last)))
    if any(starts is not None for starts in last.starts):
        before = first if len(path) > 1 else None
        sections.append(Section(f"Routing map of {name}", figure=routing_map(last, before)))
        sections.append(Section(f"Starts of {name} over training", figure=start_trajectories(path)))
    return sections
