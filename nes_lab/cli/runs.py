"""``nes-lab runs``: list training runs, newest first. ``runs pack`` and ``runs import`` are in ``runs_move.py``."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nes_lab.cli.options import parse
from nes_lab.cli.runs_move import import_command, pack_command
from nes_lab.cli.tables import print_table, printable
from nes_lab.errors import OptionError, closest
from nes_lab.experiment.open_runs import list_runs
from nes_lab.records.columns import columns
from nes_lab.records.table import Table
from nes_lab.runs.info import RunInfo
from nes_lab.runs.launcher import start_waiting
from nes_lab.runs.store import RunStore
from nes_lab.text import shorten_middle

__all__ = ["RunsCommand", "run_command"]

MOVES = {"pack": pack_command, "import": import_command}


@dataclass(frozen=True)
class RunsCommand:
    """List training runs, newest first. "runs pack RUN" packs a run into one file, "runs import FILE" opens it on another machine."""

    group: str = ""
    """List only the runs of this group. The runs of a sweep have the sweep's name as their group."""
    tag: str = ""
    """List only the runs with this tag. Tags are given in the app, or in Python by run.annotate(tags=[...])."""
    json: bool = False
    """Print everything that is known about each run, as JSON."""
    limit: int = 30
    """Largest number of runs to list; 0 lists all."""


def run_command(words: Sequence[str]) -> int:
    """Print a list of the runs. If a crash has stopped the queue, start the next queued runs."""
    if words and words[0] in MOVES:
        return MOVES[words[0]](words[1:])
    if words and not words[0].startswith("-"):
        raise OptionError(
            f"{words[0]!r} is not a command of runs.{closest(words[0], MOVES)} Write nes-lab runs, nes-lab runs pack RUN or "
            "nes-lab runs import FILE"
        )
    options = parse(RunsCommand, "runs", words)
    if options.limit < 0:
        raise OptionError(f"--limit {options.limit} should be the largest number of runs to list, or 0 for all")
    store = RunStore()
    start_waiting(store)
    infos = [run.info for run in list_runs(group=options.group or None, tag=options.tag or None)]
    shown = infos[: options.limit] if options.limit > 0 else infos
    if options.json:
        print(json.dumps([info.to_dict() for info in shown]))
    elif not infos:
        of_group = f" of group {options.group}" if options.group else ""
        with_tag = f" with the tag {options.tag}" if options.tag else ""
        print(f"no runs{of_group}{with_tag} in {store.root} yet; nes-lab demo or nes-lab train makes some")
    else:
        _show(shown, len(infos), store)
    return 0


def _show(shown: Sequence[RunInfo], count: int, store: RunStore) -> None:
    tags = ("tags",) if any(info.tags for info in shown) else ()
    keys = ("run", "label", *tags, "state", "progress", "top1", "params", "madds", "age")
    print_table(Table(columns(*keys), [_row(info) for info in shown]))
    for info in shown:
        if info.state in ("lost", "failed", "finished") and info.reason:
            print(f"{info.id} is {info.state}: {printable(info.reason, 300)}")
    if count > len(shown):
        print(f"{count - len(shown)} more in {store.root}; --limit 0 shows all")


def _row(info: RunInfo) -> dict[str, Any]:
    numbers = {key: v for key in ("top1", "params", "madds") if isinstance(v := info.summary.get(key), int | float)}
    label = shorten_middle(printable(info.label, 200), 40)
    row = {"run": info.id, "label": label, "state": info.state, "progress": info.progress, "age": _age(info.created)}
    row["tags"] = shorten_middle(printable(", ".join(info.tags), 400), 40)
    return row | numbers


def _age(created: float) -> str:
    if not created:
        return ""  # the run's files are damaged
    seconds = max(0.0, time.time() - created)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return "now"
