"""Keep the runs that wait to be trained, first in, first out.

Each waiting run has a ticket, which is an empty file in the folder of the queue. The file name contains the run's place
in the queue and the run's id. The tickets remain when the machine is restarted.

Tests: tests/runs/test_launcher.py.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

from nes_lab.errors import RunError
from nes_lab.runs import layout
from nes_lab.runs.bundled import refuse_read_only
from nes_lab.runs.files import remove

__all__ = ["drop_ticket", "hold_queue", "take_ticket", "tickets", "why_no_lock"]

_TICKET = re.compile(r"(\d{8})-([a-z0-9][a-z0-9-]{0,63})")


@contextlib.contextmanager
def hold_queue(root: Path, make: bool = True) -> Iterator[Path]:
    """Hold the lock of the queue of waiting runs while the ``with`` block runs, and yield the folder of the queue.

    Meanwhile no other process can change the queue or start a waiting run.

    Args:
        root: The folder of all runs.
        make: Whether to create the folder of the queue if there is none.

    Raises:
        RunError: If the queue cannot be written or locked, or the runs in the folder can only be read.
    """
    refuse_read_only(root)
    folder = root / layout.QUEUE
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / layout.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise RunError(f"the queue in {root} cannot be written: {error.strerror or error}") from error
    try:
        _flock(handle, root)
        yield folder
    finally:
        os.close(handle)


def _flock(handle: int, root: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        raise RunError(f"the queue in {root} cannot be locked: {why_no_lock(error)}") from error


def why_no_lock(error: OSError) -> str:
    """Return a text that explains why a file could not be locked, for example because the file system has no locks."""
    if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
        return "this file system has no locks (flock); set NES_LAB_HOME to a folder on a file system that has them"
    return error.strerror or str(error)


def tickets(root: Path) -> list[tuple[str, str]]:
    """Return the waiting runs in the order in which they will start.

    Each run is given by two texts: the name of its file in the folder of the queue, and its run id.

    Raises:
        RunError: If the folder of the queue cannot be read.
    """
    try:
        matches = (_TICKET.fullmatch(name) for name in os.listdir(root / layout.QUEUE))
        return sorted((match[0], match[2]) for match in matches if match)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(
            f"the queue in {root} cannot be read: {error.strerror or error}; set NES_LAB_HOME to a folder"
        ) from error


def take_ticket(root: Path, run_id: str) -> None:
    """Put a run at the end of the queue if it does not wait already.

    Call this function within :func:`hold_queue`, which locks the queue.
    """
    waiting = tickets(root)
    if run_id not in (waits for _, waits in waiting):
        number = int(waiting[-1][0][:8]) + 1 if waiting else 1
        (root / layout.QUEUE / f"{number:08d}-{run_id}").touch(exist_ok=False)


def drop_ticket(root: Path, run_id: str) -> None:
    """Remove a run from the queue if it waits. Call this function within :func:`hold_queue`, which locks the queue."""
    for ticket, waits in tickets(root):
        if waits == run_id:
            remove(root / layout.QUEUE / ticket)
