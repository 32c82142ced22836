"""Write the status, metrics, events, checkpoints and snapshots of a run. Only one process at a time can write to a run.

A snapshot holds the starts of all layers: the positions at which a layer reads its epitome.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from nes_lab.errors import RunError, check_choice
from nes_lab.runs import checkpoints, layout, process
from nes_lab.runs.checkpoint_score import Score
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
from nes_lab.runs.info import is_cancel_requested, read_info, read_run, refuse_finished
from nes_lab.runs.kept_curve import KeptCurve, read_curve
from nes_lab.runs.lock import Lock, lock, unlock
from nes_lab.runs.states import ACTIVE_STATES, FINAL_STATES
from nes_lab.runs.store import RunStore

if TYPE_CHECKING:
    from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["RunWriter"]

LOG_BYTES, LOG_KEEP = 4 << 20, 1 << 20
CURVE_SECONDS = {"val": 1.0, "train": 10.0}  # the kept curves are written at most this often
WRITABLE = (*ACTIVE_STATES, *FINAL_STATES)


class RunWriter:
    """Writes to a run as its only writer, within a ``with`` block.

    When the block begins, the run is locked and its state becomes ``running``. During the block, a sign of life is
    written every few seconds. If an exception ends the block, the state becomes ``failed``, and the exception is stored
    as the reason. After Ctrl-C the state becomes ``cancelled``. A final state that was already written does not change.

    Args:
        store: The store of the run.
        run_id: Id of the run.
        check: Function that is called when the run is locked and nothing is written yet. If it raises an error, the run stays as
            it was. None: nothing is checked.

    Raises:
        RunError: If another process already writes to the run; the message names the pid of that process. Also if the run is
            finished.

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

    def __init__(self, store: RunStore, run_id: str, check: Callable[[], object] | None = None) -> None:
        self.store, self.run_id, self.check = store, run_id, check
        self.folder = store.path(run_id)
        self.checkpoint_dir = self.folder / layout.CHECKPOINTS
        self.attempt = 0
        self._status: dict[str, Any] = {}
        self._curve, self._curve_written = KeptCurve(), 0.0
        self._guard = threading.RLock()
        self._closed = threading.Event()
        self._lock: Lock | None = None

    def __enter__(self) -> Self:
        read_run(self.folder)
        identity = process.Identity.of()
        self._lock = lock(self.folder)
        try:
            refuse_finished(read_info(self.folder))
            if self.check is not None:
                self.check()
            before = self._last_status()
            self.attempt = int(before.get("attempt") or 0) + 1
            self._metrics = open_to_append(self.folder / layout.METRICS)
            self._events = open_to_append(self.folder / layout.EVENTS)
            self._curve = read_curve(self.folder)
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
            self._write_curve()
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
            notes = "".join(f"; {note}" for note in getattr(error, "__notes__", ()))
            self.status("failed", reason=f"{type(error).__name__}: {error}{notes}"[:2000])

    def _last_status(self) -> dict[str, Any]:
        """Return the integers in the run's status file, such as the training step and the number of attempts.

        An attempt is a start or a resume of the run. If the file is damaged, the number of
        attempts is taken from the run's events.
        """
        try:
            status = read_json(self.folder / layout.STATUS)
        except (FileNotFoundError, RunError):
            status = {}
        if type(status.get("attempt")) is not int or status["attempt"] < 0:
            rows = self.store.events(self.run_id)
            status["attempt"] = max((row["attempt"] for row in rows if type(row.get("attempt")) is int), default=0)
        return {key: value for key, value in status.items() if type(value) is int and value >= 0}

    def status(self, state: str | None = None, *, step: int | None = None, total: int | None = None,
               reason: str = "", resume_note: str | None = None, stage: Mapping[str, Any] | None = None) -> None:  # fmt: skip
        """Write the status file of the run: its state, the reason for it, and the training steps done.

        Args:
            state: ``running``, ``stopping``, ``finished``, ``cancelled`` or ``failed``; None keeps the old state and reason.
            step: Training steps done; None keeps the present value.
            total: Training steps in total; None keeps the present value.
            reason: Why the run has this state, as a sentence for the user.
            resume_note: Why a resumed run ends with other weights than an uninterrupted one; None keeps the present text.
            stage: Progress of the work before the first training step, as a progress event; empty if the run trains. None keeps
                the present one.
        """
        with self._guard:
            if state is not None:
                self._status["state"] = check_choice("state", state, WRITABLE)
                self._status["reason"] = reason
            if step is not None:
                self._status["step"] = int(step)
            if total is not None:
                self._status["total"] = int(total)
            if resume_note is not None:
                self._status["resume_note"] = resume_note
            if stage is not None:
                self._status["stage"] = dict(stage)
            self._write_status(durable=state is not None)
        if state in FINAL_STATES:
            with contextlib.suppress(RunError) if state == "failed" else contextlib.nullcontext():
                self.event(str(state), step=self._status["step"], reason=reason)

    def _write_status(self, durable: bool) -> None:
        """Write the status file of the run.

        If the disk is too full for a new file and the state is ``failed``, the old file is overwritten.
        """
        path, content = self.folder / layout.STATUS, self._status | process.now()
        try:
            write_json(path, content, durable)
        except RunError:
            if self._status["state"] != "failed":
                raise
            with contextlib.suppress(OSError):  # if that fails too, readers see that the process is gone
                overwrite(path, as_json(content))

    def heartbeat(self) -> None:
        """Write the present time into the run's status file as a sign of life. A thread also does this every few seconds."""
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
        """Append one row to the metrics of the run.

        Give at least the fields ``step`` and ``split``. The row also gets the time, and the field ``attempt``: 1 before the run
        was resumed, 2 after the first resume, and so on.

        Raises:
            RunError: If ``step`` is not an integer, or the row cannot be written.
        """
        if type(row.get("step")) is not int:
            raise RunError(f"a row of metrics needs an integer step, not {row.get('step')!r}")
        row |= {"attempt": self.attempt, "time": time.time()}
        append_line(self._metrics, row, layout.METRICS)
        self._curve.add(row)
        if time.monotonic() - self._curve_written > CURVE_SECONDS.get(str(row.get("split")), 10.0):
            self._write_curve()

    def _write_curve(self) -> None:
        """Write the kept curves. An error changes nothing: readers make the curves from the metrics then."""
        self._curve_written = time.monotonic()
        with contextlib.suppress(RunError, OSError):
            size = os.fstat(self._metrics).st_size
            self._curve.read_to(size, os.pread(self._metrics, 64, max(0, size - 64)))
            self._curve.write(self.folder / layout.CURVE)

    def event(self, kind: str, **about: Any) -> None:
        """Append one event to the events file of the run, such as ``checkpoint`` or ``resume``."""
        append_line(self._events, {"kind": kind, **about, "attempt": self.attempt, "time": time.time()}, layout.EVENTS)

    def summary(self, **numbers: Any) -> None:
        """Add final results such as params, madds and top1 to the run's summary file, or replace those of the same name.

        Raises:
            RunError: If a number is not finite, or the summary cannot be written.
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
        """Store the compression plan of the run, given as JSON text."""
        write_bytes(self.folder / layout.PLAN, text.encode())

    def cost(self, report: Mapping[str, Any]) -> None:
        """Store the params and multiply-adds of the layers of the run's network."""
        write_json(self.folder / layout.COST, dict(report))

    def cancel_requested(self) -> bool:
        """Return whether the user asked this run to stop. The check is fast enough for every training step."""
        return is_cancel_requested(self.folder, self.attempt)

    def checkpoint_paths(self, step: int) -> tuple[Path, Path]:
        """Return the paths of two temporary files: one for the weights of a checkpoint, one for the state of the optimizer.

        Write the files, then call :meth:`commit_checkpoint`.
        """
        stem = f".saving-step-{step:08d}-a{self.attempt:02d}"
        return self.checkpoint_dir / f"{stem}.safetensors", self.checkpoint_dir / f"{stem}.state.pt"

    def commit_checkpoint(self, step: int, files: list[Path], keep: int = 2, score: Score | None = None) -> None:
        """Make files that were just written the latest checkpoint of the run, and delete old checkpoints.

        Three kinds of checkpoints are kept: the newest ones, the one with the best weights that the optimizer trained, and the
        one with the best averaged weights.

        Args:
            step: Training steps done.
            files: The files with the weights and the optimizer's state, at the paths from :meth:`checkpoint_paths`.
            keep: How many of the newest checkpoints are kept.
            score: How good this checkpoint is in validation; None if it was not validated.
        """
        entry = checkpoints.commit(self.folder, step, self.attempt, files, keep, score)
        self.event("checkpoint", step=step, bytes=sum(about["size"] for about in entry["files"].values()))

    def latest_checkpoint(self) -> checkpoints.Checkpoint | None:
        """Return the newest undamaged checkpoint of the run.

        If a newer checkpoint is damaged, an event says so.

        Returns:
            The checkpoint, or None if none was ever written.

        Raises:
            CheckpointError: If all checkpoints of the run are damaged.
        """
        checkpoint = self.store.latest_checkpoint(self.run_id)
        if checkpoint is not None and checkpoint.note:
            self.event("checkpoint_fallback", step=checkpoint.step, reason=checkpoint.note)
        return checkpoint

    def snapshot(self, step: int, layers: Mapping[str, LayerSnapshot]) -> Path:
        """Store the starts and epitomes of all layers at one training step as a snapshot file.

        Starts are the positions at which a layer reads its epitome. The first and the latest snapshot of a run keep
        exact epitomes, some between them rounded ones.

        Args:
            step: Training steps done.
            layers: Starts and epitome of each layer, by the layer's name.

        Returns:
            The path of the snapshot file.
        """
        from nes_lab.runs.snapshots import add_snapshot

        return add_snapshot(self.folder / layout.SNAPSHOTS, step, layers)
