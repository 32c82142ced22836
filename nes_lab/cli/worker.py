"""``nes-lab _run ID``: train a queued run in a background process. ``train --detach``, the app and sweeps call this command."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from nes_lab.cli.entry import INTERRUPTED
from nes_lab.cli.options import parse
from nes_lab.cli.train_here import print_end, shown_progress
from nes_lab.errors import NesLabError, RunError
from nes_lab.experiment.ranks import is_first, is_rank
from nes_lab.experiment.run import Run
from nes_lab.runs.claims import adopt_claim, release_claim
from nes_lab.runs.launcher import settle, start_waiting
from nes_lab.runs.put_back import explain_refusal, former_status, put_back
from nes_lab.runs.store import RunStore

__all__ = ["WorkerCommand", "run_command"]


@dataclass(frozen=True)
class WorkerCommand:
    """Train a queued run."""

    run: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="RUN")]]
    """Id of the run."""
    root: Path | None = None
    """Folder of all runs; by default $NES_LAB_HOME/runs."""
    alone: bool = False
    """Do not start the next queued run afterwards, because another scheduler, such as Ray, decides what this machine does."""


def run_command(words: Sequence[str]) -> int:
    """Train a run to its end. Then start the next run in the queue, unless the flag ``--alone`` is given."""
    options = parse(WorkerCommand, "_run", words)
    store = RunStore(options.root)
    run = Run(store, options.run)
    folder = run.folder
    if is_rank():  # the parent process holds the claim
        return _train(run)
    adopt_claim(folder)
    signal.signal(signal.SIGTERM, _interrupt)  # until training installs its own handler
    try:
        info = run.info
        if info.state == "stopping":
            settle(store, info.id, "cancelled", "cancelled before training began")
            return INTERRUPTED
        if info.state != "queued":
            raise RunError(f"run {info.id} is {info.state}, not queued")
        return _train(run)
    finally:
        release_claim(folder)
        if not options.alone:
            start_waiting(store)


def _train(run: Run) -> int:
    before = former_status(run.folder).get("former")
    try:
        with shown_progress() as on_progress:
            run.resume(progress=False, on_progress=on_progress)
    except NesLabError as error:
        if is_first() and before:
            put_back(run.store, run.id)
            if former_status(run.folder) == before:  # refused before it began
                explain_refusal(run.store, run.id, str(error))
        raise
    return print_end(run)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
