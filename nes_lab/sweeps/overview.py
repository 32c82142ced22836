"""Read the sweeps beside a store of runs: what they vary, whether they run, and how far they are. Optuna is not needed.

Tests: tests/sweeps/test_form.py.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nes_lab.errors import RunError
from nes_lab.records.columns import Column, columns
from nes_lab.records.field_names import field_words
from nes_lab.records.options import ExecutorName
from nes_lab.records.table import Table
from nes_lab.runs import layout, process
from nes_lab.runs.files import read_json, read_tail
from nes_lab.runs.info import RunInfo
from nes_lab.runs.store import RunStore
from nes_lab.sweeps.words import setting_words
from nes_lab.text import list_all

__all__ = [
    "FILE",
    "LAUNCH",
    "LOG",
    "SweepView",
    "free_name",
    "list_sweeps",
    "read_sweep",
    "sweep_folder",
    "sweep_log",
    "sweeps_table",
    "trials_table",
]

FILE, LAUNCH, LOG, DEFINITION = "sweep.yaml", "launch.json", "log.txt", "sweep.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True)
class SweepView:
    """Holds what the files say about a sweep.

    Attributes:
        name: Name of the sweep, which is the group of its runs.
        runs: Its runs, newest first.
        planned: Number of trials in total.
        is_running: Whether its process is alive on this machine.
        pid: Process id of the sweep if it is running.
        jobs: Number of trials that trained at the same time when it was last started.
        executor: Where they trained.
        storage: URL of its database, without the password.
        definition: Base experiment, space, sampler, seed and objectives; empty before the sweep's first second.
    """

    name: str
    runs: tuple[RunInfo, ...]
    planned: int
    is_running: bool
    pid: int | None
    jobs: int
    executor: ExecutorName
    storage: str
    definition: Mapping[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> int:
        """Number of finished runs."""
        return sum(info.state == "finished" for info in self.runs)

    @property
    def progress(self) -> float:
        """Share of finished runs, from 0 to 1."""
        return min(1.0, self.finished / self.planned) if self.planned else 0.0

    @property
    def state(self) -> str:
        """``running``, ``finished`` or ``stopped``. A stopped sweep can be continued."""
        if self.is_running:
            return "running"
        return "finished" if self.planned and self.finished >= self.planned else "stopped"

    @property
    def text(self) -> str:
        """Numbers of trials in each state, such as ``"3 of 8 finished, 1 running"``."""
        others = Counter(info.state for info in self.runs if info.state != "finished")
        return list_all(
            [f"{self.finished} of {self.planned} finished", *(f"{n} {state}" for state, n in others.items())]
        )

    @property
    def varied(self) -> str:
        """The fields that vary, in words."""
        return list_all([field_words(path) for path in self.definition.get("space", {})])

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of the objectives."""
        return tuple(self.definition.get("objectives", ()))


def sweep_folder(store: RunStore, name: str) -> Path:
    """Return the folder of a sweep, beside the folder of the runs.

    Raises:
        RunError: If this cannot be the name of a sweep.
    """
    if not _NAME.fullmatch(name):
        raise RunError(f"{name[:60]!r} is not the name of a sweep")
    return store.root.parent / "sweeps" / name


def list_sweeps(store: RunStore) -> list[SweepView]:
    """Return all sweeps beside a store of runs, the running ones first, then by name."""
    folder = store.root.parent / "sweeps"
    names = sorted(path.name for path in folder.iterdir() if _NAME.fullmatch(path.name)) if folder.is_dir() else []
    infos = store.list() if names else []
    views = [view for name in names if (view := _read(store, name, infos)) is not None]
    return sorted(views, key=lambda view: (not view.is_running, view.name))


def read_sweep(store: RunStore, name: str) -> SweepView | None:
    """Return what the files say about one sweep; None if there is none of this name."""
    return _read(store, name, store.list() if sweep_folder(store, name).is_dir() else [])


def free_name(store: RunStore) -> str:
    """Return a name that no sweep has, such as ``sweep-1``."""
    return next(name for number in itertools.count(1) if not sweep_folder(store, name := f"sweep-{number}").exists())


