"""The one process that writes to a run: state, metrics, events, checkpoints."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from nes_lab.errors import RunError, check_choice
from nes_lab.runs import checkpoints, layout, process
from nes_lab.runs.files import (
    append_line,
    as_json,
    open_to_append,
    overwrite,
    read_json,
    rotate,
    write_bytes,
    write_json,
)
from nes_lab.runs.info import is_cancel_requested, read_run
from nes_lab.runs.lock import Lock, lock, unlock
from nes_lab.runs.states import ACTIVE_STATES, FINAL_STATES
from nes_lab.runs.store import RunStore

if TYPE_CHECKING:
    from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["RunWriter"]

LOG_BYTES, LOG_KEEP = 4 << 20, 1 << 20
WRITABLE = (*ACTIVE_STATES, *FINAL_STATES)


class RunWriter:
    """Write to a run, alone.

    Entering takes the lock, counts a new attempt and says ``running``; a thread keeps the heartbeat. Leaving through an
    exception says ``failed`` (``cancelled`` for Ctrl-C) with the reason, unless a final state was written before.

    Args:
        store: Where the run is.
        run_id: Which one.

    Raises:
        RunError: On entering, if another process writes to it (names its pid).

    Examples:
        >>> import tempfile
        >>> store = RunStore(tempfile.mkdtemp())
        >>> run_id = store.create({})
        >>> with RunWriter(store, run_id) as writer:
        ...     writer.metric(step=1, split="train", loss=0.5)
        ...     writer.status("finished", step=1, total=1)
        >>> store.get(run_id).state, store.metrics(run_id)[0]["loss"]
        ('finished', 0.5)
    """

    def __init__(self, store: RunStore, run_id: str) -> None:
        self.store, self.run_id = store, run_id
        self.folder = store.path(run_id)
        self.checkpoint_dir = self.folder / layout.CHECKPOINTS
        self.attempt = 0
        self._status: dict[str, Any] = {}
        self._guard = threading.RLock()
        self._closed = threading.Event()
        self._lock: Lock | None = None

    def __enter__(self) -> Self:
        read_run(self.folder)
        identity = process.Identity.of()
        self._lock = lock(self.folder)
        try:
            before = self._last_status()
            self.attempt = int(before.get("attempt") or 0) + 1
            self._metrics = open_to_append(self.folder / layout.METRICS)
            self._events = open_to_append(self.folder / layout.EVENTS)
            self._status = identity.to_dict() | {"attempt": self.attempt}
            self._status |= {"step": int(before.get("step") or 0), "total": int(before.get("total") or 0)}
            self.status("running")
            self.event("start" if self.attempt == 1 else "resume")
        except BaseException:
            unlock(self._lock)
            raise
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        checkpoints.drop_unfinished(self.folder, self.attempt)
        try:
            if self._status.get("state") not in FINAL_STATES:
                self._end_badly(error)
        finally:
            for handle in (self._metrics, self._events):
                with contextlib.suppress(OSError):
                    os.close(handle)
            if self._lock is not None:
                unlock(self._lock)

    def _end_badly(self, error: BaseException | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            self.status("cancelled", reason="interrupted")
        elif error is None:
            self.status("failed", reason="the process ended without saying how the run ended")
        else:
            self.status("failed", reason=f"{type(error).__name__}: {error}"[:2000])

    def _last_status(self) -> dict[str, Any]:
        """Read the status of the attempt before; a damaged one must not keep a run from being resumed."""
        try:
            found = read_json(self.folder / layout.STATUS)
        except (FileNotFoundError, RunError):
            found = {}
        if type(found.get("attempt")) is not int or found["attempt"] < 0:
            rows = self.store.events(self.run_id)
            found["attempt"] = max((row["attempt"] for row in rows if type(row.get("attempt")) is int), default=0)
        return {key: value for key, value in found.items() if type(value) is int and value >= 0}

    def status(self, state: str | None = None, *, step: int | None = None, total: int | None = None,
               reason: str = "") -> None:  # fmt: skip
        """Replace the run's status; what is not given stays.

        Args:
            state: running, stopping, finished, cancelled or failed.
            step: Training steps done.
            total: Training steps in all.
            reason: Why, for a person.
        """
        with self._guard:
            if state is not None:
                self._status["state"] = check_choice("state", state, WRITABLE)
                self._status["reason"] = reason
            if step is not None:
                self._status["step"] = int(step)
            if total is not None:
                self._status["total"] = int(total)
            self._write_status(durable=state is not None)
        if state in FINAL_STATES:
            with contextlib.suppress(RunError) if state == "failed" else contextlib.nullcontext():
                self.event(str(state), step=self._status["step"], reason=reason)

    def _write_status(self, durable: bool) -> None:
        """Replace the status; that a run failed is said even where the disk is too full for a second file."""
        path, content = self.folder / layout.STATUS, self._status | process.now()
        try:
            write_json(path, content, durable)
        except RunError:
            if self._status["state"] != "failed":
                raise
            with contextlib.suppress(OSError):  # if not, readers find the process gone
                overwrite(path, as_json(content))

    def heartbeat(self) -> None:
        """Say that the process lives. A thread does so too, every few seconds."""
        with self._guard:
            if self._status.get("state") not in FINAL_STATES:
                self.status()

    def _beat(self) -> None:
        while not self._closed.wait(process.HEARTBEAT_SECONDS):
            with contextlib.suppress(
                RunError, OSError
            ):  # a full disk must not end the training; the next beat may pass
                self.heartbeat()
                rotate(self.folder / layout.LOG, LOG_BYTES, LOG_KEEP)

    def metric(self, **row: Any) -> None:
        """Append one row of metrics: at least ``step`` and ``split``; attempt and time are added."""
        if type(row.get("step")) is not int:
            raise RunError(f"a row of metrics needs an integer step, not {row.get('step')!r}")
        append_line(self._metrics, row | {"attempt": self.attempt, "time": time.time()}, layout.METRICS)

    def event(self, kind: str, **about: Any) -> None:
        """Append one event, such as a checkpoint or a fallback."""
        append_line(self._events, {"kind": kind, **about, "attempt": self.attempt, "time": time.time()}, layout.EVENTS)

    def summary(self, **numbers: Any) -> None:
        """Add final numbers such as params, madds, top1; earlier ones stay unless named again.

        A number that is not finite is refused: a metric that failed is left out, never written as something else.
        """
        wrong = [name for name, value in numbers.items() if isinstance(value, float) and not math.isfinite(value)]
        if wrong:
            raise RunError(f"the summary cannot take {', '.join(wrong)}: not a finite number")
        path = self.folder / layout.SUMMARY
        try:
            before = read_json(path)
        except (FileNotFoundError, RunError):
            before = {}
        write_json(path, before | numbers)

    def plan_json(self, text: str) -> None:
        """Store the compression plan."""
        write_bytes(self.folder / layout.PLAN, text.encode())

    def cost(self, report: Mapping[str, Any]) -> None:
        """Store what the network costs."""
        write_json(self.folder / layout.COST, dict(report))

    def cancel_requested(self) -> bool:
        """Whether someone asked this attempt to stop; cheap enough to ask at every step."""
        return is_cancel_requested(self.folder, self.attempt)

    def checkpoint_paths(self, step: int) -> tuple[Path, Path]:
        """Return where to write the weights and the state of a step, before :meth:`commit_checkpoint`."""
        stem = f".saving-step-{step:08d}-a{self.attempt:02d}"
        return self.checkpoint_dir / f"{stem}.safetensors", self.checkpoint_dir / f"{stem}.state.pt"

    def commit_checkpoint(self, step: int, files: list[Path], keep: int = 2, top1: float | None = None) -> None:
        """Make written files the latest checkpoint, with hashes, and drop all but the last ``keep`` and the best.

        Args:
            step: Training steps done.
            files: The weights and the state, where :meth:`checkpoint_paths` says.
            keep: How many of the last ones stay.
            top1: Its validation top-1, if it was validated.
        """
        entry = checkpoints.commit(self.folder, step, self.attempt, files, keep, top1)
        self.event("checkpoint", step=step, bytes=sum(about["size"] for about in entry["files"].values()))

    def latest_checkpoint(self) -> checkpoints.Checkpoint | None:
        """Return the newest whole checkpoint, and record an event when newer ones were damaged.

        Raises:
            CheckpointError: If there were checkpoints and none is whole.
        """
        found = self.store.latest_checkpoint(self.run_id)
        if found is not None and found.note:
            self.event("checkpoint_fallback", step=found.step, reason=found.note)
        return found

    def snapshot(self, step: int, layers: Mapping[str, LayerSnapshot]) -> Path:
        """Store epitomes and starts of a moment; only the first and the latest one keep their epitomes."""
        from nes_lab.runs.snapshots import add_snapshot

        return add_snapshot(self.folder / layout.SNAPSHOTS, step, layers)
