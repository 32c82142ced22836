"""Import a run that was packed on another machine.

Nothing in the file is trusted. Names are checked before a file is written, and each file's size and SHA-256 while it is written.
The files are JSON, safetensors, and training states that are read without running code. The hashes find damage; they do not
say who packed the run.

Tests: tests/runs/test_pack.py.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import zipfile
import zlib
from pathlib import Path
from typing import IO

from nes_lab.errors import RunError
from nes_lab.runs import layout
from nes_lab.runs.archive import MEMBERS, Archive, read_archive
from nes_lab.runs.files import explain, read_json, write_json
from nes_lab.runs.imports import IMPORTS, import_folders
from nes_lab.runs.info import read_config, read_info
from nes_lab.runs.pack import moved_status
from nes_lab.runs.replace import sync
from nes_lab.runs.store import RunStore

__all__ = ["unpack_run"]

CHUNK = 1 << 20


def unpack_run(store: RunStore, file: str | Path, *, new_id: bool = False, allow_import: bool = False) -> str:
    """Import a run that :func:`nes_lab.runs.pack.pack_run` wrote, and return its id. The run appears complete, or not at all.

    Args:
        store: The store that receives the run.
        file: The packed run.
        new_id: Give the run a new id. False: it keeps its id, which no run in ``store`` may have.
        allow_import: Let the run import functions of the user's own that its configuration names as ``package.module:function``,
            when it is resumed or its network is loaded. Give True only if you trust the run. False: such a run can be
            read, but neither resumed nor loaded.

    Raises:
        RunError: If the file is not a packed run, is damaged, or holds what may not be in a run; if the id exists already; or if
            the files cannot be written.

    Examples:
        >>> import tempfile
        >>> from nes_lab.runs.launcher import cancel
        >>> from nes_lab.runs.pack import pack_run
        >>> place = tempfile.mkdtemp()
        >>> store = RunStore(f"{place}/runs")
        >>> run_id = store.create({"seed": 0})
        >>> _ = cancel(store, run_id)
        >>> other = RunStore(f"{place}/other")
        >>> other.get(unpack_run(other, pack_run(store, run_id, f"{place}/mine.zip"))).state
        'cancelled'
    """
    path = Path(file)
    try:
        with zipfile.ZipFile(path) as opened:
            return _import(store, opened, path, new_id, allow_import)
    except FileNotFoundError as error:
        raise RunError(f"{path} does not exist") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is not a packed run, or is damaged: {str(error)[:200]}") from error
    except OSError as error:
        raise RunError(f"{path} cannot be imported: {explain(error)}") from error


def _import(store: RunStore, opened: zipfile.ZipFile, path: Path, new_id: bool, allow_import: bool) -> str:
    archive = read_archive(opened, path)
    run_id = layout.new_id("imported") if new_id else archive.run_id
    _refuse_existing(store, run_id, path)
    store.root.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(store.root).free) < archive.size:
        raise RunError(
            f"{path} needs {archive.size:,} bytes, and {store.root} has {free:,} free; free some space first"
        )
    fresh = store.root / f".new-{run_id}-{os.urandom(3).hex()}"
    try:
        fresh.mkdir()
        _extract(opened, archive, fresh, path)
        _settle_here(fresh, run_id, archive.run_id, allow_import)
        _refuse_existing(store, run_id, path)
        fresh.rename(store.root / run_id)
        sync(store.root)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)  # after the rename there is no such folder
    return run_id


def _refuse_existing(store: RunStore, run_id: str, path: Path) -> None:
    if os.path.lexists(store.root / run_id):
        raise RunError(
            f"run {run_id} exists already in {store.root}; --new-id (new_id=True) imports {path} under a new id"
        )


def _extract(opened: zipfile.ZipFile, archive: Archive, folder: Path, path: Path) -> None:
    for name, (size, digest) in archive.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(MEMBERS + name) as source, open(target, "xb") as file:
            found = _copy(source, file, size)
            file.flush()
            os.fsync(file.fileno())
        if found != digest:
            raise RunError(f"{path} is damaged: the SHA-256 of {name} differs from the stored one")


def _copy(source: IO[bytes], file: IO[bytes], size: int) -> str:
    """Copy a file that should have ``size`` bytes, and return the SHA-256 of the copy.

    If the file is longer, copying stops after ``size + 1`` bytes, so that it does not fill the disk.
    """
    digest, left = hashlib.sha256(), size + 1
    while left > 0 and (data := source.read(min(CHUNK, left))):
        digest.update(data)
        file.write(data)
        left -= len(data)
    return digest.hexdigest()


def _settle_here(folder: Path, run_id: str, packed_id: str, allow_import: bool) -> None:
    """Write the run's id, its working folder and what it may import on this machine into the run's files."""
    run = read_json(folder / layout.RUN)
    run = {key: value for key, value in run.items() if key not in ("cwd", IMPORTS)}
    run |= {"id": run_id, "cwd": os.getcwd(), "imported": {"id": packed_id, "time": time.time()}}
    write_json(folder / layout.RUN, run | (import_folders(read_config(folder)) if allow_import else {}))
    info = read_info(folder)  # raises if a file that every run has is damaged, or of another version
    write_json(folder / layout.STATUS, moved_status(info))