def sweep_log(store: RunStore, name: str) -> str:
    """Return the last lines that the process of a sweep has written; empty if there are none."""
    with contextlib.suppress(OSError, RunError):
        return read_tail(sweep_folder(store, name) / LOG, 40)
    return ""


def _read(store: RunStore, name: str, infos: Sequence[RunInfo]) -> SweepView | None:
    folder = sweep_folder(store, name)
    launch, about = _json(folder / LAUNCH), _json(folder / DEFINITION)
    if not launch and not about:
        return None
    runs = tuple(info for info in infos if info.group == name)
    pid = _pid(folder, launch)
    planned = about.get("planned") or launch.get("planned") or len(runs)
    if launch and pid is not None:
        planned = max(planned, launch.get("planned") or 0)
    jobs, executor = launch.get("jobs") or 1, "ray" if launch.get("executor") == "ray" else "local"
    return SweepView(
        name, runs, int(planned), pid is not None, pid, int(jobs), executor, str(about.get("storage", "sqlite")), about
    )


def _json(path: Path) -> dict[str, Any]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, RunError):
        return read_json(path)
    return {}


def _pid(folder: Path, launch: Mapping[str, Any]) -> int | None:
    """Return the pid of the process that runs a sweep on this machine; None if there is none."""
    started = process.Identity.read(dict(launch))
    if started is not None and process.is_alive(started):
        return started.pid
    with contextlib.suppress(OSError, RunError, ValueError):  # a sweep of the command line: who holds its lock?
        lock = folder / layout.LOCK
        pid, _, host = lock.read_text(encoding="utf-8").strip().partition(" ")
        if host == socket.gethostname() and _is_locked(lock) and not process.is_gone(int(pid)):
            return int(pid)
    return None


def _is_locked(lock: Path) -> bool:
    """Return whether a process holds a file lock, without taking it: that could refuse a sweep that starts at this moment."""
    try:
        rows = Path("/proc/locks").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux: the process that took it last is alive
        return True
    inode = str(lock.stat().st_ino)
    return any(inode == word.rpartition(":")[2] for row in rows for word in row.split()[5:6])


def sweeps_table(views: Sequence[SweepView]) -> Table:
    """Return a table with one row per sweep."""
    shown = (
        Column("name", "sweep", "Name of the sweep, which is the group of its runs."),
        Column("state", "state", "A stopped sweep can be continued."),
        Column("progress", "progress", "Share of trials that are finished.", style="progress"),
        Column("trials", "Trials", "How many trials are in which state."),
        Column("varied", "Varies", "The settings in which the trials differ."),
    )
    rows = [
        {"name": v.name, "state": v.state, "progress": v.progress, "trials": v.text, "varied": v.varied} for v in views
    ]
    return Table(shown, rows)


def trials_table(view: SweepView) -> Table:
    """Return a table with one row per trial of a sweep, the best accuracy first and unfinished trials last.

    Each row has, as ``run``, the id of the trial's run, which is not shown.
    """
    paths = list(view.definition.get("space", {}))
    rows = [
        {"trial": _trial_words(info, paths), "state": info.state, "progress": info.progress, "run": info.id}
        | {name: info.summary.get(name) for name in ("top1", "madds", "params")}
        for info in view.runs
    ]
    rows.sort(key=lambda row: -(row["top1"] if isinstance(row["top1"], int | float) else -1.0))
    return Table(columns("trial", "top1", "madds", "params", "state", "progress"), rows)


def _trial_words(info: RunInfo, paths: Sequence[str]) -> str:
    """Return the settings of a trial in words, from the configuration of its run; its label if there is none."""
    if not info.config or not paths:
        return info.label or info.id
    settings = {}
    for path in paths:
        *parents, last = path.split(".")
        section: Any = info.config
        for parent in parents:
            section = section.get(parent) if isinstance(section, Mapping) else None
        if isinstance(section, Mapping) and last in section:  # a dense trial has no fields of the compression
            settings[path] = section[last]
    return setting_words(settings) or info.label or info.id
