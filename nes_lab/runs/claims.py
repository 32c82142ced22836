"""Reserve a run for the one process that trains it or is about to train it.

A claim is a file in the folder of the run. The file names one process. Only one process can create the file. The claim
is no longer valid when the named process has ended.

Tests: tests/runs/test_queue_runner.py.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from nes_lab.errors import RunError
from nes_lab.runs import layout, process
from nes_lab.runs.files import read_json, remove, write_json
from nes_lab.runs.replace import TEMPORARY
from nes_lab.runs.states import ACTIVE_STATES

__all__ = ["adopt_claim", "give_claim", "is_claimed", "is_void", "release_claim", "try_claim"]

LEASE_SECONDS = 120.0  # how long a claim is valid before its process has started (imports take seconds)


def is_claimed(run: Path) -> bool:
    """Return whether a run is reserved by a valid claim file.

    A valid claim file names a living process that trains the run or is about to train it. If the training has not
    started, the claim file is valid for two minutes after it was written.
    """
    try:
        claim = read_json(run / layout.CLAIM)
    except FileNotFoundError:
        return False
    except RunError:
        return False  # a claim is written in one step, so a damaged one has no holder
    holder = process.Identity.read(claim)
    if holder is None:
        return False
    if not process.is_near(holder):
        return _is_claimed_far_away(run, claim, holder)
    if not process.is_alive(holder):
        return False
    return bool(claim.get("started")) or process.silence(claim, holder) < LEASE_SECONDS


def _is_claimed_far_away(run: Path, claim: dict[str, Any], holder: process.Identity) -> bool:
    """Return whether a claim file that names a process on another machine is still valid.

    A claim file reserves a run for one process. It is valid for two minutes after it was written. Later it is valid as
    long as the process writes signs of life to the run's status file.
    """
    if process.silence(claim, holder) < LEASE_SECONDS:
        return True
    try:
        status = read_json(run / layout.STATUS)
    except (FileNotFoundError, RunError):
        return False
    writer = process.Identity.read(status)
    is_same = writer is not None and (writer.host, writer.pid) == (holder.host, holder.pid)
    return is_same and status.get("state") in ACTIVE_STATES and process.silence(status, holder) < process.FAR_SECONDS


def is_void(run: Path) -> bool:
    """Return whether a run has a claim file that is no longer valid.

    A claim file reserves the run for one process. It is no longer valid, for example, after the process that it names has ended.
    """
    return (run / layout.CLAIM).exists() and not is_claimed(run)


def try_claim(run: Path) -> bool:
    """Create the claim file of a run before its training process is started. The file names the calling process.

    Call this function within :func:`nes_lab.runs.queue.hold_queue`, which locks the queue of waiting runs.

    Returns:
        True if the file was created; False if another process has claimed the run.

    Raises:
        RunError: If the run's folder cannot be written to, or was just deleted.
    """
    if is_claimed(run):
        return False
    remove(run / layout.CLAIM)
    fresh = run / f"{TEMPORARY}claim-{os.getpid()}-{time.monotonic_ns()}"
    write_json(fresh, process.Identity.of().to_dict() | process.now() | {"started": False})
    try:
        os.link(fresh, run / layout.CLAIM)  # it fails if the claim exists, and the claim appears with all its content
    except FileExistsError:
        return False
    except OSError as error:
        raise RunError(f"run {run.name} cannot be claimed: {error.strerror or error}") from error
    finally:
        remove(fresh)
    return True


def give_claim(run: Path, pid: int) -> None:
    """Hand over the claim of the calling process on a run to the process ``pid``.

    A claim is a file that reserves the run for the process that it names. If the file does not name the calling process,
    nothing is changed.
    """
    with contextlib.suppress(RunError, FileNotFoundError):
        claim = read_json(run / layout.CLAIM)
        if process.is_me(process.Identity.read(claim)) and pid != os.getpid():
            write_json(run / layout.CLAIM, process.Identity.of(pid).to_dict() | process.now() | {"started": True})


def adopt_claim(run: Path) -> None:
    """Reserve a run for the calling process, by writing the process into the claim file of the run.

    Every training process calls this function first.

    Raises:
        RunError: If another living process works on this run.
    """
    try:
        claim = read_json(run / layout.CLAIM)
    except (FileNotFoundError, RunError):
        claim = {}
    holder = process.Identity.read(claim)
    if claim.get("started") and holder is not None and not process.is_me(holder) and is_claimed(run):
        where = "" if process.is_near(holder) else f" on {holder.host}"
        raise RunError(f"run {run.name} is being worked on by pid {holder.pid}{where}")
    write_json(run / layout.CLAIM, process.Identity.of().to_dict() | process.now() | {"started": True})


def release_claim(run: Path) -> None:
    """Give up the claim of the calling process on a run, so that the next waiting run can start.

    The claim file of the run is deleted if it names the calling process.
    """
    with contextlib.suppress(RunError, FileNotFoundError):
        if process.is_me(process.Identity.read(read_json(run / layout.CLAIM))):
            remove(run / layout.CLAIM)
