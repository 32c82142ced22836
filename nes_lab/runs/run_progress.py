"""How a run is doing: epoch, losses, accuracies, speed and time left, read from its files alone."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nes_lab.errors import RunError
from nes_lab.runs import layout
from nes_lab.runs.current_metrics import current_rows
from nes_lab.runs.files import read_lines
from nes_lab.runs.info import RunInfo
from nes_lab.runs.store import RunStore

__all__ = ["Pulse", "Pulses", "seconds_left"]

RECENT_ROWS = 30
Curve = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Pulse:
    """A run and its newest numbers; None where there is none yet.

    Attributes:
        info: The run.
        epoch: The epoch it is in, from 1.
        epochs: Epochs in all.
        images_per_s: Training speed, as the latest row says.
        eta_s: Seconds left at the pace of the latest rows, validations included; None unless it is at work.
        losses: (step, training loss).
        top1: (step, validation top-1 in percent).
    """

    info: RunInfo
    epoch: int | None = None
    epochs: int | None = None
    images_per_s: float | None = None
    eta_s: float | None = None
    losses: Curve = ()
    top1: Curve = ()

    @property
    def loss(self) -> float | None:
        """The latest training loss."""
        return self.losses[-1][1] if self.losses else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: the run's, and the newest numbers without the curves."""
        newest = {"epoch": self.epoch, "epochs": self.epochs, "loss": self.loss}
        newest |= {"top1": self.top1[-1][1] if self.top1 else None}
        return self.info.to_dict() | newest | {"images_per_s": self.images_per_s, "eta_s": self.eta_s}


class Pulses:
    """Reads pulses again and again; metrics that did not change since the last time are not read anew.

    Examples:
        >>> import tempfile
        >>> from nes_lab.runs.writer import RunWriter
        >>> store = RunStore(tempfile.mkdtemp())
        >>> run_id = store.create({"training": {"epochs": 4}})
        >>> with RunWriter(store, run_id) as writer:
        ...     writer.metric(step=8, epoch=2, split="train", loss=0.5, images_per_s=100.0)
        ...     writer.status("finished", step=8, total=16)
        >>> pulse = Pulses(store).of(store.get(run_id))
        >>> pulse.epoch, pulse.epochs, pulse.loss, pulse.eta_s
        (2, 4, 0.5, None)
    """

    def __init__(self, store: RunStore) -> None:
        self.store = store
        self._known: dict[str, tuple[tuple[int, int], list[dict[str, Any]]]] = {}

    def of(self, info: RunInfo) -> Pulse:
        """Read the pulse of a run; one whose files are gone or cannot be read has no numbers."""
        rows = self._rows(info.id)
        train = [row for row in rows if row.get("split", "train") == "train"]
        val = [row for row in rows if row.get("split") == "val"]
        training = info.config.get("training")
        epochs = training.get("epochs") if isinstance(training, Mapping) else None
        latest = rows[-1] if rows else {}
        return Pulse(
            info,
            epoch=latest.get("epoch") if type(latest.get("epoch")) is int else None,
            epochs=epochs if type(epochs) is int else None,
            images_per_s=_number(train[-1].get("images_per_s")) if train else None,
            eta_s=seconds_left(rows, info) if info.is_active else None,
            losses=_curve(train, "loss"),
            top1=_curve(val, "top1"),
        )

    def _rows(self, run_id: str) -> list[dict[str, Any]]:
        try:
            path = self.store.path(run_id) / layout.METRICS
            about = path.stat()
            mark = (about.st_size, about.st_mtime_ns)
            known = self._known.get(run_id)
            if known is None or known[0] != mark:
                known = self._known[run_id] = (mark, current_rows(read_lines(path)))
            return known[1]
        except (OSError, RunError):
            self._known.pop(run_id, None)
            return []


def _curve(rows: Sequence[Mapping[str, Any]], name: str) -> Curve:
    found = ((row["step"], _number(row.get(name))) for row in rows)
    return tuple((step, value) for step, value in found if value is not None)


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) else None


def seconds_left(rows: Sequence[Mapping[str, Any]], info: RunInfo, now: float | None = None) -> float | None:
    """Return the seconds left at the pace of the attempt's latest rows; None before there is a pace.

    Args:
        rows: Rows of metrics in order of steps.
        info: The run they are of.
        now: The time; by default, that of the clock.

    Examples:
        >>> rows = [{"step": s, "attempt": 1, "time": 100.0 + s} for s in (10, 20)]
        >>> seconds_left(rows, RunInfo("a", step=20, total=50, attempt=1), now=122.0)
        28.0
    """
    mine = [row for row in rows if row.get("attempt") == info.attempt and _number(row.get("time")) is not None]
    recent = mine[-RECENT_ROWS:]
    if len(recent) < 2 or info.total <= 0:
        return None
    first, last = recent[0], recent[-1]
    steps, seconds = last["step"] - first["step"], last["time"] - first["time"]
    if steps <= 0 or seconds < 0:  # a clock that was set back
        return None
    end = last["time"] + seconds / steps * (info.total - last["step"])
    return max(0.0, end - (time.time() if now is None else now))
