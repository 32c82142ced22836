"""``nes-lab report``: one HTML file that holds everything there is to see about a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from nes_lab.cli.json_output import print_json
from nes_lab.cli.options import parse
from nes_lab.runs import layout
from nes_lab.runs.files import write_bytes
from nes_lab.runs.store import RunStore

__all__ = ["run_command"]


@dataclass(frozen=True)
class ReportCommand:
    """Write a run's self-contained HTML report and print its path."""

    run: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="RUN")]]
    """The run's id, or an unmistakable beginning or end of it."""
    json: bool = False
    """Print one JSON value to standard output; all else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Write the report into the run's folder."""
    options = parse(ReportCommand, "report", words)
    from nes_lab.figures.run_report import run_report

    store = RunStore()
    info = store.find(options.run)
    path = store.path(info.id) / layout.REPORT
    write_bytes(path, run_report(store, info.id).encode(), durable=False)
    if options.json:
        print_json({"run": info.id, "report": path})
    else:
        print(path)
    return 0
