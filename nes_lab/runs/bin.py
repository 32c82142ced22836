"""Put deleted runs into a bin, and take them out again. The bin is the folder ``.bin`` in the folder of all runs.

Tests: tests/runs/test_bin.py.
"""

from __future__ import annotations

import contextlib
import stat

from nes_lab.errors import RunError
from nes_lab.runs import layout
from nes_lab.runs.lock import hold_lock
from nes_lab.runs.store import RunStore

__all__ = ["bin_of", "put_in_bin", "restore"]

BIN = ".bin"


def bin_of(store: RunStore) -> RunStore:
    """Return the store of the deleted runs. It lists them, and deletes them for good.

    Raises:
        RunError: If the bin is a symbolic link or a file.
    """
    place = store.root / BIN
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(place.lstat().st_mode):
            raise RunError(f"the bin of deleted runs is refused: {place} is not a folder, but a link or a file")
    return RunStore(place)


def put_in_bin(store: RunStore, run_id: str) -> None:
    """Move a run with all its files into the bin. :func:`restore` takes it out again.

    Raises:
        RunError: If the run trains or waits in the queue, or cannot be moved.

    Examples:
        >>> import tempfile
        >>> from nes_lab.runs.launcher import cancel
        >>> store = RunStore(tempfile.mkdtemp())
        >>> run_id = store.create({})
        >>> _ = cancel(store, run_id)
        >>> put_in_bin(store, run_id)
        >>> len(store.list()), len(bin_of(store).list())
        (0, 1)
    """
    info = store.read(run_id)
    if info.is_active or info.state == "queued":
        raise RunError(f"run {run_id} is {info.state}; cancel it before you delete it")
    _move(store, bin_of(store), run_id)


def restore(store: RunStore, run_id: str) -> None:
    """Take a run out of the bin. It is then as it was before it was deleted.

    Raises:
        RunError: If the bin holds no such run, or a run with this id exists.
    """
    if run_id in layout.names(store.root):
        raise RunError(f"run {run_id} cannot be restored: a run with this id exists")
    _move(bin_of(store), store, run_id)


def _move(source: RunStore, target: RunStore, run_id: str) -> None:
    folder = source.path(run_id)
    with hold_lock(folder):
        try:
            target.root.mkdir(exist_ok=True)
            folder.rename(target.root / folder.name)
        except OSError as error:
            raise RunError(f"run {run_id} cannot be moved: {error.strerror or error}") from error
