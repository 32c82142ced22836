"""``nes-lab resume``."""

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

__all__ = ["run_command"]


@dataclass(frozen=True)
class ResumeCommand:
    """Go on with a run from its last checkpoint."""

    run: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="RUN")]]
    """The run's id, or an unmistakable beginning or end of it."""
    detach: bool = False
    """Train in the background; runs wait for one another."""
    json: bool = False
    """Print one JSON value to standard output; all else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Resume a run."""
    options = parse(ResumeCommand, "resume", words)
    store = RunStore()
    info = store.find(options.run)
    if info.is_active:
        raise RunError(f"run {info.id} is {info.state} as process {info.pid}; nes-lab cancel {info.id} stops it")
    if info.state == "finished":
        raise RunError(f"run {info.id} is finished; there is nothing left to do")
    with stdout_to_stderr(options.json):
        status = _go_on(store, info, options.detach)
    if options.json:
        print_json(store.get(info.id).to_dict())
    return status


def _go_on(store: RunStore, info: RunInfo, detach: bool) -> int:
    if detach:
        return start_detached(store, info.id)
    only_first(lambda: None if info.state == "queued" else requeue(store, info))
    print(f"run {info.id} goes on from its last checkpoint")
    return train_here(store, info.id)
