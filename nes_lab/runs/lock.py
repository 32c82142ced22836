"""Lock a run, so that only one process can write to it.

The lock is a file lock. The operating system releases it when the process ends.

Tests: tests/runs/test_writer.py.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

from nes_lab.errors import RunError
from nes_lab.runs import layout, process
from nes_lab.runs.bundled import refuse_read_only
from nes_lab.runs.queue import why_no_lock

__all__ = ["Lock", "hold_lock", "lock", "unlock"]

PATIENCE_SECONDS = 5.0  # a killed process may be a zombie while its last threads still hold its files
_held: weakref.WeakSet[Lock] = weakref.WeakSet()


class Lock:
    """The lock of a run. It holds the handle of an open, locked file."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        _held.add(self)


def lock(folder: Path) -> Lock:
    """Take the lock of a run, so that no other process can write to it.

    Args:
        folder: Folder of the run.

    Returns:
        The lock; give it to :func:`unlock` to release it.

    Raises:
        RunError: If another process holds the lock, the run may only be read, or the file system has no file locks. The
            message names the pid of the other process.
    """
    refuse_read_only(folder.parent)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        handle = os.open(folder / layout.LOCK, flags, 0o644)
    except OSError as error:
        raise RunError(f"run {folder.name} cannot be locked: {error.strerror or error}") from error
    try:
        _take(handle, folder)
    except BaseException:
        os.close(handle)
        raise
    return Lock(handle)


def _take(handle: int, folder: Path) -> None:
    """Lock an open file, and write the id of this process and the name of this machine into it.

    If another process holds the lock and is just ending, wait for its end, but at most five seconds.

    Raises:
        RunError: If another process holds the lock.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while not _try(handle, folder):
        holder, _, host = os.pread(handle, 300, 0).decode(errors="replace").strip().partition(" ")
        is_far = bool(host) and host != socket.gethostname()
        dying = holder.isdecimal() and not is_far and process.is_gone(int(holder))
        if not dying or time.monotonic() > end:
            who = (holder or "unknown") + (f" on {host}" if is_far else "")
            raise RunError(f"run {folder.name} is locked by pid {who}: another process is writing to it")
        time.sleep(0.02)
    with contextlib.suppress(OSError):  # on a full disk the lock still works; only the pid is missing in the message
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)


def _try(handle: int, folder: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise RunError(f"run {folder.name} cannot be locked: {why_no_lock(error)}") from error
    return True


def unlock(held: Lock) -> None:
    """Release the lock of a run, so that another process can write to it."""
    if held.handle >= 0:
        os.close(held.handle)
        held.handle = -1


@contextlib.contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a run while the ``with`` block runs. Meanwhile no other process can write to the run.

    Raises:
        RunError: If another process holds the lock.
    """
    held = lock(folder)
    try:
        yield
    finally:
        unlock(held)


def _close_in_child() -> None:
    """Close the locks of runs in a forked process, such as a data loader's worker.

    A forked process must not keep a run locked after the training process has ended.
    """
    for held in list(_held):
        unlock(held)


os.register_at_fork(after_in_child=_close_in_child)
