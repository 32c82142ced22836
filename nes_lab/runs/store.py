"""Create, list, read and delete runs in the folder of all runs. A run can be read while it trains.

This module does not need torch.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nes_lab.errors import RunError
from nes_lab.runs import checkpoints, layout
from nes_lab.runs.current_metrics import current_rows
from nes_lab.runs.files import read_lines, read_tail, write_json
from nes_lab.runs.imports import import_folders
from nes_lab.runs.info import RunInfo, read_info
from nes_lab.runs.lock import hold_lock

if TYPE_CHECKING:
    from nes_lab.geometry.layer_snapshot import LayerSnapshot

__all__ = ["RunStore"]

LITTER_SECONDS = 3600.0  # a process may still use younger folders


class RunStore:
    """Creates, lists, reads and deletes runs in one folder, the folder of all runs.

    Args:
        root: The folder of all runs. It is created together with the first run. None means ``$NES_LAB_HOME/runs``, or
            ``data/runs`` if that variable is not set.

    Examples:
        >>> import tempfile
        >>> store = RunStore(tempfile.mkdtemp())
        >>> run_id = store.create({"seed": 0}, label="first try")
        >>> store.get(run_id).state
        'queued'
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = (layout.default_root() if root is None else Path(root)).absolute()

    def create(
        self,
        config: Mapping[str, Any],
        label: str = "",
        group: str = "",
        *,
        given: Mapping[str, str] | None = None,
        notes: Sequence[str] = (),
        fill: Callable[[Path], object] | None = None,
    ) -> str:
        """Create a run in the state ``queued`` and return its id. A crash never leaves an incomplete run.

        Args:
            config: The configuration of the experiment.
            label: Free text to recognize the run.
            group: Name that related runs share, such as those of a sweep.
            given: What the run needs but its files do not hold, because it exists only in memory. A dict with the keys
                ``network``, ``data`` or both, and a name for each, such as ``{"network": "TinyNet"}``. None: nothing.
            notes: Sentences about how the run begins.
            fill: Function that gets the folder of the new run and writes more files into it, before the run appears. If it
                raises an error, no run is created. None: no more files.

        Raises:
            RunError: If the folder of all runs cannot be written.
        """
        run_id = layout.new_id(label)
        fresh = self.root / f".new-{run_id}"
        about = {"schema_version": layout.SCHEMA_VERSION, "id": run_id, "label": label, "group": group}
        about |= ({"given": dict(given)} if given else {}) | ({"notes": list(notes)} if notes else {})
        try:
            fresh.mkdir(parents=True)
            write_json(fresh / layout.RUN, about | {"created": time.time(), "cwd": _here()} | import_folders(config))
            write_json(fresh / layout.CONFIG, dict(config))
            write_json(fresh / layout.STATUS, {"state": "queued", "step": 0, "total": 0, "attempt": 0, "reason": ""})
            checkpoints.empty_manifest(fresh)
            if fill is not None:
                fill(fresh)
            fresh.rename(self.root / run_id)
        except OSError as error:
            raise RunError(
                f"the run root {self.root} cannot be written: {error.strerror or error}; "
                "set NES_LAB_HOME to a folder that can"
            ) from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)  # it exists only after an error
        return run_id

    def path(self, run_id: str) -> Path:
        """Return the folder of an existing run.

        Raises:
            RunError: If there is no such run, the id is not valid, or the folder is a symbolic link.
        """
        return layout.resolve(self.root, run_id)

    def get(self, run_id: str) -> RunInfo:
        """Read one run: its state, configuration and summary.

        Raises:
            RunError: If the run does not exist, ``run.json`` or ``config.json`` is damaged, or the run has another
                version of the format.
        """
        return read_info(self.path(run_id))

    def list(self) -> list[RunInfo]:
        """Read all runs, newest first. A run that cannot be read gets the state ``lost``, and its ``reason`` says why."""
        infos = [self._read_or_lost(name) for name in layout.names(self.root)]
        return sorted(infos, key=lambda info: (info.created, info.id), reverse=True)

    def read(self, run_id: str) -> RunInfo:
        """Read one run. A run that cannot be read gets the state ``lost``, and its ``reason`` says why.

        Raises:
            RunError: If there is no such run.
        """
        return self._read_or_lost(self.path(run_id).name)

    def _read_or_lost(self, run_id: str) -> RunInfo:
        try:
            return read_info(self.root / run_id)
        except RunError as error:
            return RunInfo(id=run_id, state="lost", reason=str(error))

    def find(self, name: str) -> RunInfo:
        """Read the run whose id is ``name``, or the only run whose id begins or ends with ``name``.

        Raises:
            RunError: If no run matches, or several do.
        """
        return self.get(self.find_id(name))

    def find_id(self, name: str) -> str:
        """Return the run id that equals ``name``, or the only run id that begins or ends with ``name``.

        Raises:
            RunError: If no run matches, or several do.
        """
        layout.check_id(name)
        ids = layout.names(self.root)
        if name not in ids:
            near = [item for item in ids if item.startswith(name) or item.endswith(name)]
            if len(near) > 1:
                raise RunError(f"{name!r} could be any of {', '.join(sorted(near)[:5])}; write more of the id")
            name = near[0] if near else name
        return self.path(name).name

    def size(self, run_id: str) -> int:
        """Return the size of all files of a run in bytes. Symbolic links are not followed."""
        return _bytes_in(self.path(run_id))

    def delete(self, run_id: str) -> int:
        """Delete a run with all its files, and return their size in bytes.

        Raises:
            RunError: If a process is writing to the run.
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
        """Delete incomplete folders of runs. A killed process may have left them."""
        with contextlib.suppress(OSError), os.scandir(self.root) as entries:
            for item in entries:
                is_old = time.time() - item.stat(follow_symlinks=False).st_mtime > LITTER_SECONDS
                if item.is_dir(follow_symlinks=False) and item.name.startswith((".trash-", ".new-")) and is_old:
                    shutil.rmtree(item.path, ignore_errors=True)

    def metrics(self, run_id: str) -> list[dict[str, Any]]:
        """Return the metrics of a run in order of steps, one row for each step and split (``train`` or ``val``).

        If a resumed run wrote a step twice, only the later row is returned.
        """
        return current_rows(read_lines(self.path(run_id) / layout.METRICS))

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """Return the events of a run, such as starts and checkpoints, in order.

        Each event has at least the entries ``kind`` and ``time``.
        """
        return [row for row in read_lines(self.path(run_id) / layout.EVENTS) if isinstance(row.get("kind"), str)]

    def log_tail(self, run_id: str, lines: int = 50) -> str:
        """Return the last lines that the training process of a run printed."""
        return read_tail(self.path(run_id) / layout.LOG, lines)

    def latest_checkpoint(self, run_id: str) -> checkpoints.Checkpoint | None:
        """Return the newest undamaged checkpoint of a run, or None if none was ever written."""
        return checkpoints.latest(self.path(run_id))

    def best_checkpoint(self, run_id: str, averaged: bool | None = False) -> checkpoints.Checkpoint | None:
        """Return the checkpoint of a run with the best validation, or None if no checkpoint was validated.

        Args:
            run_id: Id of the run.
            averaged: False: compare the networks that the optimizer trained; True: those with averaged weights; None: both, and
                the attribute ``averaged`` of the checkpoint says which one is better.
        """
        return checkpoints.best(self.path(run_id), averaged)

    def snapshots(self, run_id: str) -> list[int]:
        """Return the training steps for which a run has a snapshot.

        A snapshot holds the starts of all layers. The starts are the positions at which a layer reads its epitome.
        """
        from nes_lab.runs.snapshots import snapshot_steps

        return snapshot_steps(self.path(run_id) / layout.SNAPSHOTS)

    def snapshot(self, run_id: str, step: int) -> dict[str, LayerSnapshot]:
        """Read the starts and epitomes that a run saved at one training step, by layer name.

        Starts are the positions at which a layer reads its epitome.

        The first and the latest snapshot of a run have exact epitomes. Some between them have epitomes rounded to 8 bits; in the others
        they are None.
        """
        from nes_lab.runs.snapshots import read_snapshot, snapshot_path

        return read_snapshot(snapshot_path(self.path(run_id) / layout.SNAPSHOTS, step))


def _bytes_in(folder: Path) -> int:
    total = 0
    for where, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):  # the file was removed at this moment
                total += os.lstat(os.path.join(where, name)).st_size
    return total


def _here() -> str:
    """Return the present working folder; empty if it was deleted."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""
