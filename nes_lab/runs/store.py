"""The folder of all runs: create, list, read, delete. Reading never waits for a writer and never needs torch."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nes_lab.errors import RunError
from nes_lab.runs import checkpoints, layout
from nes_lab.runs.current_metrics import current_rows
from nes_lab.runs.files import read_lines, read_tail, write_json
from nes_lab.runs.info import RunInfo, read_info
from nes_lab.runs.lock import hold_lock

if TYPE_CHECKING:
    from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["RunStore"]

LITTER_SECONDS = 3600.0  # younger folders may be at work


class RunStore:
    """All runs under one root.

    Args:
        root: The folder; by default ``$NES_LAB_HOME/runs``, else ``data/runs``. It is made when the first run is.

    Examples:
        >>> import tempfile
        >>> store = RunStore(tempfile.mkdtemp())
        >>> run_id = store.create({"seed": 0}, label="first try")
        >>> store.get(run_id).state
        'queued'
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = (layout.default_root() if root is None else Path(root)).absolute()

    def create(self, config: Mapping[str, Any], label: str = "", group: str = "") -> str:
        """Make a queued run and return its id. It appears whole or not at all.

        Raises:
            RunError: If the root cannot be written.
        """
        run_id = layout.new_id(label)
        fresh = self.root / f".new-{run_id}"
        about = {"schema_version": layout.SCHEMA_VERSION, "id": run_id, "label": label, "group": group}
        try:
            fresh.mkdir(parents=True)
            write_json(fresh / layout.RUN, about | {"created": time.time(), "cwd": _here()})
            write_json(fresh / layout.CONFIG, dict(config))
            write_json(fresh / layout.STATUS, {"state": "queued", "step": 0, "total": 0, "attempt": 0, "reason": ""})
            checkpoints.empty_manifest(fresh)
            fresh.rename(self.root / run_id)
        except OSError as error:
            raise RunError(
                f"the run root {self.root} cannot be written: {error.strerror or error}; "
                "set NES_LAB_HOME to a folder that can"
            ) from error
        return run_id

    def path(self, run_id: str) -> Path:
        """Return the folder of an existing run; ids that are not ids, and links, are refused.

        Raises:
            RunError: If there is no such run.
        """
        return layout.resolve(self.root, run_id)

    def get(self, run_id: str) -> RunInfo:
        """Read one run.

        Raises:
            RunError: If it does not exist, is damaged beyond its status, or has another schema.
        """
        return read_info(self.path(run_id))

    def list(self) -> list[RunInfo]:
        """Read all runs, newest first. One that cannot be read is listed as lost, with the reason."""
        found = [self._read_or_lost(name) for name in layout.names(self.root)]
        return sorted(found, key=lambda info: (info.created, info.id), reverse=True)

    def _read_or_lost(self, run_id: str) -> RunInfo:
        try:
            return read_info(self.root / run_id)
        except RunError as error:
            return RunInfo(id=run_id, state="lost", reason=str(error))

    def find(self, name: str) -> RunInfo:
        """Read the run with this id, or the only one whose id begins or ends with it.

        Raises:
            RunError: If none or several match.
        """
        return self.get(self.find_id(name))

    def find_id(self, name: str) -> str:
        """Return the id that is this name, or the only one that begins or ends with it; the run may be unreadable.

        Raises:
            RunError: If none or several match.
        """
        layout.check_id(name)
        known = layout.names(self.root)
        if name not in known:
            near = [item for item in known if item.startswith(name) or item.endswith(name)]
            if len(near) > 1:
                raise RunError(f"{name!r} could be any of {', '.join(sorted(near)[:5])}; write more of the id")
            name = near[0] if near else name
        return self.path(name).name

    def size(self, run_id: str) -> int:
        """Return the bytes of all files of a run; links count as themselves."""
        return _bytes_in(self.path(run_id))

    def delete(self, run_id: str) -> int:
        """Remove a run and all its files, and return how many bytes they had.

        Raises:
            RunError: If a process is writing to it.
        """
        folder = self.path(run_id)
        freed = _bytes_in(folder)
        trash = self.root / f".trash-{run_id}-{os.urandom(3).hex()}"
        with hold_lock(folder):
            try:
                folder.rename(trash)
            except OSError as error:
                raise RunError(f"run {run_id} cannot be deleted: {error.strerror or error}") from error
        shutil.rmtree(trash, ignore_errors=True)
        return freed

    def clean(self) -> None:
        """Remove what a process killed while it created or deleted runs has left behind."""
        with contextlib.suppress(OSError), os.scandir(self.root) as entries:
            for item in entries:
                is_old = time.time() - item.stat(follow_symlinks=False).st_mtime > LITTER_SECONDS
                if item.is_dir(follow_symlinks=False) and item.name.startswith((".trash-", ".new-")) and is_old:
                    shutil.rmtree(item.path, ignore_errors=True)

    def metrics(self, run_id: str) -> list[dict[str, Any]]:
        """Return the rows of metrics in order of steps, one per step and split, the latest attempt's."""
        return current_rows(read_lines(self.path(run_id) / layout.METRICS))

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """Return what happened, in order: rows with at least ``kind`` and ``time``."""
        return [row for row in read_lines(self.path(run_id) / layout.EVENTS) if isinstance(row.get("kind"), str)]

    def log_tail(self, run_id: str, lines: int = 50) -> str:
        """Return the last lines that the process printed."""
        return read_tail(self.path(run_id) / layout.LOG, lines)

    def latest_checkpoint(self, run_id: str) -> checkpoints.Checkpoint | None:
        """Return the newest whole checkpoint, None if none was ever written. See :func:`checkpoints.latest`."""
        return checkpoints.latest(self.path(run_id))

    def best_checkpoint(self, run_id: str) -> checkpoints.Checkpoint | None:
        """Return the checkpoint with the best validation top-1, None if there is none. See :func:`checkpoints.best`."""
        return checkpoints.best(self.path(run_id))

    def snapshots(self, run_id: str) -> list[int]:
        """Return the steps that have a snapshot of epitomes and starts."""
        from nes_lab.runs.snapshots import snapshot_steps

        return snapshot_steps(self.path(run_id) / layout.SNAPSHOTS)

    def snapshot(self, run_id: str, step: int) -> dict[str, LayerSnapshot]:
        """Read the snapshot of one step; epitomes are there in the first and the latest one."""
        from nes_lab.runs.snapshots import read_snapshot, snapshot_path

        return read_snapshot(snapshot_path(self.path(run_id) / layout.SNAPSHOTS, step))


def _bytes_in(folder: Path) -> int:
    total = 0
    for where, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):  # removed at this moment
                total += os.lstat(os.path.join(where, name)).st_size
    return total


def _here() -> str:
    """Return the working folder, to which paths in a config may be relative; empty if it was deleted."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""
