"""Who may work on a run: a claim is a file that only one process can create, and void once its holder is gone."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from nes_lab.errors import RunError
from nes_lab.runs import layout, process
from nes_lab.runs.files import TEMPORARY, read_json, remove, write_json
from nes_lab.runs.states import ACTIVE_STATES

__all__ = ["adopt_claim", "give_claim", "is_claimed", "is_void", "release_claim", "try_claim"]

LEASE_SECONDS = 120.0  # how long a claim may wait for its process to say that it lives (imports take seconds)


def is_claimed(run: Path) -> bool:
    """Whether a living process has claimed a run, or claimed it so recently that its process may still be starting."""
    try:
        claim = read_json(run / layout.CLAIM)
    except FileNotFoundError:
        return False
    except RunError:
        return False  # claims appear whole; a damaged one has no holder
    holder = process.Identity.read(claim)
    if holder is None:
        return False
    if not process.is_near(holder):
        return _is_claimed_far_away(run, claim, holder)
    if not process.is_alive(holder):
        return False
    return bool(claim.get("started")) or process.silence(claim, holder) < LEASE_SECONDS


def _is_claimed_far_away(run: Path, claim: dict[str, Any], holder: process.Identity) -> bool:
    """Of another machine's process only its signs of life are known: the claim at first, then the run's heartbeat."""
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
    """Whether a run was claimed by a process that is gone."""
    return (run / layout.CLAIM).exists() and not is_claimed(run)


def try_claim(run: Path) -> bool:
    """Claim a run for the process about to be started. Call it while holding the queue.

    Raises:
        RunError: If the run cannot be written to, or was deleted at this moment.
    """
    if is_claimed(run):
        return False
    remove(run / layout.CLAIM)
    fresh = run / f"{TEMPORARY}claim-{os.getpid()}-{time.monotonic_ns()}"
    write_json(fresh, process.Identity.of().to_dict() | process.now() | {"started": False})
    try:
        os.link(fresh, run / layout.CLAIM)  # fails if another made it, as O_EXCL does, and is whole from the start
    except FileExistsError:
        return False
    except OSError as error:
        raise RunError(f"run {run.name} cannot be claimed: {error.strerror or error}") from error
    finally:
        remove(fresh)
    return True


def give_claim(run: Path, pid: int) -> None:
    """Hand a claim to the process that was started for it, unless that one has taken it over by itself."""
    with contextlib.suppress(RunError, FileNotFoundError):
        claim = read_json(run / layout.CLAIM)
        if process.is_me(process.Identity.read(claim)) and pid != os.getpid():
            write_json(run / layout.CLAIM, process.Identity.of(pid).to_dict() | process.now() | {"started": True})


def adopt_claim(run: Path) -> None:
    """Say, as the first act of a started process, that the claim is its own.

    Raises:
        RunError: If another living process has started on this run.
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
    """Give up this process's claim, so that the next run may start."""
    with contextlib.suppress(RunError, FileNotFoundError):
        if process.is_me(process.Identity.read(read_json(run / layout.CLAIM))):
            remove(run / layout.CLAIM)
