"""Start the detached processes: one that trains a run, and one that keeps the queue moving while runs wait."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from nes_lab.errors import RunError
from nes_lab.runs import layout
from nes_lab.runs.files import read_json, rotate

__all__ = ["end_python", "reap", "start_queue_runner", "start_python", "start_worker"]

LOG_BYTES, LOG_KEEP = 1 << 20, 1 << 18
QUEUE_RUNNER_LOCK, QUEUE_RUNNER_LOG = "keeper.lock", "keeper.txt"
_children: list[subprocess.Popen[bytes]] = []


def start_worker(root: Path, run: Path) -> int:
    """Start the process that trains a run, where the run was created (its paths may be relative), and return its pid.

    Raises:
        OSError: If there is no process to be had, or no log.
    """
    rotate(run / layout.LOG, LOG_BYTES, LOG_KEEP)
    words = ["-m", "nes_lab.cli", "_run", run.name, "--root", str(root)]
    return _start(words, run / layout.LOG, cwd=_birthplace(run))


def start_queue_runner(root: Path) -> int | None:
    """Start the process that keeps the queue, unless one does. Call it while holding the queue.

    The lock that tells is taken here and inherited, so that there is no moment in which two could be started.

    Returns:
        Its pid, or None when there is one already.

    Raises:
        OSError: If it cannot be started.
    """
    folder = root / layout.QUEUE
    handle = os.open(folder / QUEUE_RUNNER_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        rotate(folder / QUEUE_RUNNER_LOG, LOG_BYTES, LOG_KEEP)
        return _start(
            ["-m", "nes_lab.runs.queue_runner", str(root), str(handle)], folder / QUEUE_RUNNER_LOG, keep=(handle,)
        )
    except BlockingIOError:
        return None
    finally:
        os.close(handle)


def reap() -> None:
    """Collect started processes that have ended, so that none stays behind as a zombie of a long-lived app."""
    _children[:] = [child for child in _children if child.poll() is None]


def start_python(
    words: list[str],
    log: Path | None,
    *,
    keep: tuple[int, ...] = (),
    cwd: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start this Python with this package, in a session of its own: no terminal's Ctrl-C reaches it.

    Args:
        words: What follows the interpreter's name.
        log: File that its output is added to; None: where the output of this process goes.
        keep: Open files that it inherits.
        cwd: Folder it works in; None: this one.
        environment: Variables of its own, beside those of this process.

    Raises:
        OSError: If there is no process to be had, or no log.
    """
    whole = os.environ | {"PYTHONUNBUFFERED": "1"} | dict(environment or {})
    package_root = str(Path(__file__).resolve().parents[2])
    whole["PYTHONPATH"] = os.pathsep.join([package_root, *filter(None, [whole.get("PYTHONPATH")])])
    with contextlib.ExitStack() as stack:
        output: int | None = None
        if log is not None:
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
            stack.callback(os.close, output)
        return subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            start_new_session=True,
            env=whole,
            pass_fds=keep,
            cwd=cwd,
        )


def end_python(child: subprocess.Popen[bytes], patience: float) -> None:
    """End a process if it is still there: with a checkpoint if it writes one within ``patience`` seconds, in any case at last."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            child.kill()
    child.wait()


def _start(words: list[str], log: Path, keep: tuple[int, ...] = (), cwd: str | None = None) -> int:
    child = start_python(words, log, keep=keep, cwd=cwd)
    _children.append(child)
    return child.pid


def _birthplace(run: Path) -> str | None:
    """Return the folder a run was created in, if it is still there; whoever starts it may stand elsewhere."""
    with contextlib.suppress(FileNotFoundError, RunError):
        place = read_json(run / layout.RUN).get("cwd")
        if isinstance(place, str) and os.path.isabs(place) and os.path.isdir(place):
            return place
    return None
