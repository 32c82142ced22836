"""``nes-lab rm``: delete runs that have ended or are queued, with all their files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from nes_lab.cli.json_output import print_json
from nes_lab.cli.options import parse
from nes_lab.cli.tables import printable
from nes_lab.errors import OptionError, RunError, check_choice
from nes_lab.runs.claims import is_claimed
from nes_lab.runs.info import RunInfo
from nes_lab.runs.states import STATES
from nes_lab.runs.store import RunStore
from nes_lab.text import format_bytes

__all__ = ["RmCommand", "run_command"]

REMOVABLE = tuple(name for name, state in STATES.items() if not state.active)
DECLINED = 1


@dataclass(frozen=True)
class RmCommand:
    """Delete runs that have ended or are queued, with all their files."""

    runs: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="RUN")]] = field(default=())
    """Ids of runs; the beginning or end of an id is enough if no other run has it."""
    state: str = ""
    """Also delete all runs in these states, separated by commas, such as failed,lost."""
    yes: bool = False
    """Delete without asking."""
    json: bool = False
    """Print one JSON value to standard output; all else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Delete the runs that the command line names. If one of them is training or about to start, delete none."""
    options = parse(RmCommand, "rm", words)
    store = RunStore()
    chosen = _chosen(store, options)
    for info in chosen:
        _refuse_active(store, info)
    if chosen and not options.yes and not _agreed(store, chosen, options.json):
        return DECLINED
    freed = {}
    try:
        for info in chosen:
            freed[info.id] = store.delete(info.id)
        store.clean()
    finally:
        _tell(freed, options.json)
    return 0


def _chosen(store: RunStore, options: RmCommand) -> list[RunInfo]:
    states = {check_choice("--state", word.strip(), REMOVABLE) for word in options.state.split(",") if word.strip()}
    if not options.runs and not states:
        raise OptionError(f"no run is given; give run ids, or --state with some of {', '.join(REMOVABLE)}")
    ids = {store.find_id(name) for name in options.runs}
    return [info for info in store.list() if info.id in ids or info.state in states]


def _refuse_active(store: RunStore, info: RunInfo) -> None:
    if info.is_active or is_claimed(store.root / info.id):
        what = info.state if info.is_active else "about to start"
        raise RunError(f"run {info.id} is {what}, so nothing was deleted; nes-lab cancel {info.id} stops it")


def _agreed(store: RunStore, chosen: Sequence[RunInfo], to_stderr: bool) -> bool:
    """Ask the user whether to delete the runs, and return True if the answer is yes.

    Raises:
        OptionError: If standard input is not a terminal. The flag ``--yes`` is then required.
    """
    if not sys.stdin.isatty():
        raise OptionError(f"{_runs(len(chosen))} would be deleted; add --yes, because there is no terminal to ask on")
    out = sys.stderr if to_stderr else sys.stdout
    for info in chosen:
        print(f"{info.id}  {info.state}  {format_bytes(store.size(info.id))}  {printable(info.label, 40)}", file=out)
    print(f"Delete {_runs(len(chosen))}? This cannot be undone. [y/N] ", end="", file=out, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _tell(freed: dict[str, int], as_json: bool) -> None:
    total = sum(freed.values())
    if as_json:
        print_json({"deleted": list(freed), "bytes": total})
    else:
        print(f"deleted {_runs(len(freed))}, {format_bytes(total)} freed")


def _runs(count: int) -> str:
    """Return a number of runs as text, with the word ``run`` or ``runs``.

    Examples:
        >>> _runs(1), _runs(2)
        ('1 run', '2 runs')
    """
    return f"{count} run" + ("" if count == 1 else "s")
