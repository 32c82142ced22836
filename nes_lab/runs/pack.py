"""Pack a run into one file, to open it on another machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nes_lab.errors import RunError
from nes_lab.runs import claims, layout
from nes_lab.runs.archive import ARCHIVE_FORMAT, ARCHIVE_VERSION, CONTENTS, MEMBERS, NOT_MOVED
from nes_lab.runs.files import as_json, explain, read_json, sha256_of
from nes_lab.runs.imports import IMPORTS
from nes_lab.runs.info import RunInfo, read_info
from nes_lab.runs.lock import hold_lock
from nes_lab.runs.replace import TEMPORARY, sync
from nes_lab.runs.store import RunStore

__all__ = ["moved_status", "pack_run"]

CHUNK = 1 << 20
_TEXT = (".json", ".jsonl", ".txt", ".1")


def pack_run(store: RunStore, run_id: str, file: str | Path | None = None) -> Path:
    """Pack a run that has ended into one file, which :func:`nes_lab.runs.unpack.unpack_run` reads on another machine.

    The file holds the run's configuration, metrics, events, log, checkpoints and snapshots, each with its SHA-256. Paths in it are
    relative to the run. It holds neither the data set nor code of yours. The file appears complete, or not at all.

    Args:
        store: The store of the run.
        run_id: Id of the run.
        file: The file to write, which must not exist. None: ``<id>.run.zip`` in the present folder.

    Returns:
        The path of the file.

    Raises:
        RunError: If the run trains or waits in the queue, the file exists or cannot be written, or the run's folder holds a link
            or another special file.

    Examples:
        >>> import tempfile
        >>> from nes_lab.runs.launcher import cancel
        >>> place = tempfile.mkdtemp()
        >>> store = RunStore(f"{place}/runs")
        >>> run_id = store.create({"seed": 0})
        >>> _ = cancel(store, run_id)
        >>> pack_run(store, run_id, f"{place}/mine.zip").name
        'mine.zip'
    """
    folder = store.path(run_id)
    path = Path(f"{run_id}.run.zip" if file is None else file)
    _refuse_active(read_info(folder), folder)
    _refuse_existing(path)
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{os.urandom(3).hex()}.zip")
    with hold_lock(folder):
        info = read_info(folder)
        _refuse_active(info, folder)
        try:
            _write(temporary, folder, info)
            sync(temporary)
            _refuse_existing(path)
            temporary.replace(path)
        except OSError as error:
            raise RunError(f"{path} cannot be written: {explain(error)}") from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    return path


def _refuse_active(info: RunInfo, folder: Path) -> None:
    if info.is_active or info.state == "queued" or claims.is_claimed(folder):
        raise RunError(
            f"run {info.id} is {info.state}; it can be packed when it has ended, or after nes-lab cancel {info.id}"
        )


def _refuse_existing(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise RunError(f"{path} exists already; give another file")


def _write(path: Path, folder: Path, info: RunInfo) -> None:
    changed = {layout.RUN: as_json(_moved_run(folder)), layout.STATUS: as_json(moved_status(info))}
    files = {}
    for name in _names(folder):
        data = changed.get(name)
        size = (folder / name).stat().st_size if data is None else len(data)
        digest = sha256_of(folder / name) if data is None else hashlib.sha256(data).hexdigest()
        files[name] = {"size": size, "sha256": digest}
    about = {"format": ARCHIVE_FORMAT, "schema_version": ARCHIVE_VERSION, "id": info.id, "files": files}
    with zipfile.ZipFile(path, "x") as archive:
        archive.writestr(CONTENTS, json.dumps(about, indent=1), zipfile.ZIP_DEFLATED)
        for name in files:
            kind = zipfile.ZIP_DEFLATED if name.endswith(_TEXT) else zipfile.ZIP_STORED
            if name in changed:
                archive.writestr(MEMBERS + name, changed[name], kind)
            else:
                archive.write(folder / name, MEMBERS + name, kind)


def _names(folder: Path) -> Iterator[str]:
    """Yield the paths of the files to pack, relative to the run's folder and in order.

    Raises:
        RunError: If there is a link or another special file.
    """
    for where, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted([*files, *folders]):
            path = Path(where, name)
            relative = path.relative_to(folder).as_posix()
            if name.startswith((TEMPORARY, ".saving-")) or relative in NOT_MOVED:
                continue
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode):
                yield relative
            elif not stat.S_ISDIR(mode):
                raise RunError(f"run {folder.name} cannot be packed: {relative} is a link or a special file")


def _moved_run(folder: Path) -> dict[str, Any]:
    """Return the content of ``run.json`` without the folders of this machine.

    These are the working folder, and the folders of the user's own modules.
    """
    return {key: value for key, value in read_json(folder / layout.RUN).items() if key not in ("cwd", IMPORTS)}


def moved_status(info: RunInfo) -> dict[str, Any]:
    """Return the file ``status.json`` of a run that is packed to be moved to another machine, as a dict.

    The dict does not name the process that trained the run on this machine. If the run is neither finished, cancelled nor
    failed, its state becomes ``cancelled``, so that the other machine can resume it. The reason then names the old state, as in
    the example.

    Examples:
        >>> moved_status(RunInfo("a", state="lost", step=3, total=9, reason="process 7 has ended"))["reason"]
        'it was lost when it was packed: process 7 has ended'
    """
    state, reason = info.state, info.reason
    if not info.is_final:
        state, reason = "cancelled", f"it was {info.state} when it was packed: {info.reason}"
    return {"state": state, "step": info.step, "total": info.total, "attempt": info.attempt, "reason": reason[:2000]}
