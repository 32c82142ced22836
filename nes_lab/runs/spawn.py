"""Start processes that continue when the calling process ends, and end them.

These are training processes and the queue runner, which starts waiting runs.

Tests: tests/runs/test_launcher.py.
"""

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
from nes_lab.runs.allocator import allocator_settings
from nes_lab.runs.files import read_json, rotate

__all__ = ["end_python", "reap", "start_detached", "start_queue_runner", "start_python", "start_worker"]

LOG_BYTES, LOG_KEEP = 1 << 20, 1 << 18
QUEUE_RUNNER_LOCK, QUEUE_RUNNER_LOG = "keeper.lock", "keeper.txt"
_children: list[subprocess.Popen[bytes]] = []


def start_worker(root: Path, run: Path) -> int:
    """Start the process that trains a run, and return its pid.

    The process works in the folder from which the run was created.

    Args:
        root: The folder of all runs.
        run: Folder of the run.

    Raises:
        OSError: If the process cannot be started, or its log cannot be opened.
    """
    rotate(run / layout.LOG, LOG_BYTES, LOG_KEEP)
    words = ["-m", "nes_lab.cli", "_run", run.name, "--root", str(root)]
    # Relative paths in the run's configuration refer to the folder from which the run was created.
    return _start(words, run / layout.LOG, cwd=_birthplace(run), environment=allocator_settings())


def start_queue_runner(root: Path) -> int | None:
    """Start the queue runner if there is none. The queue runner is the process that starts waiting runs.

    Call this function within :func:`nes_lab.runs.queue.hold_queue`, which locks the queue. There is never more than one
    queue runner.

    Args:
        root: The folder of all runs.

    Returns:
        The pid of the new queue runner, or None if there was one already.

    Raises:
        OSError: If the queue runner cannot be started.
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
    """Collect the exit status of the processes that were started here and have ended.

    A process that has ended remains as a zombie until its exit status is collected.
    """
    _children[:] = [child for child in _children if child.poll() is None]


def start_python(
    words: list[str],
    log: Path | None,
    *,
    keep: tuple[int, ...] = (),
    cwd: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a Python process that can import ``nes_lab``. Ctrl-C in the terminal does not reach it.

    Args:
        words: Arguments of the Python interpreter.
        log: File to which the output of the process is appended. None means that the process prints where the calling
            process prints.
        keep: Handles of open files that the process inherits.
        cwd: Working folder of the process; None means the working folder of the calling process.
        environment: Environment variables to add to those of the calling process. None adds none.

    Raises:
        OSError: If the process cannot be started, or its log cannot be opened.
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


def start_detached(words: list[str], log: Path, environment: Mapping[str, str] | None = None) -> int:
    """Start a Python process that lives on when the calling process ends, and return its pid.

    Args:
        words: Arguments of the Python interpreter.
        log: File to which its output is appended. A long log is shortened first.
        environment: Environment variables to add to those of the calling process.

    Raises:
        OSError: If the process cannot be started, or its log cannot be opened.
    """
    rotate(log, LOG_BYTES, LOG_KEEP)
    child = start_python(words, log, environment=environment)
    _children.append(child)
    return child.pid


def end_python(child: subprocess.Popen[bytes], patience: float) -> None:
    """End a process by SIGTERM. If it still runs after ``patience`` seconds, kill it."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            child.kill()
    child.wait()


def _start(
    words: list[str],
    log: Path,
    keep: tuple[int, ...] = (),
    cwd: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> int:
    child = start_python(words, log, keep=keep, cwd=cwd, environment=environment)
    _children.append(child)
    return child.pid


def _birthplace(run: Path) -> str | None:
    """Return the working folder in which a run was created; None if the folder is not known or no longer exists."""
    with contextlib.suppress(FileNotFoundError, RunError):
        place = read_json(run / layout.RUN).get("cwd")
        if isinstance(place, str) and os.path.isabs(place) and os.path.isdir(place):
            return place
    return None
