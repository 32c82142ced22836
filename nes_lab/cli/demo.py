"""``nes-lab demo``: train dense and compressed networks on handwritten digits, compare them, and write a report.

Tests: tests/experiment/test_demo.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from nes_lab.cli.json_output import print_json, stdout_to_stderr
from nes_lab.cli.options import parse
from nes_lab.progress_bar import OnProgress, ProgressEvent
from nes_lab.runs.store import RunStore
from nes_lab.text import format_number, format_seconds, format_value

if TYPE_CHECKING:
    from nes_lab.experiment.demo import DemoResult

__all__ = ["DemoCommand", "demo_display", "run_command"]


@dataclass(frozen=True)
class DemoCommand:
    """Train dense and compressed networks of equal multiply-adds on handwritten digits, compare them, and write a report."""

    seeds: int = 2
    """Number of runs of each network, each with its own seed."""
    epochs: int = 10
    """Number of epochs of each run."""
    workers: int = 2
    """Number of processes that train at the same time, with one thread each."""
    out: Path | None = None
    """Folder for the report; by default the folder demo/ next to the runs."""
    json: bool = False
    """Print one JSON value to standard output; all else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Train and compare the networks of the demo, and print a table of their accuracy and cost."""
    options = parse(DemoCommand, "demo", words)
    with stdout_to_stderr(options.json):
        result = _run(options)
    if options.json:
        verdicts = [asdict(contest) | {"verdict": contest.verdict} for contest in result.contests]
        print_json(asdict(result) | {"contests": verdicts})
    return 0


def _run(options: DemoCommand) -> DemoResult:
    console = Console()
    console.print("Loading torch and timm ...", style="dim")
    from nes_lab.experiment.demo import run_demo
    from nes_lab.runs.compare import tally

    with demo_display(console) as on_progress:
        result = run_demo(
            RunStore(),
            seeds=options.seeds,
            epochs=options.epochs,
            workers=options.workers,
            folder=options.out,
            on_progress=on_progress,
        )
    console.print(_table(result.table))
    for contest in result.contests:
        console.print(contest.sentence(), highlight=False, soft_wrap=True)
    console.print(tally(result.contests), style="bold", highlight=False, soft_wrap=True)
    console.print(
        f"{format_seconds(result.seconds)} in total. Report: {result.report}", highlight=False, soft_wrap=True
    )
    console.print("See the runs in the app: make app", highlight=False)
    return result


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    caption = "(0.7): as many madds as the dense network of width 0.7; x64: one forward pass of 64 images"
    title = "Handwritten digits, 8x8: accuracy and cost, measured on this machine"
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for name in ("network", "params", "madds", "ms x1", "ms x64", "top-1 %", "seeds"):
        table.add_column(name, justify="left" if name == "network" else "right", no_wrap=True)
    for row in rows:
        *cells, lowest, highest = row.values()
        table.add_row(*map(_cell, cells), f"{lowest:.1f}-{highest:.1f}")
    return table


def _cell(value: object) -> str:
    return format_number(value) if isinstance(value, int) else format_value(value)


@contextmanager
def demo_display(console: Console) -> Iterator[OnProgress]:
    """Show the progress of the demo while the ``with`` block runs.

    In a terminal, progress bars are drawn. In a file or a pipe, one line is written when a phase of the demo begins,
    and one when a training run finishes.
    """
    if not console.is_terminal:
        yield _line_printer()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[now]}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        task = bars.add_task("training", total=None, now="planning")
        lines = [bars.add_task("", total=1, now="", visible=False) for _ in range(8)]

        def show(event: ProgressEvent) -> None:
            done, total, now = event["done"], event["total"], _progress_line(event)
            bars.update(task, description=event["phase"], completed=done, total=total, now=now)
            for line, (name, share) in zip(lines, [*event.get("running", {}).items(), *[("", 0.0)] * 8], strict=False):
                bars.update(line, description=f"  {name}", completed=share, visible=bool(name))

        yield show


def _progress_line(event: Mapping[str, Any]) -> str:
    left = "" if event["seconds_left"] is None else f", {format_seconds(event['seconds_left'])} left"
    return f"{event['finished']} of {event['total']} runs{left}"


def _line_printer() -> OnProgress:
    last: tuple[Any, ...] = ()

    def show(event: ProgressEvent) -> None:
        nonlocal last
        if (event.get("finished"), event["phase"]) != last:
            last = (event.get("finished"), event["phase"])
            running = "; ".join(f"{name} {share:.0%}" for name, share in event.get("running", {}).items())
            now = f"running: {running or 'nothing'}" if event["phase"] == "training" else event["phase"]
            print(f"{_progress_line(event)}; {now}", flush=True)

    return show
