"""``nes-lab report``: write the configuration, results, curves and layers of a run into one HTML file.

Tests: tests/cli/test_train.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from nes_lab.cli.json_output import print_json
from nes_lab.cli.options import parse
from nes_lab.experiment.open_runs import open_run

__all__ = ["ReportCommand", "run_command"]


@dataclass(frozen=True)
class ReportCommand:
    """Write the report of a run as one HTML file that needs no internet connection, and print the path of the file."""

    run: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="RUN")]]
    """Id of the run; the beginning or end of it is enough if no other run has it."""
    json: bool = False
    """Print the result as one JSON value on standard output; everything else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Write the report of a run into the run's folder, and print the path of the report."""
    options = parse(ReportCommand, "report", words)
    run = open_run(options.run)
    path = run.report()
    if options.json:
        print_json({"run": run.id, "report": path})
    else:
        print(path)
    return 0
