"""Keep a short copy of a run's curves beside its metrics: at most 300 points of accuracy and loss.

A table of many runs, or a comparison of some, reads this file and not the long file of metrics. The training process
replaces it in one step. The file says how far it has read the metrics, so that a reader adds what was written later. If the
file is missing, damaged or does not fit the metrics, the curves are made from the metrics.

Tests: tests/runs/test_kept_curve.py.
"""

from __future__ import annotations

import contextlib
import json
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from nes_lab.errors import RunError
from nes_lab.runs import layout
from nes_lab.runs.deciding_metric import deciding_metric
from nes_lab.runs.files import parsed_lines, read_bytes, read_json, read_part, write_bytes

__all__ = ["MOST_POINTS", "CurvePoint", "KeptCurve", "curve_from_metrics", "read_curve", "read_kept"]

MOST_POINTS = 300
"""Largest number of points of a run, half of them in validation."""

_SCHEMA, _HALF, _CHECKED = 1, MOST_POINTS // 2, 64
_MOST_TAIL = 1 << 20
"""Longest part of the metrics, in bytes, that is read after a kept curve. A longer one is read in the background."""


class CurvePoint(NamedTuple):
    """One point of a run's curves. A number that is not known is None.

    Attributes:
        step: Training steps done.
        attempt: Number of the start or resume that wrote the point.
        epoch: Number of the epoch.
        time: Time in seconds since 1970.
        loss: The loss.
        value: The number that decides how good the run is, such as top-1. Only points of the validation have one.
    """

    step: int
    attempt: int
    epoch: float | None = None
    time: float | None = None
    loss: float | None = None
    value: float | None = None


@dataclass
class _Half:
    """The points of one split. All points lie ``stride`` rows apart. ``last`` is the latest point, if it lies between two of them."""

    is_val: bool
    stride: int = 1
    rows: int = 0
    points: list[CurvePoint] = field(default_factory=list)
    last: CurvePoint | None = None

    def add(self, point: CurvePoint) -> None:
        latest = self.latest()
        if latest is not None and (latest.step, latest.attempt) == (point.step, point.attempt):
            if self.last is not None:
                self.last = point
            else:
                self.points[-1] = point
            return
        if self.rows % self.stride == 0:
            self.points.append(point)
            self.last = None
        else:
            self.last = point
        self.rows += 1
        if len(self.points) >= _HALF:
            self.last = self.last or self.points[-1]
            self.points, self.stride = self.points[::2], 2 * self.stride
            if self.points[-1] == self.last:
                self.last = None

    def latest(self) -> CurvePoint | None:
        return self.last or (self.points[-1] if self.points else None)

    def replace_from(self, moment: tuple[int, bool], attempt: int) -> None:
        """Leave out the points of earlier attempts that a row of a later attempt replaces."""
        while (latest := self.latest()) and latest.attempt < attempt and (latest.step, self.is_val) >= moment:
            if self.last is not None:
                self.last = None
            else:
                self.points.pop()
            self.rows = len(self.points) * self.stride


