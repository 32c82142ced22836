"""Who may work on a run: a claim is a file that only one process can create, and void once its holder is gone."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from nes_lab.errors import RunError
from nes_lab.runs import layout, process
from nes_lab.runs.files import TEMPORARY, read_json, remove, write_json

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
    if holder is None or not process.is_alive(holder):
        return False
    return bool(claim.get("started")) or process.silence(claim, holder) < LEASE_SECONDS


def is_void(run: Path) -> bool:
    """Whether a run was claimed by a process that is gone."""
    return (run / layout.CLAIM).exists() and not is_claimed(run)


def try_claim(run: Path) -> bool:
    """Claim a run for the process about to be started. Call it while holding the queue."""
    if is_claimed(run):
        return False
    remove(run / layout.CLAIM)
    fresh = run / f"{TEMPORARY}claim-{os.getpid()}-{time.monotonic_ns()}"
    write_json(fresh, process.Identity.of().to_dict() | process.now() | {"started": False})
    try:
        os.link(fresh, run / layout.CLAIM)  # fails if another made it, as O_EXCL does, and is whole from the start
    except FileExistsError:
        return False
    finally:
        remove(fresh)
    return True


def give_claim(run: Path, pid: int) -> None:
    """Hand a claim to the process that was started for it, unless that one has taken it over by itself."""
    with contextlib.suppress(RunError, FileNotFoundError):
        claim = read_json(run / layout.CLAIM)
        if claim.get("pid") == os.getpid() != pid:
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
    if claim.get("started") and holder is not None and holder.pid != os.getpid() and process.is_alive(holder):
        raise RunError(f"run {run.name} is being worked on by pid {holder.pid}")
    write_json(run / layout.CLAIM, process.Identity.of().to_dict() | process.now() | {"started": True})


def release_claim(run: Path) -> None:
    """Give up this process's claim, so that the next run may start."""
    with contextlib.suppress(RunError, FileNotFoundError):
        if read_json(run / layout.CLAIM).get("pid") == os.getpid():
            remove(run / layout.CLAIM)
