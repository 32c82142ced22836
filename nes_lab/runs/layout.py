"""Name the files of a run, make and check the ids of runs, and find the folder of a run.

An id cannot name a folder outside the folder of all runs.

Tests: tests/runs/test_store.py.
"""

from __future__ import annotations

import os
import re
import stat
from datetime import UTC, datetime
from pathlib import Path

from nes_lab.errors import RunError, closest

__all__ = ["SCHEMA_VERSION", "check_id", "default_root", "is_run_id", "names", "new_id", "resolve"]

SCHEMA_VERSION = 1
RUN, CONFIG, STATUS, SUMMARY = "run.json", "config.json", "status.json", "summary.json"
METRICS, EVENTS, LOG, LOCK = "metrics.jsonl", "events.jsonl", "log.txt", "lock"
EXTENSIONS = "extensions.json"
CURVE = "curve.json"
PLAN, COST, REPORT = "plan.json", "cost.json", "report.html"
CANCEL, CLAIM = "cancel.json", "claim.json"
CHECKPOINTS, MANIFEST, LATEST = "checkpoints", "manifest.json", "latest.json"
SNAPSHOTS, START, QUEUE = "snapshots", "start", ".queue"
READ_ONLY = "READ-ONLY.txt"  # beside the runs of a folder that nothing may change

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def default_root() -> Path:
    """Return the default folder of all runs: ``$NES_LAB_HOME/runs``, or ``data/runs`` if that variable is not set."""
    home = os.environ.get("NES_LAB_HOME", "")
    return Path(home).expanduser() / "runs" if home else Path("data") / "runs"


def check_id(run_id: object) -> str:
    """Check that a run id is safe as the name of a folder, and return it.

    Raises:
        RunError: If the id is not safe. A safe id has 1 to 64 lower-case letters, digits and dashes, and does not begin
            with a dash.

    Examples:
        >>> check_id("20261122-101500-digits-3f9c")
        '20261122-101500-digits-3f9c'
    """
    if isinstance(run_id, str) and _ID.fullmatch(run_id):
        return run_id
    raise RunError(f"{_shown(run_id)} is not a run id: ids are 1 to 64 lower-case letters, digits and dashes")


def is_run_id(text: str) -> bool:
    """Return True if a text has the form of a run's id.

    Examples:
        >>> is_run_id("20261122-101500-digits-3f9c"), is_run_id("/tmp/net")
        (True, False)
    """
    return _ID.fullmatch(text) is not None


def new_id(label: str) -> str:
    """Return a new run id: date and time (UTC), a readable part of the run's label, and six random hex digits."""
    slug = re.sub(r"[^a-z0-9]+", "-", label.lower()[:200]).strip("-")[:24].strip("-") or "run"
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{slug}-{os.urandom(3).hex()}"


def resolve(root: Path, run_id: object) -> Path:
    """Return the folder of an existing run.

    Args:
        root: The folder of all runs.
        run_id: Id of the run.

    Raises:
        RunError: If the id is not valid, the run does not exist, or the folder is a link. The message suggests similar
            ids.
    """
    path = root / check_id(run_id)
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError as error:
        near = closest(run_id, names(root))
        raise RunError(f"there is no run {run_id!r} in {root}.{near or ' nes-lab runs lists them.'}") from error
    except OSError as error:
        raise RunError(f"run {run_id!r} cannot be opened: {error.strerror or error}") from error
    if not stat.S_ISDIR(mode):
        raise RunError(f"run {run_id!r} is refused: {path} is not a folder, but a link or a file")
    return path


def names(root: Path) -> list[str]:
    """Return the ids of all runs. Each subfolder of ``root`` whose name is a valid id is a run.

    Args:
        root: The folder of all runs.

    Raises:
        RunError: If the folder of all runs cannot be read.
    """
    try:
        with os.scandir(root) as entries:
            return [item.name for item in entries if _ID.fullmatch(item.name) and item.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"the run root {root} cannot be read: {error.strerror or error}") from error


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
