"""The worker's side: accept questions, answer them one after another, and stop work that nobody waits for.

- Each question has a connection of its own. While it waits or is worked on, the worker sends a short message several times a second,
  so that the asker knows that the worker lives.
- A closed connection cancels its question. If the work does not stop within :data:`SECONDS_TO_STOP`, the worker ends itself; the asker
  of the next question starts a new one.
- The worker ends when its standard input is closed, which happens when the process that started it ends, for whatever reason.

Tests: tests/worker/test_client.py.
"""

from __future__ import annotations

import os
import queue
import select
import shutil
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nes_lab.errors import NesLabError
from nes_lab.progress_bar import OnProgress, ProgressEvent
from nes_lab.records.counts import Counts
from nes_lab.worker.messages import LineReader, is_own_user, send

__all__ = ["Answerer", "Stopped", "Task", "serve"]

SECONDS_BETWEEN_SIGNS = 0.2
"""Time between two messages that say that the worker lives, in seconds."""

SECONDS_TO_STOP = 5.0
"""Time that cancelled work may take to stop, in seconds. After it, the worker ends itself."""

Answerer = Callable[[Mapping[str, Any], OnProgress], Any]
"""A function that answers one kind of question: from its arguments and an ``on_progress`` function to a value for JSON."""


class Stopped(Exception):
    """Raised inside the work on a question that was cancelled."""


class Task:
    """A question that waits for its answer or is being worked on."""

    def __init__(self, question: str, arguments: Mapping[str, Any]) -> None:
        self.question = question
        self.arguments = arguments
        self.began: float | None = None
        self.progress: ProgressEvent | None = None
        self.answer: dict[str, Any] | None = None
        self.done = threading.Event()
        self.cancelled = threading.Event()

    def report(self, event: ProgressEvent) -> None:
        """Keep the newest progress of the work. Raise ``Stopped`` if the question was cancelled."""
        if self.cancelled.is_set():
            raise Stopped
        self.progress = event

    def sign(self) -> dict[str, Any]:
        """Return the message that says how far the work is."""
        working = None if self.began is None else time.monotonic() - self.began
        return {"working": working, "progress": self.progress}


def serve(path: Path, answerers: Callable[[], Mapping[str, Answerer]]) -> None:
    """Answer questions until standard input is closed. This function does not return.

    Args:
        path: Path of the Unix socket to listen on. Its folder must belong to this user alone; it is removed at the end.
        answerers: Function that imports what the work needs and returns one function per kind of question. It runs after the socket is
            open, so that questions can wait for it.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(64)
    tasks: queue.Queue[Task] = queue.Queue()
    threading.Thread(target=_end_with_parent, args=(path.parent,), daemon=True).start()
    threading.Thread(target=_accept, args=(listener, tasks), daemon=True).start()
    known = answerers()
    while True:
        _work(tasks.get(), known)


def _end_with_parent(folder: Path) -> None:
    """Wait until standard input is closed, then remove the socket's folder and end this process."""
    with suppress(OSError):
        while os.read(sys.stdin.fileno(), 1024):
            pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _accept(listener: socket.socket, tasks: queue.Queue[Task]) -> None:
    while True:
        connection, _ = listener.accept()
        if is_own_user(connection):
            threading.Thread(target=_attend, args=(connection, tasks), daemon=True).start()
        else:
            connection.close()


def _attend(connection: socket.socket, tasks: queue.Queue[Task]) -> None:
    """Read one question, queue it, and send signs of life until its answer can be sent."""
    with connection, suppress(OSError, ValueError):
        connection.settimeout(30)
        message = LineReader(connection).read()
        if message is None:
            return
        task = Task(str(message.get("question")), message.get("arguments") or {})
        tasks.put(task)
        try:
            while not task.done.wait(SECONDS_BETWEEN_SIGNS):
                if select.select([connection], [], [], 0)[
                    0
                ]:  # the asker sends nothing more: this is the end of its side
                    return
                send(connection, task.sign())
            assert task.answer is not None  # _work sets it before done
            send(connection, task.answer)
        finally:
            _cancel(task)


def _cancel(task: Task) -> None:
    """Stop the work on a question whose asker is gone. End this process if the work does not stop."""
    task.cancelled.set()
    if task.began is not None and not task.done.wait(SECONDS_TO_STOP):
        _log(f"{task.question}: did not stop within {SECONDS_TO_STOP} s of its cancellation\n")
        os._exit(75)


def _work(task: Task, known: Mapping[str, Answerer]) -> None:
    if task.cancelled.is_set():
        return
    task.began = time.monotonic()
    try:
        if task.question not in known:
            raise ValueError(f"question {task.question!r} is not known; known are {', '.join(known)}")
        task.answer = {"value": known[task.question](task.arguments, task.report)}
    except Stopped:
        task.answer = {"stopped": True}
    except NesLabError as error:
        counts = {name: _data(getattr(error, name, None)) for name in ("least", "dense")}
        task.answer = {"refused": {"kind": type(error).__name__, "message": str(error), **counts}}
    except Exception as error:  # noqa: BLE001 - the worker must answer the next question, whatever happened to this one
        text = "".join(traceback.format_exception(error))[-20_000:]
        _log(text)
        task.answer = {"crashed": text}
    task.done.set()


def _log(text: str) -> None:
    """Write to the worker's log file, which is its standard error."""
    sys.stderr.write(text)
    sys.stderr.flush()


def _data(counts: Counts | None) -> dict[str, int] | None:
    return None if counts is None else asdict(counts)
