"""Read the progress of a run from its files: epoch, loss, accuracy, speed and time left."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nes_lab.errors import RunError
from nes_lab.progress_bar import seconds_left
from nes_lab.runs import layout
from nes_lab.runs.current_metrics import current_rows
from nes_lab.runs.deciding_metric import deciding_metric
from nes_lab.runs.files import parsed_lines, read_lines, read_part
from nes_lab.runs.info import RunInfo
from nes_lab.runs.store import RunStore

__all__ = ["RunProgress", "RunProgressReader", "times_left"]

_LATEST_BYTES = 1 << 16
Curve = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class RunProgress:
    """Holds a run and its newest metrics, such as loss and accuracy. A metric is None until the run has written it.

    Attributes:
        info: The run: its state, configuration and summary.
        epoch: Number of the current epoch, counted from 1.
        epochs: Epochs in total.
        images_per_s: Training speed in images per second, from the latest row of training metrics.
        seconds_left: Estimated seconds until training ends; None if there is no estimate.
        losses: Pairs (training step, training loss), in order of steps.
        top1: Pairs (training step, validation top-1 in percent), in order of steps.
        metric: Title of the number that decides which weights are the best, such as ``top-1`` or another name of a metric.
        values: Pairs (training step, value of this number in validation), in order of steps.
    """

    info: RunInfo
    epoch: int | None = None
    epochs: int | None = None
    images_per_s: float | None = None
    seconds_left: float | None = None
    losses: Curve = ()
    top1: Curve = ()
    metric: str = "top-1"
    values: Curve = ()

    @property
    def loss(self) -> float | None:
        """The latest training loss of the run; None if the run has not written any."""
        return self.losses[-1][1] if self.losses else None

    def to_dict(self) -> dict[str, Any]:
        """Return the run and its newest metrics as plain values for JSON. Earlier metrics are left out."""
        newest = {"epoch": self.epoch, "epochs": self.epochs, "loss": self.loss}
        newest |= {"top1": self.top1[-1][1] if self.top1 else None, "images_per_s": self.images_per_s}
        # eta_s is the name that older versions wrote; scripts may read it
        return self.info.to_dict() | newest | {"seconds_left": self.seconds_left, "eta_s": self.seconds_left}


class RunProgressReader:
    """Reads the progress of runs again and again. The metrics file of a run is read again only if it has changed.

    Examples:
        >>> import tempfile
        >>> from nes_lab.runs.writer import RunWriter
        >>> store = RunStore(tempfile.mkdtemp())
        >>> run_id = store.create({"training": {"epochs": 4}})
        >>> with RunWriter(store, run_id) as writer:
        ...     writer.metric(step=8, epoch=2, split="train", loss=0.5, images_per_s=100.0)
        ...     writer.status("finished", step=8, total=16)
        >>> progress = RunProgressReader(store).read(store.get(run_id))
        >>> progress.epoch, progress.epochs, progress.loss, progress.seconds_left
        (2, 4, 0.5, None)
    """

    def __init__(self, store: RunStore) -> None:
        self.store = store
        self._cache: dict[str, tuple[tuple[int, int], list[dict[str, Any]]]] = {}

    def read(self, info: RunInfo) -> RunProgress:
        """Read the progress of a run. Epoch, loss, accuracy and speed are None if the run's metrics cannot be read."""
        rows = self._rows(info.id)
        train = [row for row in rows if row.get("split", "train") == "train"]
        val = [row for row in rows if row.get("split") == "val"]
        training = info.config.get("training")
        epochs = training.get("epochs") if isinstance(training, Mapping) else None
        latest = rows[-1] if rows else {}
        metric = deciding_metric(rows)
        return RunProgress(
            info,
            epoch=latest.get("epoch") if type(latest.get("epoch")) is int else None,
            epochs=epochs if type(epochs) is int else None,
            images_per_s=_number(train[-1].get("images_per_s")) if train else None,
            seconds_left=seconds_left(rows, info.total, attempt=info.attempt) if info.is_active else None,
            losses=_curve(train, "loss"),
            top1=_curve(val, "top1"),
            metric=metric.title,
            values=_curve(val, metric.name),
        )

    def _rows(self, run_id: str) -> list[dict[str, Any]]:
        try:
            path = self.store.path(run_id) / layout.METRICS
            about = path.stat()
            mark = (about.st_size, about.st_mtime_ns)
            cached = self._cache.get(run_id)
            if cached is None or cached[0] != mark:
                cached = self._cache[run_id] = (mark, current_rows(read_lines(path)))
            return cached[1]
        except (OSError, RunError):
            self._cache.pop(run_id, None)
            return []


def times_left(store: RunStore, infos: Iterable[RunInfo]) -> dict[str, float | None]:
    """Return the estimated seconds until the end of each active run, by id. Only the end of its metrics is read.

    Args:
        store: The store of the runs.
        infos: The runs. Those that do not train are left out of the result.

    Examples:
        >>> import tempfile
        >>> times_left(RunStore(tempfile.mkdtemp()), [RunInfo("a", state="finished")])
        {}
    """
    active = [info for info in infos if info.is_active]
    return {info.id: seconds_left(_latest(store, info.id), info.total, attempt=info.attempt) for info in active}


def _latest(store: RunStore, run_id: str) -> list[dict[str, Any]]:
    with contextlib.suppress(OSError, RunError):
        path = store.path(run_id) / layout.METRICS
        begin = max(0, path.stat().st_size - _LATEST_BYTES)
        lines = read_part(path, begin, _LATEST_BYTES).split(b"\n")
        return current_rows(parsed_lines(lines[1:] if begin else lines))
    return []


def _curve(rows: Sequence[Mapping[str, Any]], name: str) -> Curve:
    points = ((row["step"], _number(row.get(name))) for row in rows)
    return tuple((step, value) for step, value in points if value is not None)


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) else None