class KeptCurve:
    """Holds at most 300 points of a run's curves. Rows of metrics are added one by one.

    Attributes:
        metric: Name of the number that decides how good the run is, such as ``top1``.
        size: Number of bytes of the metrics that the points come from.

    Examples:
        >>> curve = KeptCurve()
        >>> for step in range(1, 2001):
        ...     curve.add({"step": step, "split": "val", "top1": step / 20, "attempt": 1})
        >>> len(curve.points("val")), curve.points("val")[-1].value
        (126, 100.0)
    """

    def __init__(self) -> None:
        self.metric: str | None = None
        self.size = 0
        self._end = 0
        self._halves = {"train": _Half(is_val=False), "val": _Half(is_val=True)}
        self._begins: dict[int, tuple[int, bool]] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row of metrics. Rows that a resumed run has replaced are left out. A damaged row changes nothing."""
        step, attempt, split = row.get("step"), row.get("attempt", 1), str(row.get("split", "train"))
        if type(step) is not int or type(attempt) is not int or split not in self._halves:
            return
        moment = (step, split != "train")
        if any(later > attempt and moment >= begin for later, begin in self._begins.items()):
            return
        begin = self._begins.get(attempt)
        if begin is None or moment < begin:
            self._begins[attempt] = moment
            for half in self._halves.values():
                half.replace_from(moment, attempt)
        if split == "val" and self.metric is None:
            self.metric = deciding_metric([row]).name
        value = _number(row.get(self.metric)) if split == "val" and self.metric else None
        epoch, time, loss = (_number(row.get(name)) for name in ("epoch", "time", "loss"))
        self._halves[split].add(CurvePoint(step, attempt, epoch, time, loss, value))

    def take(self, split: str, rows: Iterable[Mapping[str, Any]], stride: int, count: int) -> None:
        """Add the rows of one split of a run that was never resumed, which are chosen already.

        Args:
            split: ``train`` or ``val``.
            rows: Every row whose number is a multiple of ``stride``, counted from 0, and the latest row.
            stride: Distance of the rows.
            count: Number of all rows of the split.
        """
        half = self._halves[split]
        for row in rows:
            half.rows = 0  # so that no row is left out
            self.add(row)
        half.stride, half.rows = stride, count
        if (count - 1) % stride and len(half.points) > 1:
            half.last = half.points.pop()

    def points(self, split: str) -> list[CurvePoint]:
        """Return the points of a split, ``train`` or ``val``, in order of steps."""
        half = self._halves[split]
        points = [*half.points, *([half.last] if half.last else [])]
        return sorted({point.step: point for point in points}.values(), key=lambda point: point.step)

    def rows(self) -> list[dict[str, Any]]:
        """Return the points as rows of metrics, in order of steps. The rows hold step, epoch, time, loss and the deciding number."""
        found = []
        for split, half in self._halves.items():
            for point in self.points(split):
                row = {"step": point.step, "split": split, "attempt": point.attempt, "epoch": point.epoch}
                row |= {"time": point.time, "loss": point.loss} | ({self.metric: point.value} if half.is_val else {})
                found.append({name: value for name, value in row.items() if value is not None})
        return sorted(found, key=lambda row: (row["step"], row["split"]))

    def seconds(self) -> float | None:
        """Return the seconds from the first point to the latest one; None if there are fewer than two."""
        times = [point.time for split in self._halves for point in self.points(split) if point.time is not None]
        spent = max(times) - min(times) if len(times) > 1 else 0.0
        return spent if spent > 0 else None

    def read_to(self, size: int, end: bytes) -> None:
        """Remember how far the metrics are read: their size in bytes, and their last bytes, by which the file is recognized."""
        self.size, self._end = size, zlib.crc32(end[-_CHECKED:])

    def write(self, path: Path) -> None:
        """Write the points to a file, in one step.

        Raises:
            RunError: If the file cannot be written.
        """
        halves = {
            split: {"stride": half.stride, "rows": half.rows, "points": half.points, "last": half.last}
            for split, half in self._halves.items()
        }
        begins = [[attempt, *moment] for attempt, moment in self._begins.items()]
        content = {"schema_version": _SCHEMA, "metric": self.metric, "size": self.size, "end": self._end}
        write_bytes(path, json.dumps(content | {"begins": begins} | halves).encode(), durable=False)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> KeptCurve:
        """Return the points that :meth:`write` has written.

        Raises:
            ValueError: If the content is damaged, or of another version.
        """
        if content.get("schema_version") != _SCHEMA:
            raise ValueError(f"schema_version={content.get('schema_version')!r}")
        curve = cls()
        try:
            curve.metric, curve.size, curve._end = content["metric"], int(content["size"]), int(content["end"])
            curve._begins = {int(attempt): (int(step), bool(is_val)) for attempt, step, is_val in content["begins"]}
            for split, half in curve._halves.items():
                about = content[split]
                half.stride, half.rows = max(1, int(about["stride"])), int(about["rows"])
                half.points = [_point(numbers) for numbers in about["points"][:_HALF]]
                half.last = _point(about["last"]) if about["last"] else None
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"damaged: {error!r}") from error
        if not isinstance(curve.metric, str | None):
            raise ValueError("damaged: the metric is not a text")
        return curve

    def fits(self, data: bytes) -> bool:
        """Return whether some bytes of the metrics end as the part did from which the points come."""
        return zlib.crc32(data[-_CHECKED:]) == self._end


def read_curve(folder: Path) -> KeptCurve:
    """Return the curves of a run: the kept ones with what was written later, or those made from its metrics.

    Args:
        folder: Folder of the run.

    Examples:
        >>> import tempfile
        >>> read_curve(Path(tempfile.mkdtemp())).rows()
        []
    """
    return read_kept(folder) or curve_from_metrics(folder)


def read_kept(folder: Path, kept: Path | None = None) -> KeptCurve | None:
    """Return the kept curves of a run with what was written to its metrics later, or None if the metrics must be read in full.

    Args:
        folder: Folder of the run.
        kept: File with the curves. None: the file in the run's folder.
    """
    try:
        curve = KeptCurve.from_dict(read_json(kept or folder / layout.CURVE))
        checked = min(max(0, curve.size), _CHECKED)
        data = read_part(folder / layout.METRICS, curve.size - checked, checked + _MOST_TAIL + 1)
    except (OSError, ValueError, RecursionError, RunError):
        return None
    if not curve.fits(data[:checked]) or len(data) > checked + _MOST_TAIL:
        return None
    _add_lines(curve, data[checked:].split(b"\n"))
    return curve


def curve_from_metrics(folder: Path) -> KeptCurve:
    """Return the curves of a run, made from its metrics. The lines between two points are not parsed if there was only one attempt."""
    curve = KeptCurve()
    try:
        data = read_bytes(folder / layout.METRICS)
    except (OSError, RunError):
        return curve
    lines = [line for line in data.split(b"\n") if line]
    ends = list(parsed_lines(lines[:1] + lines[-1:]))
    if len(ends) < 2 or ends[0].get("attempt") != ends[1].get("attempt"):
        _add_lines(curve, lines)
    else:
        _add_thinned(curve, lines)
    whole = data[: data.rfind(b"\n") + 1]  # the writer may be about to complete the last line, so it is read again
    curve.read_to(len(whole), whole)
    return curve


def _add_thinned(curve: KeptCurve, lines: list[bytes]) -> None:
    """Add the rows that would be kept if all lines of one attempt were added one by one. The other lines are not parsed."""
    sides: dict[str, list[bytes]] = {"train": [], "val": []}
    for line in lines:
        sides["val" if b'"val"' in line else "train"].append(line)
    for split, side in sides.items():
        stride = 1
        while -(-len(side) // stride) >= _HALF:
            stride *= 2
        chosen = side[::stride] + (side[-1:] if (len(side) - 1) % stride else [])
        rows = [row for row in parsed_lines(chosen) if str(row.get("split", "train")) == split]
        curve.take(split, rows, stride, len(side))


def _add_lines(curve: KeptCurve, lines: Iterable[bytes]) -> None:
    for row in parsed_lines(lines):
        curve.add(row)


def _point(numbers: Any) -> CurvePoint:
    step, attempt, *others = numbers
    if type(step) is not int or type(attempt) is not int or any(_number(other) != other for other in others):
        raise ValueError("damaged: a point has no numbers")
    return CurvePoint(step, attempt, *others)


def _number(value: object) -> float | None:
    if hasattr(value, "item"):  # a number of numpy or torch
        with contextlib.suppress(ValueError, RuntimeError):
            value = value.item()
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value if math.isfinite(value) else None
