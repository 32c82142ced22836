"""Train a run in this process, show the run's progress, handle Ctrl-C and print the result.

The commands ``train``, ``resume`` and ``_run`` use this file.

Tests: tests/cli/test_train.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from nes_lab.cli.ranks import is_first, is_rank, only_first, processes_of, train_as_rank, train_in_ranks
from nes_lab.errors import NesLabError
from nes_lab.progress_bar import OnProgress, ProgressEvent
from nes_lab.runs.launcher import settle
from nes_lab.runs.store import RunStore
from nes_lab.text import format_seconds, format_value

if TYPE_CHECKING:
    from nes_lab.datasets.spec import DatasetSpec

__all__ = ["create_run", "progress_line", "train_here"]

EXIT = {"finished": 0, "cancelled": 130}


def create_run(store: RunStore, config: Mapping[str, Any], label: str = "") -> str:
    """Create a run and return its id. If torchrun started several processes, the first process creates one run for all."""
    return only_first(lambda: store.create(config, label=label))


def train_here(store: RunStore, run_id: str, data: DatasetSpec | None = None) -> int:
    """Train a run to its end in this process, or in as many processes as its configuration asks for.

    Args:
        store: The store that holds the run.
        run_id: Id of the run.
        data: The run's data set, already loaded and checked; None: this function loads it.

    Returns:
        0 if the run finished, 130 if it was interrupted, 1 if it ended in any other way.
    """
    try:
        if is_rank():
            with _display() as on_progress:
                return train_as_rank(store, run_id, on_progress)
        if (processes := processes_of(store, run_id)) > 1:
            train_in_ranks(store, run_id, processes)
            return _print_end(store, run_id)
        from nes_lab.experiment.run_experiment import run_experiment

        with _display() as on_progress:
            run_experiment(store, run_id, on_progress=on_progress, data=data)
    except KeyboardInterrupt:
        if is_rank():
            raise
        settle(store, run_id, "cancelled", "interrupted before training began")
    except (NesLabError, OSError, ImportError, RuntimeError) as error:
        if not is_first():
            raise
        settle(store, run_id, "failed", f"{type(error).__name__}: {error}"[:2000])
        raise
    return _print_end(store, run_id)


def _print_end(store: RunStore, run_id: str) -> int:
    info = store.get(run_id)
    if info.state == "finished":
        numbers = [f"{name} {format_value(info.summary[name])}" for name in _SHOWN if name in info.summary]
        print(f"finished {run_id}: " + (", ".join(numbers) or "no results"))
    elif info.state == "cancelled":
        print(
            f"\nstopped at step {info.step} of {info.total}; continue it with: nes-lab resume {run_id}", file=sys.stderr
        )
    else:
        print(f"nes-lab: run {run_id} is {info.state}: {info.reason}", file=sys.stderr)
    return EXIT.get(info.state, 1)


_SHOWN = ("params", "madds", "top1", "best_top1", "latency_ms")


@contextmanager
def _display() -> Iterator[OnProgress]:
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
            bars.update(task, completed=event["done"], total=event["total"], now=progress_line(event))

        yield show


def _ignore_event(event: ProgressEvent) -> None:
    """Do nothing with a progress event. Processes that show no progress use this callback."""
    # If several processes train a run, only the first one shows progress. The others use this function.


def _line_printer() -> OnProgress:
    """Return a function that prints the progress of a training run, one line per epoch."""
    # For log files, where a progress bar would add a line at each update.
    last = -1

    def show(event: ProgressEvent) -> None:
        nonlocal last
        if int(event.get("epoch") or 0) != last:
            last = int(event.get("epoch") or 0)
            print(f"step {event['done']}/{event['total']}  {progress_line(event)}", flush=True)

    return show


def progress_line(event: Mapping[str, Any]) -> str:
    """Describe the progress of a training run in one line of text.

    Examples:
        >>> progress_line({"epoch": 2, "epochs": 5, "images_per_s": 812.3, "loss": 0.51, "top1": None, "seconds_left": 75})
        'epoch 2/5  812 images/s  loss 0.510  1 min 15 s left'
    """
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
