"""A folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from nes_lab.errors import CheckpointError
from nes_lab.export.saved import is_saved_model
from nes_lab.runs.files import sync

__all__ = ["new_file", "new_folder"]


@contextlib.contextmanager
def new_folder(path: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary folder beside ``path``, which takes its place when the block ends without an error.

    Raises:
        CheckpointError: If something is there that may not be replaced, or the disk does not take the folder.
    """
    path = path.resolve()  # a link to a folder stays; what it points to is replaced
    _check_free(path, overwrite)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}-{os.urandom(3).hex()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        for file in temporary.iterdir():
            sync(file)
        sync(temporary)
        _put(temporary, path)
        sync(path.parent)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_free(path: Path, overwrite: bool) -> None:
    try:
        empty = not path.exists() or (path.is_dir() and not any(path.iterdir()))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be looked into: {error.strerror or error}") from error
    if empty:
        return
    if not is_saved_model(path):
        raise CheckpointError(
            f"{path} holds something else than one saved model and is left alone; choose another folder"
        )
    if not overwrite:
        raise CheckpointError(
            f"{path} holds a saved model already; choose another folder (or overwrite=True in Python)"
        )


def _put(temporary: Path, path: Path) -> None:
    """Rename; what was there changes places with the new folder in one step where the system can, and is removed after."""
    if not path.exists() or not any(path.iterdir()):
        os.rename(temporary, path)
        return
    if _exchange(temporary, path):
        return
    old = temporary.with_name(temporary.name.replace(".tmp-", ".old-"))
    os.rename(path, old)
    try:
        os.rename(temporary, path)
    except OSError:
        os.rename(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths change places in one step (Linux); False where that is not to be had."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, with its ending, which takes its place when the block ends without an error.

    Raises:
        CheckpointError: If the folder is missing or the disk does not take the file.
    """
    temporary = path.with_name(f".tmp-{os.getpid()}-{os.urandom(3).hex()}-{path.name}")
    if path.is_dir() or not path.parent.is_dir():
        why = "it is a folder" if path.is_dir() else f"the folder {path.parent} is missing"
        raise CheckpointError(f"{path} cannot be written: {why}")
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
