"""Train in this process: progress, interruption, and what is said at the end. For train, resume and _run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from nes_lab.cli.ranks import is_first, is_rank, only_first, processes_of, train_as_rank, train_in_ranks
from nes_lab.errors import NesLabError
from nes_lab.runs.launcher import settle
from nes_lab.runs.store import RunStore
from nes_lab.text import format_seconds, format_value

if TYPE_CHECKING:
    from nes_lab.datasets.spec import DatasetSpec

__all__ = ["create_run", "train_here"]

Report = Callable[[dict[str, Any]], None]
EXIT = {"finished": 0, "cancelled": 130}


def create_run(store: RunStore, config: Mapping[str, Any], label: str = "") -> str:
    """Create a run and return its id; of several processes that torchrun started, the first creates it for all."""
    return only_first(lambda: store.create(config, label=label))


def train_here(store: RunStore, run_id: str, data: DatasetSpec | None = None) -> int:
    """Train a run to its end in this process, or in as many as its config asks for.

    Args:
        store: Where the run is.
        run_id: Which one.
        data: Its data, where this process has loaded and checked it before.

    Returns:
        0 when it finished, 130 when it was interrupted, 1 when it ended in another way.
    """
    try:
        if is_rank():
            with _display() as progress:
                return train_as_rank(store, run_id, progress)
        if (processes := processes_of(store, run_id)) > 1:
            train_in_ranks(store, run_id, processes)
            return _say_end(store, run_id)
        from nes_lab.experiment.run import run_experiment

        with _display() as progress:
            run_experiment(store, run_id, progress=progress, data=data)
    except KeyboardInterrupt:
        if is_rank():
            raise
        settle(store, run_id, "cancelled", "interrupted before it began")
    except (NesLabError, OSError, ImportError, RuntimeError) as error:
        if not is_first():
            raise
        settle(store, run_id, "failed", f"{type(error).__name__}: {error}"[:2000])
        raise
    return _say_end(store, run_id)


def _say_end(store: RunStore, run_id: str) -> int:
    info = store.get(run_id)
    if info.state == "finished":
        numbers = [f"{name} {format_value(info.summary[name])}" for name in _SHOWN if name in info.summary]
        print(f"finished {run_id}: " + (", ".join(numbers) or "no numbers"))
    elif info.state == "cancelled":
        print(f"\nstopped at step {info.step} of {info.total}; go on with: nes-lab resume {run_id}", file=sys.stderr)
    else:
        print(f"nes-lab: run {run_id} is {info.state}: {info.reason}", file=sys.stderr)
    return EXIT.get(info.state, 1)


_SHOWN = ("params", "madds", "top1", "best_top1", "latency_ms")


@contextmanager
def _display() -> Iterator[Report]:
    if not is_first():
        yield _say_nothing
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line_printer()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[now]}"))
    with Progress(*columns, console=console) as bars:
        task = bars.add_task("training", total=None, now="building the network")

        def show(news: dict[str, Any]) -> None:
            bars.update(task, completed=news.get("step", 0), total=news.get("total"), now=describe(news))

        yield show


def _say_nothing(news: dict[str, Any]) -> None:
    """Of several processes, the first one speaks."""


def _line_printer() -> Report:
    """Print one line an epoch: for logs, where a moving bar would be noise."""
    last = -1

    def show(news: dict[str, Any]) -> None:
        nonlocal last
        if int(news.get("epoch") or 0) != last:
            last = int(news.get("epoch") or 0)
            print(f"step {news.get('step')}/{news.get('total')}  {describe(news)}", flush=True)

    return show


def describe(news: dict[str, Any]) -> str:
    """Put a progress report into words.

    Examples:
        >>> describe({"epoch": 2, "epochs": 5, "images_per_s": 812.3, "loss": 0.51, "top1": None, "eta_s": 75})
        'epoch 2/5  812 images/s  loss 0.510  1 min 15 s left'
    """
    words = [f"epoch {news['epoch']}/{news.get('epochs', '?')}"] if news.get("epoch") is not None else []
    if (speed := news.get("images_per_s")) is not None:
        words.append(f"{speed:.0f} images/s")
    if (loss := news.get("loss")) is not None:
        words.append(f"loss {loss:.3f}")
    if (top1 := news.get("top1")) is not None:
        words.append(f"val top-1 {top1:.1f} %")
    if (left := news.get("eta_s")) is not None:
        words.append(f"{format_seconds(left)} left")
    return "  ".join(words)
