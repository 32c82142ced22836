"""Print tables in a terminal. Names are never shortened, but long text in the last column is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nes_lab.runs.states import STATES

__all__ = ["SHORT_ID", "print_table", "printable", "shorten", "state_style", "tail"]

PIPE_WIDTH = 160
SHORT_ID = 7
TONES = {"waiting": "cyan", "working": "blue", "warning": "yellow", "good": "green", "bad": "red"}


def state_style(state: str) -> str:
    """Return the color of a run's state in a terminal.

    Examples:
        >>> state_style("failed")
        'red'
    """
    return TONES[STATES[state].tone]


def print_table(
    head: Sequence[str], rows: Iterable[Sequence[str | Text]], numbers: Iterable[int], ids: int | None = None
) -> None:
    """Print rows under a head.

    Args:
        head: Column names.
        rows: Cells; text is shown as it is, markup is not interpreted.
        numbers: Indices of the columns that hold numbers.
        ids: The column that gives way where the terminal is narrow, down to the ends of its run ids, which name a run as
            well. Without it the first column is the one that is never cut.
    """
    cells, right = list(rows), set(numbers)
    table, needed = _table(head, cells, right)
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(PIPE_WIDTH, needed))  # a file or a pipe has no width of its own
    elif needed > console.width and ids is not None:
        table = _narrow(head, cells, right, ids, needed - console.width)
    elif needed > console.width:
        table.columns[0].min_width = max((len(str(cell)) for cell in table.columns[0].cells), default=0)
    console.print(table)


def _table(head: Sequence[str], rows: Sequence[Sequence[str | Text]], right: set[int]) -> tuple[Table, int]:
    table = Table(box=None, pad_edge=False)
    for index, name in enumerate(head):
        table.add_column(name, justify="right" if index in right else "left", no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return table, Console(width=10_000).measure(table).maximum


def _narrow(head: Sequence[str], rows: Sequence[Sequence[str | Text]], right: set[int], ids: int, excess: int) -> Table:
    """Cut the ids, and if that is not enough the text that is no number; numbers stay whole."""
    room = max(SHORT_ID, max(len(str(row[ids])) for row in [head, *rows]) - excess)
    cut = [[tail(str(cell), room) if index == ids else cell for index, cell in enumerate(row)] for row in rows]
    table, _ = _table(head, cut, right)
    for index in (*right, ids):
        table.columns[index].min_width = max(len(str(row[index])) for row in [head, *cut])
    return table


def tail(text: str, room: int) -> str:
    """Shorten text to its end, as the end of a run's id names the run as well as the whole does.

    Examples:
        >>> tail("20261122-seed-0-3c9511", 7)
        '…3c9511'
    """
    return text if len(text) <= room else "…" + text[len(text) + 1 - room :]


def shorten(text: str, room: int) -> str:
    """Shorten text in its middle: labels of one sweep begin alike, and often end alike.

    Examples:
        >>> shorten("madds=50% routing=tiled seed=2", 17)
        'madds=50…d seed=2'
    """
    if len(text) <= room:
        return text
    end = max(0, room - 1) // 2
    return text[: max(0, room - 1 - end)] + "…" + text[len(text) - end :]


def printable(text: str, most: int) -> str:
    r"""Shorten text and keep its control characters from reaching the terminal.

    Examples:
        >>> printable("a\x1b[31mb", 20), printable("abcdefgh", 6)
        ('a [31mb', 'abc...')
    """
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return shown if len(shown) <= most else shown[: most - 3] + "..."
