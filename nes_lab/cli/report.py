"""``nes-lab report``: one HTML file that holds everything there is to see about a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from nes_lab.cli.options import parse
from nes_lab.errors import RunError
from nes_lab.runs import layout
from nes_lab.runs.files import read_bytes, write_bytes
from nes_lab.runs.info import RunInfo
from nes_lab.runs.query import flatten
from nes_lab.runs.store import RunStore

if TYPE_CHECKING:
    from nes_lab.figures.report import Section

__all__ = ["run"]

MOST_LAYERS = 2
"""Layers whose epitomes are drawn: the largest ones."""


@dataclass(frozen=True)
class Report:
    """Write a run's self-contained HTML report and print its path."""

    run: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="RUN")]]
    """The run's id, or an unmistakable beginning or end of it."""


def run(words: Sequence[str]) -> int:
    """Write the report into the run's folder."""
    options = parse(Report, "report", words)
    from nes_lab.figures.report import report_html

    store = RunStore()
    info = store.find(options.run)
    sections = [_result(info), *_curves(store, info), *_layers(store, info), *_epitomes(store, info), _settings(info)]
    path = store.path(info.id) / layout.REPORT
    write_bytes(path, report_html(info.label or info.id, sections).encode(), durable=False)
    print(path)
    return 0


def _result(info: RunInfo) -> Section:
    from nes_lab.figures.report import Section

    text = f"Run {info.id} is {info.state}{': ' + info.reason if info.reason else ''}. "
    text += f"It did {info.step} of {info.total} steps in {info.attempt} attempt{'s' if info.attempt != 1 else ''}."
    table = [{"number": name, "value": value} for name, value in info.summary.items()]
    return Section("Result", text=text, table=table)


def _curves(store: RunStore, info: RunInfo) -> list[Section]:
    from nes_lab.figures.live_run import live_run
    from nes_lab.figures.report import Section

    metrics = store.metrics(info.id)
    return [Section("Training", figure=live_run(metrics, store.events(info.id)))] if metrics else []


def _layers(store: RunStore, info: RunInfo) -> list[Section]:
    from nes_lab.compress.compression_plan import CompressionPlan
    from nes_lab.figures.layer_bars import layer_bars
    from nes_lab.figures.report import Section

    try:
        text = read_bytes(store.path(info.id) / layout.PLAN).decode()
    except FileNotFoundError:
        return []  # a dense network has no plan
    except UnicodeDecodeError as error:
        raise RunError(f"{layout.PLAN} of run {info.id} is damaged: {error}") from error
    return [Section("Layers", figure=layer_bars(CompressionPlan.from_json(text).rows()))]


def _epitomes(store: RunStore, info: RunInfo) -> list[Section]:
    from nes_lab.figures.coverage import coverage
    from nes_lab.figures.epitome_atlas import epitome_atlas
    from nes_lab.figures.patches_on_epitome import patches_on_epitome
    from nes_lab.figures.report import Section
    from nes_lab.figures.routing_map import routing_map
    from nes_lab.figures.start_trajectories import start_trajectories

    steps = store.snapshots(info.id)
    if not steps:
        return []
    history = [(step, store.snapshot(info.id, step)) for step in steps]
    first, last = history[0][1], history[-1][1]
    largest = sorted(last.values(), key=lambda layer: layer.epitome.size if layer.epitome is not None else 0)
    sections = []
    for layer in reversed(largest[-MOST_LAYERS:]):
        title, start = f"{layer.name}, step {steps[-1]}", first.get(layer.name)
        path = [(step, layers[layer.name]) for step, layers in history if layer.name in layers]
        if layer.epitome is not None:
            sections.append(Section(f"Epitome of {title}", figure=epitome_atlas(layer, start)))
        sections.append(Section(f"Patches of {title}", figure=patches_on_epitome(layer)))
        sections.append(Section(f"Coverage of {title}", figure=coverage(layer)))
        if any(starts is not None for starts in layer.starts):
            sections.append(Section(f"Routing of {title}", figure=routing_map(layer, start)))
            sections.append(Section(f"Starts of {layer.name} over training", figure=start_trajectories(path)))
    return sections


def _settings(info: RunInfo) -> Section:
    from nes_lab.figures.report import Section

    table = [{"field": path, "value": str(value)} for path, value in flatten(info.config).items()]
    return Section("Configuration", table=table)
