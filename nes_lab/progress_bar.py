"""Show the progress of a long computation as a bar on standard error, and estimate the time left.

The progress can also be passed to a function.

The bar is redrawn only when the computation reports progress.

Tests: tests/runs/test_run_progress.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NotRequired, TypedDict

from nes_lab.errors import OptionError

__all__ = [
    "RECENT_ROWS",
    "OnProgress",
    "ProgressEvent",
    "check_progress",
    "event_text",
    "progress_reporter",
    "report_phase",
    "seconds_left",
]

RECENT_ROWS = 30
"""Number of latest rows of metrics whose pace gives the time left, so that a training that slowed down is estimated well."""


class ProgressEvent(TypedDict):
    """Says how far a long computation has come. It is given to ``on_progress`` functions.

    Attributes:
        phase: Name of the present phase, such as ``"layers"`` or ``"training"``.
        done: Number of units of work done in this phase, such as layers or training steps. It may be a fraction.
        total: Number of units of work in this phase.
        label: Name of the unit in progress, such as a layer's name; may be empty.
        epoch, epochs: Number of epochs done, and number of all epochs. Given only while a network is trained.
        loss, top1: Latest training loss, and latest validation accuracy in percent.
        images_per_s: Training speed in images per second.
        seconds_left: Estimated seconds until the end; None if there is no estimate yet.
        running: How much of each run is done, from 0 to 1, by the run's name. Given only if several runs train at the
            same time.
        finished: Number of runs that have ended. Given only if several runs train at the same time.
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


def event_text(event: ProgressEvent) -> str:
    """Return a progress event as text: the phase, how much of it is done, and the unit in progress.

    Examples:
        >>> event_text({"phase": "fit", "done": 3, "total": 20, "label": "conv1"})
        'fit 3 of 20, conv1'
    """
    return ", ".join(filter(None, [f"{event['phase']} {event['done']:g} of {event['total']}", event["label"]]))


OnProgress = Callable[[ProgressEvent], object]
"""A function that long work calls with each :class:`ProgressEvent`."""


def report_phase(on_progress: OnProgress | None, phase: str, done: int, total: int) -> None:
    """Call a function with the phase of the work that begins, if there is such a function.

    Args:
        on_progress: The function; None: nobody is told.
        phase: What is done now, such as ``"tracing"``.
        done: Number of phases that are over.
        total: Number of all phases.

    Examples:
        >>> report_phase(lambda event: print(event_text(event)), "tracing", 1, 3)
        tracing 1 of 3
    """
    if on_progress is not None:
        on_progress({"phase": phase, "done": done, "total": total, "label": ""})


def check_progress(progress: object, on_progress: object) -> None:
    """Check that ``progress`` is a bool and that ``on_progress`` is a function or None. The values in the example are right.

    Raises:
        OptionError: If ``progress`` or ``on_progress`` is something else; the message says which values are right.

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
    """Yield a function that a long computation calls to report its progress.

    The function takes one argument, a :class:`ProgressEvent`.

    Args:
        progress: Whether to show a progress bar on standard error.
        on_progress: Function that is called with each event. None means that no function is called.
        what: Name of the computation, shown beside the bar.

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
    # auto_refresh=False, because a thread that redraws the bar would slow down the code that is timed
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
    """Estimate the seconds until the last step of a training, from the speed of its latest steps.

    Args:
        rows: Rows of metrics in order of steps. Each has the entries ``step`` and ``time`` (in seconds since 1970). It may
            have the entry ``attempt``: 1 before the run was resumed, 2 after the first resume, and so on.
        total: Number of all training steps.
        attempt: Use only the rows with this ``attempt``. None means the latest attempt.
        now: Present time in seconds since 1970; None reads the clock.

    Returns:
        Seconds, at least 0; None if there are too few rows for an estimate.

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
