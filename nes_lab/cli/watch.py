"""``nes-lab watch``: show training runs live in the terminal, or write a line into a file or pipe whenever a run changes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from nes_lab.cli import watch_frames
from nes_lab.cli.json_output import print_json
from nes_lab.cli.options import parse
from nes_lab.cli.tables import PIPE_WIDTH
from nes_lab.errors import OptionError, RunError
from nes_lab.experiment.open_runs import list_runs, open_run
from nes_lab.runs import queue
from nes_lab.runs.info import RunInfo
from nes_lab.runs.launcher import start_waiting
from nes_lab.runs.run_progress import RunProgress, RunProgressReader
from nes_lab.runs.store import RunStore

__all__ = ["WatchCommand", "Watcher", "run_command"]

LINES_A_RUN = {True: 1, False: 4}
QUEUE_SECONDS, MOST_LINES = 10.0, 64
PAUSE_SECONDS = 2.0  # waited after the last run: a sweep creates its next run only when one has ended


@dataclass(frozen=True)
class WatchCommand:
    """Show runs live in the terminal: first those in training, then the queued ones, then the others, newest first. Ctrl-C quits.

    If the output goes to a file or a pipe, a line is written whenever the state or epoch of a run changes, until no run is in
    training or queued.
    """

    runs: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="RUN")]] = field(default=())
    """Ids of runs, or beginnings or ends of ids; one run alone is shown in detail. Without ids, all runs are shown."""
    group: str = ""
    """Show only the runs of this group. The runs of a sweep have the sweep's name as their group."""
    once: bool = False
    """Show the current state once and quit."""
    every: float = 1.0
    """Seconds between two updates."""
    json: bool = False
    """Print the current state as one JSON value on standard output, and quit."""


class Watcher:
    """Reads the runs from disk for each update of ``nes-lab watch``."""

    # Runs may appear and disappear at any time.

    def __init__(self, store: RunStore, names: Sequence[str], group: str = "") -> None:
        self.store, self.reader, self.group = store, RunProgressReader(store), group
        self.of_group = f" of group {group}" if group else ""
        self.ids = [open_run(name, root=store.root).id for name in names]
        self._queue_seen = float("-inf")

    def read(self) -> tuple[list[RunInfo], list[str]]:
        """Return the runs to show, and the ids of the queued runs.

        The runs in training are first, then the queued ones in the order of the queue, then the others, newest first.
        """
        if time.monotonic() - self._queue_seen > QUEUE_SECONDS:
            self._queue_seen = time.monotonic()
            with contextlib.suppress(RunError):  # runs can be watched even if their folder cannot be written
                start_waiting(self.store)
        waiting = [run_id for _, run_id in queue.tickets(self.store.root)]
        infos = [run.info for run in list_runs(group=self.group or None, root=self.store.root)]
        if self.ids:
            known = {info.id: info for info in infos}
            infos = [known.get(name) or RunInfo(name, state="lost", reason="it was deleted") for name in self.ids]
        order = {run_id: place for place, run_id in enumerate(waiting)}
        infos.sort(key=lambda info: (not info.is_active, info.state != "queued", order.get(info.id, len(order))))
        return infos, waiting

    def frame(self, width: int, height: int) -> RenderableType:
        """Draw the current state of the runs for a terminal of ``width`` columns and ``height`` lines."""
        infos, waiting = self.read()
        if len(self.ids) == 1:
            return watch_frames.run_frame(self.store, self.reader.read(infos[0]), waiting, width)
        if not infos:
            return Text(
                f"no runs{self.of_group} in {self.store.root} yet; start some with nes-lab train or nes-lab demo"
            )
        room = max(1, (height - 4) // LINES_A_RUN[width >= watch_frames.WIDE])
        shown = [self.reader.read(info) for info in infos[:room]]
        return watch_frames.runs_frame(shown, waiting, infos, width)

    def all_runs(self) -> tuple[list[RunProgress], list[str]]:
        """Return the progress of all runs that ``nes-lab watch`` shows, and the ids of the queued runs."""
        infos, waiting = self.read()
        return [self.reader.read(info) for info in infos], waiting


def run_command(words: Sequence[str]) -> int:
    """Show runs live until Ctrl-C, or print their current state once."""
    options = parse(WatchCommand, "watch", words)
    if not 0.1 <= options.every <= 3600:
        raise OptionError(f"--every {options.every:g} should be from 0.1 to 3600 seconds")
    if options.group and options.runs:
        raise OptionError(f"--group {options.group} and RUN {options.runs[0]!r} cannot both be given; give one of them")
    watcher = Watcher(RunStore(), options.runs, options.group)
    console = Console()
    if options.json:
        runs, waiting = watcher.all_runs()
        print_json({"runs": [run.to_dict() for run in runs], "waiting": waiting})
    elif options.once:
        console = console if console.is_terminal else Console(width=PIPE_WIDTH)
        console.print(watcher.frame(console.width, MOST_LINES))
    else:
        with contextlib.suppress(KeyboardInterrupt):
            (_live if console.is_terminal else _lines)(watcher, console, options.every)
    return 0


def _live(watcher: Watcher, console: Console, every: float) -> None:
    def draw() -> RenderableType:
        try:
            return watcher.frame(console.width, console.height)
        except RunError as error:  # the folder of the runs is unavailable; it may come back
            return Text(str(error), style="red")

    with Live(draw(), console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            time.sleep(every)
            live.update(draw(), refresh=True)


def _lines(watcher: Watcher, console: Console, every: float) -> None:
    said: dict[str, str] = {}
    leave_at = 0.0
    while True:
        runs, waiting = watcher.all_runs()
        for run in runs:
            stage = run.info.stage["phase"] if run.info.stage else ""
            mark = f"{run.info.state} {run.epoch} {stage}"
            if said.get(run.info.id) != mark:
                said[run.info.id] = mark
                print(watch_frames.run_line(run), flush=True)
        if waiting or any(run.info.is_active or run.info.state == "queued" for run in runs):
            leave_at = time.monotonic() + every + PAUSE_SECONDS
        elif time.monotonic() >= leave_at:
            return
        time.sleep(every)
