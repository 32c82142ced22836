"""Ask the two workers of the app: processes that keep torch loaded, which the app itself never imports.

One worker makes plans. The other does what takes longer, such as plans for a measured time. The server has one pair for all pages.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import streamlit as st

from app.inputs import imports_allowed
from nes_lab.progress_bar import event_text
from nes_lab.worker.client import Waiting, Worker

__all__ = ["ask_worker", "postpone_start", "start_when_quiet", "stop_workers"]

Kind = Literal["plans", "jobs"]

SECONDS_UNTIL_SHOWN = 0.4
"""Time after which a page says that it waits for an answer, in seconds. A faster answer changes nothing on the page."""

SECONDS_OF_QUIET = 3.0
"""Time without a page being drawn after which the workers of a new server start, in seconds. Loading torch would slow the pages down."""

_LOCK = threading.Lock()
_WORKERS: dict[Kind, Worker] = {}
_TIMERS: list[threading.Timer] = []
"""The timer that starts the workers, while it waits."""


def start_when_quiet() -> None:
    """Start both workers as soon as no page was drawn for :data:`SECONDS_OF_QUIET`. A question starts its worker at once."""
    with _LOCK:
        _set_timer()


def postpone_start() -> None:
    """Say that a page is being drawn: workers that wait for quiet wait longer. If they have started, do nothing."""
    with _LOCK:
        if _TIMERS:
            _TIMERS.pop().cancel()
            _set_timer()


def stop_workers() -> None:
    """End both workers."""
    with _LOCK:
        while _TIMERS:
            _TIMERS.pop().cancel()
        while _WORKERS:
            _WORKERS.popitem()[1].close()


def _set_timer() -> None:
    timer = threading.Timer(SECONDS_OF_QUIET, _start)
    timer.daemon = True
    _TIMERS.append(timer)
    timer.start()


def _start() -> None:
    """Start both workers. They load torch in the background."""
    with _LOCK:
        _TIMERS.clear()
    for kind in ("plans", "jobs"):
        _shared(kind).start()


def ask_worker(
    kind: Kind,
    question: str,
    arguments: Mapping[str, Any],
    *,
    text: str,
    seconds: float = 180.0,
    own_code: bool = False,
) -> Any:
    """Ask a worker, and show on the page that it works if the answer takes longer than a moment.

    If the user changes something on the page meanwhile, the question is cancelled and the page is drawn again.

    Args:
        kind: The worker: ``"plans"`` or ``"jobs"``.
        question: Name of the question.
        arguments: Arguments of the question, as data for JSON.
        text: What the worker does, to show while it works, such as ``"Planning"``.
        seconds: Time that the work may take.
        own_code: True if the work imports code of the user, which may have changed since the last question. It is done by a new
            worker then.

    Raises:
        Refusal: If the question is a user's mistake.
        WorkerError: If the worker fails or needs too long.
    """
    place = st.empty()

    def show(state: Waiting) -> None:
        # each call of streamlit is a moment at which an edit on the page can end this question
        if state.seconds < SECONDS_UNTIL_SHOWN:
            place.empty()
        else:
            place.caption(f":material/hourglass: {text}: {state.seconds:.0f} s{_doing(state)}")

    with _worker(kind, own_code) as worker:
        answer = worker.ask(question, arguments, seconds=seconds, waiting=show)
    place.empty()
    return answer


def _doing(state: Waiting) -> str:
    """Return the part of the work that a worker does at this moment, as the end of a line."""
    event = state.progress
    if event is None:
        return "" if state.is_worked_on else " · waiting for the worker"
    return f" · {event_text(event) if event['total'] > 1 else ' '.join([event['phase'], event['label']])}"


@contextmanager
def _worker(kind: Kind, own_code: bool) -> Iterator[Worker]:
    if not own_code:
        yield _shared(kind)
        return
    worker = Worker(kind, python_path=_python_path())
    try:
        yield worker
    finally:
        worker.close()


def _shared(kind: Kind) -> Worker:
    with _LOCK:
        if kind not in _WORKERS:
            _WORKERS[kind] = Worker(kind, python_path=_python_path())
        return _WORKERS[kind]


def _python_path() -> tuple[str, ...]:
    return (os.getcwd(),) if imports_allowed() else ()
