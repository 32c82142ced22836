"""Define the base class of :class:`nes_lab.Run`: read the files of a run, wait for it, cancel it.

Nothing here imports torch. :class:`nes_lab.Run` adds the methods that need torch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nes_lab.errors import CheckpointError, OptionError, PlanError, RunError
from nes_lab.progress_bar import OnProgress, ProgressEvent, progress_reporter, seconds_left
from nes_lab.records.columns import number_column
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.table import Table
from nes_lab.runs import launcher, layout
from nes_lab.runs.annotate import annotate
from nes_lab.runs.deciding_metric import DecidingMetric
from nes_lab.runs.files import read_json
from nes_lab.runs.info import RunInfo
from nes_lab.runs.run_progress import RunProgress, RunProgressReader
from nes_lab.runs.states import StateName
from nes_lab.runs.store import RunStore

if TYPE_CHECKING:
    from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["RunHandle"]

POLL_SECONDS = 0.2
FIRST, LAST = ("step", "epoch", "split"), ("attempt", "time")
"""Columns of the table of metrics that come first and last."""


class RunHandle:
    """Stands for one run in a folder of runs. Each property reads the run's files again, so it shows the present state.

    Args:
        store: The store that holds the run.
        run_id: Id of the run.

    Raises:
        RunError: If there is no such run.

    Examples:
        >>> import tempfile
        >>> store = RunStore(tempfile.mkdtemp())
        >>> RunHandle(store, store.create({"seed": 0})).state
        'queued'
    """

    def __init__(self, store: RunStore, run_id: str) -> None:
        self.store = store
        self._folder = store.path(run_id)

    @property
    def id(self) -> str:
        """Id of the run, which is also the name of its folder."""
        return self._folder.name

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self._folder

    @property
    def info(self) -> RunInfo:
        """The run's state, progress, configuration and summary, read from its files at this moment.

        If the files are damaged or were deleted, the state is ``lost``.
        """
        try:
            return self.store.read(self.id)
        except RunError as error:
            return RunInfo(id=self.id, state="lost", reason=str(error))

    @property
    def state(self) -> StateName:
        """State of the run: queued, running, stopping, finished, cancelled, failed or lost."""
        return self.info.state

    @property
    def label(self) -> str:
        """Text by which people recognize the run; may be empty."""
        return self.info.label

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags of the run: short words that the user gave it, to find it again."""
        return self.info.tags

    @property
    def note(self) -> str:
        """Text that the user wrote about the run; may be empty."""
        return self.info.note

    @property
    def summary(self) -> dict[str, Any]:
        """Results by name, such as ``params``, ``madds`` and ``top1``; empty until the run has written some."""
        return self.info.summary

    @property
    def plan(self) -> CompressionPlan | None:
        """Compression plan of the run's network. None if the network is dense, or if the run has not made its plan yet."""
        try:
            return CompressionPlan.from_dict(read_json(self._folder / layout.PLAN))
        except FileNotFoundError:
            return None
        except PlanError as error:
            raise CheckpointError(f"{layout.PLAN} of run {self.id} cannot be read: {error}") from error

    def metrics(self) -> Table:
        """Return the metrics that the run has written, as a table with one row for each step and split.

        ``metrics().rows`` are the rows as dicts, and ``metrics().to_pandas()`` is a data frame.
        """
        rows = self.store.metrics(self.id)
        found = dict.fromkeys(key for row in rows for key in row)
        keys = [*FIRST, *(key for key in found if key not in (*FIRST, *LAST)), *LAST]
        return Table([number_column(key) for key in keys], rows)

    def events(self) -> list[dict[str, Any]]:
        """Return the events of the run, such as starts and checkpoints, in order.

        Each event has at least the entries ``kind`` and ``time``.
        """
        return self.store.events(self.id)

    def progress(self) -> RunProgress:
        """Return how far the training is: epoch, loss, accuracy, speed and estimated time left."""
        return RunProgressReader(self.store).read(self.info)

    def log(self, lines: int = 50) -> str:
        """Return the last lines that a training process in the background printed."""
        return self.store.log_tail(self.id, lines)

    def snapshot_steps(self) -> list[int]:
        """Return the training steps for which the run has saved its starts and epitomes, in order."""
        return self.store.snapshots(self.id)

    def snapshot(self, step: int) -> dict[str, LayerSnapshot]:
        """Return the starts and epitomes that the run saved at one training step, by layer name."""
        return self.store.snapshot(self.id, step)

    def snapshots(self) -> dict[int, dict[str, LayerSnapshot]]:
        """Return the snapshots of the run: for each saved training step, the starts and the epitome of every layer, by layer name.

        A start is a position at which a layer reads its epitome. The first and the latest snapshot have exact
        epitomes, some between them rounded ones. In the
        others they are None.
        """
        return {step: self.snapshot(step) for step in self.snapshot_steps()}

    def runs_before(self) -> int:
        """Return how many other runs must end before this queued run can start; 0 if it can start now or does not wait."""
        return launcher.runs_before(self.store, self.id)

    def annotate(self, *, label: str | None = None, tags: Sequence[str] | None = None, note: str | None = None) -> Self:
        """Change the label, the tags or the note of the run, also while it trains. What is None stays as it is.

        Args:
            label: Text by which people recognize the run, up to 200 characters.
            tags: Short words to find the run again: up to 20, with up to 40 characters each.
            note: Free text, up to 2,000 characters.

        Returns:
            This run.

        Raises:
            OptionError: If a text is too long, or a tag is empty or contains a comma or a control character.
            RunError: If the run's files cannot be written.
        """
        annotate(self.store, self.id, label=label, tags=tags, note=note)
        return self

    def cancel(self) -> Self:
        """Ask the run to stop, or take it out of the queue. A training run saves a checkpoint first, so it can be resumed.

        The state becomes ``stopping`` or ``cancelled`` at once. :meth:`wait` waits for the end.

        Returns:
            This run.

        Raises:
            RunError: If the run has already ended.
        """
        launcher.cancel(self.store, self.id)
        return self

    def wait(
        self, timeout: float | None = None, *, progress: bool = False, on_progress: OnProgress | None = None
    ) -> Self:
        """Wait until the run, which another process trains, has ended.

        Args:
            timeout: Longest time to wait, in seconds. None waits as long as it takes.
            progress: Show a bar on standard error.
            on_progress: Function that is called with a :class:`~nes_lab.progress_bar.ProgressEvent`, several times a second. None:
                nothing is called.

        Returns:
            This run, in the state finished or cancelled.

        Raises:
            RunError: If the run failed, its process died, or it still trains after ``timeout`` seconds. The message gives the
                reason.
        """
        if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float)):
            raise OptionError(f"timeout={timeout!r}; give a number of seconds, or None")
        end = None if timeout is None else time.monotonic() + timeout
        with progress_reporter(progress, on_progress, f"run {self.id}") as report:
            while not (info := self.info).is_final and info.state != "lost":
                report(self._event(info))
                if end is not None and time.monotonic() >= end:
                    raise RunError(f"run {self.id} is still {info.state} after timeout={timeout:g} seconds")
                time.sleep(POLL_SECONDS)
            report(self._event(info))
        if info.state in ("failed", "lost"):
            raise RunError(f"run {self.id} is {info.state}: {info.reason or self.log(5)}")
        return self

    def _event(self, info: RunInfo) -> ProgressEvent:
        if info.stage is not None:
            return info.stage
        rows = self.store.metrics(self.id)
        left = seconds_left(rows, info.total, attempt=info.attempt) if info.is_active else None
        return {"phase": info.state, "done": info.step, "total": info.total, "label": "", "seconds_left": left}

    def __repr__(self) -> str:
        info = self.info
        done = f", step {info.step} of {info.total}" if info.total and info.state != "finished" else ""
        metric = DecidingMetric.of_summary(info.summary)
        value = info.summary.get(metric.name)
        result = f", {metric.title} {metric.text(value)}" if isinstance(value, int | float) else ""
        unknown = f", {info.reason}" if info.state == "finished" and info.reason else ""
        return f"{type(self).__name__}({self.id!r}: {info.state}{done}{result}{unknown})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunHandle) and other._folder == self._folder

    def __hash__(self) -> int:
        return hash(self._folder)
