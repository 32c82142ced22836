"""Put a run that was queued to continue back into the state that it had before, because it was refused before it began.

Queuing a run keeps its former status in ``status.json``, so that a refusal changes nothing.

Tests: tests/runs/test_put_back.py.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from nes_lab.errors import RunError
from nes_lab.runs import layout
from nes_lab.runs.extensions import drop_extension
from nes_lab.runs.files import read_json, remove, write_json
from nes_lab.runs.info import RunInfo, is_cancel_requested
from nes_lab.runs.lock import hold_lock
from nes_lab.runs.states import ACTIVE_STATES, FINAL_STATES
from nes_lab.runs.store import RunStore

__all__ = ["drop_requests", "explain_refusal", "former_status", "put_back", "queued_status", "refusal_of"]

REFUSED = "not continued: "
MOST_REASON = 2000


def queued_status(info: RunInfo, former: dict[str, Any], **about: Any) -> dict[str, Any]:
    """Return the status of a run that waits to be continued. It contains the former status.

    Args:
        info: The run.
        former: Content of the run's ``status.json``; empty if it cannot be read.
        about: Entries that replace those of the run, such as ``total``. ``extended=True`` says that the run was just extended.
    """
    status = {"state": "queued", "reason": "", "step": info.step, "total": info.total, "attempt": info.attempt}
    known = {"former": {key: value for key, value in former.items() if key != "former"}} if former else {}
    return status | about | known


def former_status(folder: Path) -> dict[str, Any]:
    """Return the content of a run's ``status.json``; empty if it cannot be read."""
    try:
        return read_json(folder / layout.STATUS)
    except (FileNotFoundError, RunError):
        return {}


def drop_requests(folder: Path, info: RunInfo) -> None:
    """Delete the files that would keep a run from continuing: a claim, and a request to stop that is not about the past."""
    remove(folder / layout.CLAIM)
    if is_cancel_requested(folder, info.attempt + 1):
        remove(folder / layout.CANCEL)


def put_back(store: RunStore, run_id: str) -> bool:
    """Give a queued run the status that it had before it was queued. An extension that did not start is taken back.

    Returns:
        True if the status was put back. False if the run is not queued, was queued for its first start, or is locked.
    """
    folder = store.path(run_id)
    try:
        with hold_lock(folder):
            status = read_json(folder / layout.STATUS)
            former = status.get("former")
            if status.get("state") != "queued" or not isinstance(former, dict):
                return False
            if status.get("extended"):
                drop_extension(folder)
            write_json(folder / layout.STATUS, former)
            return True
    except (RunError, FileNotFoundError):
        return False


def explain_refusal(store: RunStore, run_id: str, reason: str) -> None:
    """Say in the status of a run why it was not continued. A process in the background has no other way to tell the user.

    The run keeps its state. A run whose process had died becomes ``failed``, because it says nothing of its own.
    """
    folder = store.path(run_id)
    with contextlib.suppress(RunError, FileNotFoundError), hold_lock(folder):
        status = read_json(folder / layout.STATUS)
        if status.get("state") not in (*ACTIVE_STATES, *FINAL_STATES):
            return
        state = "failed" if status["state"] in ACTIVE_STATES else status["state"]
        before = str(status.get("reason") or "").split(REFUSED)[0].rstrip("; ")
        text = "; ".join(filter(None, [before, REFUSED + reason]))[:MOST_REASON]
        write_json(folder / layout.STATUS, status | {"state": state, "reason": text})


def refusal_of(info: RunInfo) -> str:
    """Return why a run was last not continued, as :func:`explain_refusal` wrote it; empty if it was not refused.

    Examples:
        >>> refusal_of(RunInfo("a", state="cancelled", reason="SIGTERM received; not continued: the data has changed"))
        'the data has changed'
    """
    return info.reason.partition(REFUSED)[2]
