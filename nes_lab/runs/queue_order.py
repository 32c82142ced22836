"""Change the order of the runs that wait in the queue, and say in words which runs wait.

Tests: tests/runs/test_queue_order.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from nes_lab.errors import RunError, check_choice
from nes_lab.runs import queue
from nes_lab.runs.info import RunInfo
from nes_lab.runs.store import RunStore
from nes_lab.text import list_some, shorten_middle

__all__ = ["MOVES", "Move", "move_waiting", "moved", "waiting_ids", "waiting_text"]

Move = Literal["first", "up", "down", "last"]
MOVES: tuple[Move, ...] = ("first", "up", "down", "last")
"""Where a waiting run can be moved."""


def waiting_ids(store: RunStore) -> list[str]:
    """Return the ids of the runs that wait in the queue, in the order in which they will start.

    Examples:
        >>> import tempfile
        >>> waiting_ids(RunStore(tempfile.mkdtemp()))
        []
    """
    return [run_id for _, run_id in queue.tickets(store.root)]


def move_waiting(store: RunStore, run_ids: Iterable[str], where: Move) -> list[str]:
    """Move waiting runs in the queue. Several runs keep their order among themselves.

    A run that starts at this moment is left out, so no run is started twice.

    Args:
        store: The store of the runs.
        run_ids: Ids of the runs.
        where: ``first`` or ``last`` in the queue, or one place ``up`` or ``down``.

    Returns:
        The ids of all waiting runs, in their new order.

    Raises:
        OptionError: If ``where`` is another word.
        RunError: If none of the runs waits, or the queue cannot be written.
    """
    check_choice("where", where, MOVES)
    chosen = set(run_ids)
    with queue.hold_queue(store.root) as folder:
        waiting = queue.tickets(store.root)
        before = [run_id for _, run_id in waiting]
        if not chosen & set(before):
            raise RunError(f"{list_some(sorted(chosen)) or 'no run'} cannot be moved: it does not wait in the queue")
        after = moved(before, chosen, where)
        names = {run_id: name for name, run_id in waiting}
        for number, run_id in enumerate(after, start=1):
            try:  # each ticket is renamed in one step, so that a crash loses none
                (folder / names[run_id]).rename(folder / f"{number:08d}-{run_id}")
            except OSError as error:
                raise RunError(f"the queue in {store.root} cannot be written: {error.strerror or error}") from error
    return waiting_ids(store)


def moved(order: Sequence[str], chosen: set[str], where: Move) -> list[str]:
    """Return a list in which some items are moved.

    Examples:
        >>> moved("abcd", {"c", "d"}, "up"), moved("abcd", {"a", "c"}, "down"), moved("abcd", {"b", "d"}, "first")
        (['a', 'c', 'd', 'b'], ['b', 'a', 'd', 'c'], ['b', 'd', 'a', 'c'])
    """
    if where in ("first", "last"):
        those, others = [item for item in order if item in chosen], [item for item in order if item not in chosen]
        return those + others if where == "first" else others + those
    items = list(order) if where == "up" else list(reversed(order))
    for place in range(1, len(items)):
        if items[place] in chosen and items[place - 1] not in chosen:
            items[place - 1 : place + 1] = items[place], items[place - 1]
    return items if where == "up" else items[::-1]


def waiting_text(infos: Iterable[RunInfo], order: Sequence[str]) -> str:
    """Return a line that says how many runs wait and which are next; empty if none waits.

    Args:
        infos: The runs.
        order: Ids of the waiting runs, as :func:`waiting_ids` returns them.

    Examples:
        >>> waiting_text([RunInfo("a", label="resnet18, 50 %")], ["a"])
        '1 waiting: resnet18, 50 %'
    """
    labels = {info.id: shorten_middle(info.label or info.id, 48) for info in infos}
    names = [labels.get(run_id, run_id) for run_id in order]
    return f"{len(names)} waiting: {list_some(names, most=3)}" if names else ""
