"""Progress of long work: one event, one callback, one estimate of the time left, and a bar on standard error.

The bar redraws only when the work reports progress, so it takes no time from code that is being timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NotRequired, TypedDict

from nes_lab.errors import OptionError

__all__ = ["RECENT_ROWS", "OnProgress", "ProgressEvent", "check_progress", "progress_reporter", "seconds_left"]

RECENT_ROWS = 30
"""The pace is that of the latest rows: a training that slowed down is judged by how fast it is now."""


class ProgressEvent(TypedDict):
    """How far a piece of long work is.

    Attributes:
        phase: What is being done now, such as ``"layers"`` or ``"training"``.
        done: Units of work that are complete; a fraction where parts of a unit count.
        total: Units of work in this phase.
        label: The unit at work, such as a layer's name; may be empty.
        epoch, epochs: Epochs done and planned, in a training.
        loss, top1: Latest training loss, and validation accuracy in percent.
        images_per_s: Images per second.
        seconds_left: Estimated seconds to the end.
        running: Completed share (0 to 1) by name of the runs that train now, where several train at once.
        finished: Number of runs that have ended, where several train.
    """

    phase: str
    done: float
    total: int
    label: str
    epoch: NotRequired[float]
    epochs: NotRequired[int]
    loss: NotRequired[float | None]
    top1: NotRequired[float | None]
    images_per_s: NotRequired[float | None]
    seconds_left: NotRequired[float | None]
    running: NotRequired[Mapping[str, float]]
    finished: NotRequired[int]


OnProgress = Callable[[ProgressEvent], object]
"""A function that is called with each :class:`ProgressEvent`."""


def check_progress(progress: object, on_progress: object) -> None:
    """Refuse a ``progress`` that is not a bool, or an ``on_progress`` that cannot be called.

    Raises:
        OptionError: Names the argument and what would be right.

    Examples:
        >>> check_progress(True, None)
    """
    if not isinstance(progress, bool):
        raise OptionError(
            f"progress={progress!r}; give True for a bar on standard error, or a function as on_progress="
        )
    if on_progress is not None and not callable(on_progress):
        raise OptionError(f"on_progress={on_progress!r}; give a function that takes one ProgressEvent")


@contextmanager
def progress_reporter(
    progress: bool = False, on_progress: OnProgress | None = None, what: str = "tuning"
) -> Iterator[OnProgress]:
    """Yield the function that long work calls with each event.

    Args:
        progress: Show a bar on standard error.
        on_progress: Also called with each event; None: nobody is.
        what: Name of the work, shown before the phase.

    Examples:
        >>> with progress_reporter(on_progress=lambda event: print(event["label"])) as report:
        ...     report({"done": 1, "total": 2, "phase": "layers", "label": "conv1"})
        conv1
    """
    check_progress(progress, on_progress)
    with _bar(what) if progress else _no_bar() as show:

        def report(event: ProgressEvent) -> None:
            show(event)
            if on_progress is not None:
                on_progress(event)

        yield report


@contextmanager
def _no_bar() -> Iterator[OnProgress]:
    yield lambda event: None


@contextmanager
def _bar(what: str) -> Iterator[OnProgress]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(f"{what} {{task.fields[phase]}}"), BarColumn(), TimeElapsedColumn())
    label = TextColumn("{task.fields[label]}")
    # auto_refresh=False: a thread that redraws the bar would take time from what is timed
    with Progress(*columns, label, console=Console(stderr=True), auto_refresh=False) as bars:
        task = bars.add_task(what, phase="", label="")
        yield lambda event: bars.update(
            task,
            completed=event["done"],
            total=event["total"],
            phase=event["phase"],
            label=event["label"],
            refresh=True,
        )


def seconds_left(
    rows: Sequence[Mapping[str, Any]], total: int, *, attempt: int | None = None, now: float | None = None
) -> float | None:
    """Estimate the seconds until the last step, at the pace of the latest rows.

    Args:
        rows: Rows of metrics in order of steps, with ``step``, ``time`` (seconds since 1970) and ``attempt``.
        total: Steps in all.
        attempt: Rows of other attempts are left out; None: the latest attempt among the rows.
        now: Present time in seconds since 1970; None: the clock's.

    Returns:
        Seconds, at least 0; None while there is no pace yet.

    Examples:
        >>> seconds_left([{"step": 10, "time": 100.0}, {"step": 20, "time": 110.0}], 50, now=112.0)
        28.0
    """
    timed = [row for row in rows if _is_number(row.get("time")) and _is_number(row.get("step"))]
    if attempt is None:
        attempt = max((row.get("attempt") or 0 for row in timed), default=0)
    recent = [row for row in timed if (row.get("attempt") or 0) == attempt][-RECENT_ROWS:]
    if len(recent) < 2 or total <= 0:
        return None
    first, last = recent[0], recent[-1]
    steps, seconds = last["step"] - first["step"], last["time"] - first["time"]
    if steps <= 0 or seconds < 0:  # a negative duration means the clock was set back
        return None
    end = last["time"] + seconds / steps * (total - last["step"])
    return max(0.0, end - (time.time() if now is None else now))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
