"""Give a run another label.

Tests: tests/runs/test_annotate.py.
"""

from __future__ import annotations

from nes_lab.runs.annotate import annotate
from nes_lab.runs.store import RunStore

__all__ = ["relabel"]


def relabel(store: RunStore, run_id: str, label: str) -> None:
    """Give a run another label. Its id and its configuration stay the same. The run may be training.

    Args:
        store: The store of the run.
        run_id: Id of the run.
        label: The new label; any text of up to 200 characters.

    Raises:
        OptionError: If the label is too long.
        RunError: If there is no such run, or its files are damaged or cannot be written.

    Examples:
        >>> import tempfile
        >>> store = RunStore(tempfile.mkdtemp())
        >>> run_id = store.create({}, label="first")
        >>> relabel(store, run_id, "second")
        >>> store.get(run_id).label
        'second'
    """
    annotate(store, run_id, label=label)
