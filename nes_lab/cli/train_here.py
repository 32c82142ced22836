"""Show the progress of a run that trains in this process, and print how the run ended or whether it waits.

The commands ``train``, ``resume`` and ``_run`` use this file.

Tests: tests/cli/test_train.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from nes_lab.experiment.open_runs import open_run
from nes_lab.experiment.ranks import is_first, is_rank
from nes_lab.experiment.run import Run
from nes_lab.progress_bar import OnProgress, ProgressEvent, event_text
from nes_lab.runs.allocator import keep_freed_memory
from nes_lab.runs.info import result_names
from nes_lab.text import format_seconds, format_value

__all__ = ["print_created", "print_end", "print_start", "progress_line", "shown_progress"]

TRAINING = "training"
EXIT = {"finished": 0, "cancelled": 130}


def print_created(event: ProgressEvent) -> None:
    """Print the id and folder of a new run, and how it begins, at the first progress event of a training."""
    run = open_run(event["label"])
    print(f"run {run.id} in {run.folder}", flush=True)
    for note in run.info.notes:
        print(note, flush=True)


def print_start(run: Run) -> int:
    """Print that a run trains in the background or waits in the queue. Return the exit status 0."""
    waits = run.runs_before() > 0
    print(f"{run.id} " + ("waits in the queue" if waits else "trains in the background"))
    return 0


def print_end(run: Run) -> int:
    """Print the final state of a run, after this process has trained it.

    Returns:
        The exit status: 0 if the run finished, 130 if it was interrupted, 1 if it ended in any other way. It is 0 in a process
        that trained the run together with others, because torchrun takes any other status for a failure.
    """
    if is_rank():
        return 0
    info = run.info
    if info.state == "finished":
        numbers = [f"{name} {format_value(info.summary[name])}" for name in result_names(info.summary)]
        extended = f" (extended from {info.extended_from})" if info.extended_from else ""
        print(f"finished {run.id}{extended}: " + (", ".join(numbers) or "no results"))
        if info.reason:
            print(f"note: {info.reason}")
    elif info.state == "cancelled":
        how = info.needs_text() or f"continue it with: nes-lab resume {run.id}"
        how += f" ({info.resume_note})" if info.resume_note else ""
        print(f"\nstopped at step {info.step} of {info.total}; {how}", file=sys.stderr)
    else:
        print(f"nes-lab: run {run.id} is {info.state}: {info.reason}", file=sys.stderr)
    return EXIT.get(info.state, 1)


@contextmanager
def shown_progress() -> Iterator[OnProgress]:
    """Yield a function that shows the progress of a training: as a bar on a terminal, in a file or pipe as one line per epoch.

    The process keeps the memory that it frees from then on, which makes training on a CPU faster.
    """
    keep_freed_memory()
    if not is_first():
        yield _ignore_event
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line_printer()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[now]}"))
    with Progress(*columns, console=console) as bars:
        task = bars.add_task("training", total=None, now="building the network")

        def show(event: ProgressEvent) -> None:
            if event["phase"] == "created":
                print_created(event)
                return
            about = {"completed": event["done"], "total": event["total"], "now": progress_line(event)}
            bars.update(task, description=event["phase"], **about)

        yield show


def _ignore_event(event: ProgressEvent) -> None:
    """Do nothing with a progress event. Processes that show no progress use this callback."""
    # If several processes train a run, only the first one shows progress. The others use this function.


def _line_printer() -> OnProgress:
    """Return a function that prints the progress of a training run, one line per epoch, and one per phase before the training."""
    # For log files, where a progress bar would add a line at each update.
    last: tuple[str, int] = ("", -1)

    def show(event: ProgressEvent) -> None:
        nonlocal last
        now = event["phase"], int(event.get("epoch") or 0)
        if event["phase"] == "created":
            print_created(event)
        elif now != last:
            last = now
            step = f"step {event['done']}/{event['total']}  " if event["phase"] == TRAINING else ""
            print(f"{step}{progress_line(event)}", flush=True)

    return show


def progress_line(event: Mapping[str, Any]) -> str:
    """Describe the progress of a training run in one line of text.

    Examples:
        >>> progress_line({"epoch": 2, "epochs": 5, "images_per_s": 812.3, "loss": 0.51, "top1": None, "seconds_left": 75})
        'epoch 2/5  812 images/s  loss 0.510  1 min 15 s left'
    """
    if event.get("phase", TRAINING) != TRAINING:
        return event_text({**event})  # type: ignore[arg-type]
    words = [f"epoch {event['epoch']}/{event.get('epochs', '?')}"] if event.get("epoch") is not None else []
    if (speed := event.get("images_per_s")) is not None:
        words.append(f"{speed:.0f} images/s")
    if (loss := event.get("loss")) is not None:
        words.append(f"loss {loss:.3f}")
    if (top1 := event.get("top1")) is not None:
        words.append(f"val top-1 {top1:.1f} %")
    if (left := event.get("seconds_left")) is not None:
        words.append(f"{format_seconds(left)} left")
    return "  ".join(words)
