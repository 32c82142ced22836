"""``nes-lab cancel``: stop a run after it has saved a checkpoint, so that it can be resumed.

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

__all__ = ["CancelCommand", "run_command"]


@dataclass(frozen=True)
class CancelCommand:
    """Stop a run after it has saved a checkpoint, so that it can be resumed."""

    run: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="RUN")]]
    """Id of the run; the beginning or end of it is enough if no other run has it."""
    json: bool = False
    """Print the result as one JSON value on standard output; everything else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Cancel the run that the command line names, and print the run's new state."""
    options = parse(CancelCommand, "cancel", words)
    info = open_run(options.run).cancel().info
    if options.json:
        print_json(info.to_dict())
    else:
        print(f"{info.id} is {info.state}; continue it with: nes-lab resume {info.id}")
    return 0
