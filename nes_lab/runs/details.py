"""Read what a table of many runs shows beside their states: a short curve of each run, and the size of its files.

What can be read at once is read at once. The long metrics of runs that have no kept curve are read by a thread in the
background, which keeps the result in a folder for the next time.

Tests: tests/runs/test_details.py.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nes_lab.errors import RunError
from nes_lab.runs import layout
from nes_lab.runs.info import RunInfo
from nes_lab.runs.kept_curve import curve_from_metrics, read_kept
from nes_lab.runs.short_curve import ShortCurve, shortened
from nes_lab.runs.store import RunStore

__all__ = ["DetailsReader", "RunDetails", "all_pending"]

MOST_SECONDS = 0.25
"""Longest time for reading at once; the rest is read in the background."""

MOST_PAUSE = 0.2
DELAY_SECONDS = 3.0  # the page that asks is drawn first
MOST_CACHED = 1000
_Mark = tuple[int, ...]
_PARTS = ("", layout.METRICS, layout.CHECKPOINTS, layout.SNAPSHOTS)


@dataclass(frozen=True)
class RunDetails:
    """Holds the short curve of a run and the size of its files.

    Attributes:
        curve: A short curve of the run's accuracy.
        disk: Size of all files of the run in bytes.
    """

    curve: ShortCurve = field(default_factory=ShortCurve)
    disk: int | None = None


class DetailsReader:
    """Reads the details of many runs again and again. What has not changed is not read again.

    Args:
        store: The store of the runs. Nothing is written into it.
        cache: Folder for the curves of runs that keep none themselves. None: they are kept only in memory.

    Examples:
        >>> import tempfile
        >>> store = RunStore(tempfile.mkdtemp())
        >>> reader = DetailsReader(store)
        >>> _ = store.create({})
        >>> [details.curve.values for details in reader.read(store.list()).values()], reader.pending
        ([()], 0)
    """

    def __init__(self, store: RunStore, cache: Path | None = None) -> None:
        self.store, self.cache = store, cache
        self._known: dict[str, tuple[_Mark, RunDetails]] = {}
        self._wanted: dict[str, None] = {}
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def pending(self) -> int:
        """Number of runs that the thread in the background still has to read."""
        return len(self._wanted)

    def read(self, infos: Iterable[RunInfo]) -> dict[str, RunDetails]:
        """Return the known details of runs by id. The others are read in the background.

        A run whose files have just changed has its former details until it is read again.
        """
        end, found = time.monotonic() + MOST_SECONDS, {}
        for info in infos:
            folder = self.store.root / info.id
            mark, (known, details) = _mark(folder), self._known.get(info.id, (None, None))
            if known != mark and info.id not in self._wanted:
                newer = self._read(folder, quick=True) if time.monotonic() < end else None
                if newer is None:
                    self._want(info.id)
                else:
                    details = newer
                    self._known[info.id] = (mark, newer)
            if details is not None:
                found[info.id] = details
        return found

    def wait(self, seconds: float = 60.0) -> bool:
        """Wait until nothing is pending, and return whether that is so. Tests and scripts call it."""
        end = time.monotonic() + seconds
        while self.pending and time.monotonic() < end:
            time.sleep(0.01)
        return not self.pending

    def _read(self, folder: Path, quick: bool) -> RunDetails | None:
        """Return the details of a run. None if ``quick`` is true and reading would take long."""
        kept = self._cached(folder)
        curve = read_kept(folder)
        if curve is None and kept is not None and kept.exists():
            curve = read_kept(folder, kept)
        if curve is None and (folder / layout.METRICS).exists():
            if quick:
                return None
            curve = curve_from_metrics(folder)
            if kept is not None:
                with contextlib.suppress(OSError, RunError):  # a full or read-only disk: it is read again next time
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    curve.write(kept)
        with contextlib.suppress(RunError):
            return RunDetails(ShortCurve() if curve is None else shortened(curve), self.store.size(folder.name))
        return RunDetails()

    def _cached(self, folder: Path) -> Path | None:
        """Return the file that keeps the curve of a run. Runs of the same id in other folders have other files."""
        if self.cache is None:
            return None
        return self.cache / f"{folder.name}-{zlib.crc32(os.fsencode(folder)):08x}.json"

    def _want(self, run_id: str) -> None:
        with self._guard:
            self._wanted[run_id] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="details of runs", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        time.sleep(DELAY_SECONDS)
        while True:
            with self._guard:
                run_id = next(iter(self._wanted), None)
                if run_id is None:
                    self._thread = None
                    return
            began = time.monotonic()
            folder = self.store.root / run_id
            mark, details = _mark(folder), None
            with contextlib.suppress(OSError, ValueError, MemoryError):  # one bad run must not stop the others
                details = self._read(folder, quick=False)
            with self._guard:
                self._known[run_id] = (mark, details or RunDetails())
                self._wanted.pop(run_id, None)
                if not self._wanted:
                    self._forget_old()
            time.sleep(min(MOST_PAUSE, time.monotonic() - began))  # pages come first: half of the time is theirs

    def _forget_old(self) -> None:
        """Delete the oldest kept curves if there are very many."""
        if self.cache is not None:
            with contextlib.suppress(OSError):
                files = sorted(self.cache.glob("*.json"), key=os.path.getmtime)
                for file in files[:-MOST_CACHED]:
                    file.unlink(missing_ok=True)


def _mark(folder: Path) -> _Mark:
    """Return numbers that change when the metrics, checkpoints or snapshots of a run change."""
    numbers: list[int] = []
    for part in _PARTS:
        try:
            about = os.stat(os.path.join(folder, part))
        except OSError:
            numbers += (0, 0)
        else:
            numbers += (about.st_size, about.st_mtime_ns)
    return tuple(numbers)


def all_pending(readers: Iterable[DetailsReader]) -> int:
    """Return how many runs some readers still have to read.

    Examples:
        >>> all_pending([])
        0
    """
    return sum(reader.pending for reader in readers)
