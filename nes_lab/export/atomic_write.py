"""Write a file or folder so that it appears complete or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from nes_lab.errors import CheckpointError
from nes_lab.export.saved_config import is_saved_model
from nes_lab.runs.replace import sync, target_of

__all__ = ["new_file", "new_folder"]


@contextlib.contextmanager
def new_folder(path: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder beside the final path. If the ``with`` block ends without an error, rename the folder to this path.

    Args:
        path: Path of the new folder.
        overwrite: True to replace a saved model that is already at ``path``.

    Raises:
        CheckpointError: If ``path`` contains something that may not be replaced, or the folder cannot be written.
    """
    path = path.resolve()  # if path is a symbolic link, its target is replaced
    _check_free(path, overwrite)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}-{os.urandom(3).hex()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        for file in temporary.iterdir():
            sync(file)
        sync(temporary)
        _rename(temporary, path)
        sync(path.parent)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_free(path: Path, overwrite: bool) -> None:
    try:
        empty = not path.exists() or (path.is_dir() and not any(path.iterdir()))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    if empty:
        return
    if not is_saved_model(path):
        raise CheckpointError(
            f"{path} holds something other than a saved model, so it is not replaced; choose another folder"
        )
    if not overwrite:
        raise CheckpointError(
            f"{path} already holds a saved model; choose another folder, or set overwrite=True in nes_lab.save_pretrained"
        )


def _rename(temporary: Path, path: Path) -> None:
    """Move a temporary folder to its final path. If another folder is there, remove that folder.

    If the system allows it, the two folders change places in one step.
    """
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
    """Let two files or folders change places in one step (Linux). Return False if the system cannot do this."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside the final path. If the ``with`` block ends without an error, rename the file to this path.

    Args:
        path: Path of the new file; an existing file is replaced. If the path is a symbolic link, its target is replaced.

    Raises:
        CheckpointError: If the folder is missing, the path is a device or another special file, or the file cannot be written.
    """
    temporary = None
    try:
        target = target_of(path)
        # torch reads the format from the ending of the name, which the target of a link may lack
        temporary = target.with_name(f".tmp-{os.getpid()}-{os.urandom(3).hex()}-{path.name}")
        temporary.touch(exist_ok=False)
        yield temporary
        sync(temporary)
        os.replace(temporary, target)
        sync(target.parent)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
