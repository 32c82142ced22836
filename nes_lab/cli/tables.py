"""Print tables in a terminal. Names are never shortened, but long text in the last column is.

Tests: tests/sweeps/test_cli.py
"""

from __future__ import annotations

from collections.abc import Sequence

import rich.table
from rich.console import Console
from rich.text import Text

from nes_lab.records.counts import QUANTITIES, Counts
from nes_lab.records.table import Table
from nes_lab.runs.states import STATES
from nes_lab.text import format_share

__all__ = ["SHORT_ID", "print_counts", "print_table", "printable", "shorten", "state_style", "tail"]

PIPE_WIDTH = 160
LONGEST_CELL = 80
SHORT_ID = 7
TONES = {"waiting": "cyan", "working": "blue", "warning": "yellow", "good": "green", "bad": "red"}


def state_style(state: str) -> str:
    """Return the color of a run's state in a terminal.

    Examples:
        >>> state_style("failed")
        'red'
    """
    return TONES[STATES[state].tone]


def print_table(table: Table, ids: str = "") -> None:
    """Print a table without its lines of text before and after.

    Args:
        table: Its text is shown as it is; markup is not interpreted. A column named ``state`` is colored.
        ids: Key of the column that gives way where the terminal is narrow, down to the ends of its run ids, which name a run
            as well. Without it the first column is the one that is never cut.
    """
    cells = [[printable(cell, LONGEST_CELL) for cell in table.cells(row)] for row in table.rows]
    keys = [column.key for column in table.columns]
    grid, needed = _grid(table, cells)
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(PIPE_WIDTH, needed))  # a file or a pipe has no width of its own
    elif needed > console.width and ids:
        grid = _narrow(table, cells, keys.index(ids), needed - console.width)
    elif needed > console.width:
        grid.columns[0].min_width = max((len(str(cell)) for cell in grid.columns[0].cells), default=0)
    console.print(grid)


def _grid(table: Table, rows: Sequence[Sequence[str]]) -> tuple[rich.table.Table, int]:
    grid = rich.table.Table(box=None, pad_edge=False)
    for column in table.columns:
        justify = "right" if column.is_number else "left"
        grid.add_column(column.title, justify=justify, no_wrap=True, overflow="ellipsis")
    styles = [state_style if column.key == "state" else (lambda _: "") for column in table.columns]
    for row in rows:
        grid.add_row(*(Text(cell, style=style(cell)) for style, cell in zip(styles, row, strict=True)))
    return grid, Console(width=10_000).measure(grid).maximum


def _narrow(table: Table, rows: Sequence[Sequence[str]], ids: int, excess: int) -> rich.table.Table:
    """Cut the ids, and if that is not enough the text that is no number; numbers are never cut."""
    lines = [table.titles, *rows]
    room = max(SHORT_ID, max(len(row[ids]) for row in lines) - excess)
    cut = [[tail(cell, room) if index == ids else cell for index, cell in enumerate(row)] for row in rows]
    grid, _ = _grid(table, cut)
    for index in (*table.numbers, ids):
        grid.columns[index].min_width = max(len(row[index]) for row in [table.titles, *cut])
    return grid


def print_counts(dense: Counts, compressed: Counts) -> None:
    """Print one line per quantity: before, after, and the share that is left."""
    width = max(map(len, QUANTITIES))
    for name in QUANTITIES:
        before, after = getattr(dense, name), getattr(compressed, name)
        share = format_share(after, before)
        print(f"{name:<{width}} {before:>15,} -> {after:>15,}  ({share} of the dense network)")


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
