"""``nes-lab resume``: continue a run from its last checkpoint, after it was cancelled or failed, or its process vanished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from nes_lab.cli.json_output import print_json, stdout_to_stderr
from nes_lab.cli.options import parse
from nes_lab.cli.ranks import only_first
from nes_lab.cli.train import start_detached
from nes_lab.cli.train_here import train_here
from nes_lab.errors import RunError
from nes_lab.runs.info import RunInfo
from nes_lab.runs.launcher import requeue
from nes_lab.runs.store import RunStore

__all__ = ["ResumeCommand", "run_command"]


@dataclass(frozen=True)
class ResumeCommand:
    """Continue a run from its last checkpoint."""

    run: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="RUN")]]
    """Id of the run; the beginning or end of it is enough if no other run has it."""
    detach: bool = False
    """Train in the background, after the runs that are already waiting."""
    json: bool = False
    """Print the result as one JSON value on standard output; everything else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Continue the run that the command line names, in this process or in the background."""
    options = parse(ResumeCommand, "resume", words)
    store = RunStore()
    info = store.find(options.run)
    if info.is_active:
        raise RunError(f"run {info.id} is {info.state} in process {info.pid}; nes-lab cancel {info.id} stops it")
    if info.state == "finished":
        raise RunError(f"run {info.id} is finished; there is nothing to resume")
    with stdout_to_stderr(options.json):
        status = _continue(store, info, options.detach)
    if options.json:
        print_json(store.get(info.id).to_dict())
    return status


def _continue(store: RunStore, info: RunInfo, detach: bool) -> int:
    if detach:
        return start_detached(store, info.id)
    only_first(lambda: None if info.state == "queued" else requeue(store, info))
    print(f"run {info.id} continues from its last checkpoint")
    return train_here(store, info.id)
