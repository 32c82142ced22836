"""``nes-lab resume``: continue a run from its last checkpoint, after it was cancelled or failed, or its process vanished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import tyro

from nes_lab.cli.json_output import print_json, stdout_to_stderr
from nes_lab.cli.options import parse
from nes_lab.cli.train_here import print_end, print_start, shown_progress
from nes_lab.experiment.open_runs import open_run
from nes_lab.runs.extend import check_extension

__all__ = ["ResumeCommand", "run_command"]


@dataclass(frozen=True)
class ResumeCommand:
    """Continue a run from its last checkpoint."""

    run: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="RUN")]]
    """Id of the run; the beginning or end of it is enough if no other run has it."""
    epochs: int | None = None
    """Train further, for this many epochs in total. The run may be finished. Its learning rate follows the longer schedule from here on."""
    detach: bool = False
    """Train in the background, after the runs that are already waiting."""
    json: bool = False
    """Print the result as one JSON value on standard output; everything else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Continue the run that the command line names, in this process or in the background."""
    options = parse(ResumeCommand, "resume", words)
    run = open_run(options.run)
    if options.epochs is None:
        run.check_resumable()
    else:
        check_extension(run.info, options.epochs)
    proceed = run.resume if options.epochs is None else partial(run.extend, options.epochs)
    with stdout_to_stderr(options.json):
        if not options.detach:
            more = "" if options.epochs is None else f", for {options.epochs} epochs in total"
            print(f"run {run.id} continues from its last checkpoint{more}")
        with shown_progress() as on_progress:
            proceed(detach=options.detach, progress=False, on_progress=on_progress)
        status = print_start(run) if options.detach else print_end(run)
    if options.json:
        print_json(run.info.to_dict())
    return status
