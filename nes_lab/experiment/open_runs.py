"""Open a run by its id, list runs, and import a run from another machine. Nothing here imports torch.

Tests: tests/experiment/test_run.py.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from nes_lab.errors import OptionError, RunError, check_choice, check_int
from nes_lab.experiment.run import Run
from nes_lab.runs import layout
from nes_lab.runs.states import STATES, StateName
from nes_lab.runs.store import RunStore
from nes_lab.runs.unpack import unpack_run

__all__ = ["import_run", "list_runs", "open_run"]


def open_run(name: str, *, root: str | Path | None = None) -> Run:
    """Open a run by its id.

    Args:
        name: Id of the run; its beginning or end is enough if no other run has it. Or the path of the run's folder.
        root: Folder of all runs. None: ``$NES_LAB_HOME/runs``, or ``data/runs`` if that variable is not set.

    Raises:
        OptionError: If ``name`` is neither text nor a path.
        RunError: If no run matches, or several do.

    Examples:
        >>> import nes_lab, tempfile
        >>> place = tempfile.mkdtemp()
        >>> run = nes_lab.train({"data": {"limit": 64}, "training": {"epochs": 1}}, root=place, progress=False)
        >>> nes_lab.open_run(run.id[-6:], root=place) == run
        True
    """
    if not isinstance(name, str | Path):
        raise OptionError(f"name={name!r}; give the id of a run as text, or the path of its folder")
    if root is None and (Path(name) / layout.RUN).is_file():
        folder = Path(name).absolute()
        return Run(RunStore(folder.parent), folder.name)
    store = RunStore(root)
    return Run(store, store.find_id(str(name)))


def import_run(
    file: str | Path, *, new_id: bool = False, allow_import: bool = False, root: str | Path | None = None
) -> Run:
    """Import a run that :meth:`Run.pack` has written on another machine. The run appears complete, or not at all.

    Each file is checked against its SHA-256, which finds damage. Nothing in the file is run.

    Args:
        file: The packed run.
        new_id: Give the run a new id. False: it keeps its id, which no run in the folder of all runs may have.
        allow_import: Let the run import the functions ``package.module:function`` that its configuration names, when it is resumed
            or its network is loaded. Give True only for a run that you trust. False: such a run can only be read.
        root: Folder of all runs. None: ``$NES_LAB_HOME/runs``, or ``data/runs`` if that variable is not set.

    Raises:
        RunError: If the file is not a packed run or is damaged, or a run with its id exists already.

    Examples:
        >>> import nes_lab, tempfile
        >>> place = tempfile.mkdtemp()
        >>> run = nes_lab.train({"data": {"limit": 64}, "training": {"epochs": 1}}, root=f"{place}/here", progress=False)
        >>> nes_lab.import_run(run.pack(f"{place}/run.zip"), root=f"{place}/there").summary == run.summary
        True
    """
    store = RunStore(root)
    return Run(store, unpack_run(store, file, new_id=new_id, allow_import=allow_import))


def list_runs(
    *,
    group: str | None = None,
    state: StateName | None = None,
    tag: str | None = None,
    limit: int | None = None,
    root: str | Path | None = None,
) -> list[Run]:
    """List training runs, newest first. In the example, the folder is new and has no runs.

    Args:
        group: Only the runs of this group, such as a sweep. None: of all groups.
        state: Only the runs in this state, such as ``"finished"``. None: in all states.
        tag: Only the runs with this tag, which :meth:`Run.annotate` gives them. None: with any tags.
        limit: At most this many runs. None: all.
        root: Folder of all runs. None: ``$NES_LAB_HOME/runs``, or ``data/runs`` if that variable is not set.

    Raises:
        OptionError: If ``state`` is not a state of runs, or ``limit`` is negative.
        RunError: If the folder cannot be read.

    Examples:
        >>> import nes_lab, tempfile
        >>> nes_lab.list_runs(root=tempfile.mkdtemp())
        []
    """
    if state is not None:
        check_choice("state", state, STATES)
    if limit is not None:
        check_int("limit", limit, 0)
    store = RunStore(root)
    chosen = (info for info in store.list() if group in (None, info.group) and state in (None, info.state))
    if tag is not None:
        chosen = (info for info in chosen if tag in info.tags)
    runs = []
    for info in chosen:
        with contextlib.suppress(RunError):  # it was deleted a moment ago
            runs.append(Run(store, info.id))
    return runs[:limit]
