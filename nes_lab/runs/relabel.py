"""Give a run another label.

Tests: tests/runs/test_bin.py.
"""

from __future__ import annotations

from nes_lab.runs import layout
from nes_lab.runs.files import write_json
from nes_lab.runs.info import read_run
from nes_lab.runs.store import RunStore

__all__ = ["relabel"]


def relabel(store: RunStore, run_id: str, label: str) -> None:
    """Give a run another label. Its id and its configuration stay the same. The run may be training.

    Args:
        store: The store of the run.
        run_id: Id of the run.
        label: The new label; any text.

    Raises:
        RunError: If there is no such run, or its files are damaged or cannot be written.

    Examples:
        >>> import tempfile
        >>> store = RunStore(tempfile.mkdtemp())
        >>> run_id = store.create({}, label="first")
        >>> relabel(store, run_id, "second")
        >>> store.get(run_id).label
        'second'
    """
    # The training process never writes this file, so its lock is not needed. The file is replaced in one step.
    folder = store.path(run_id)
    write_json(folder / layout.RUN, read_run(folder) | {"label": label})
