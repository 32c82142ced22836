"""Print tables in a terminal. In a narrow terminal, run ids and long text are shortened. Numbers are never shortened.

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

__all__ = ["SHORT_ID", "print_counts", "print_table", "printable", "state_style", "tail"]

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
    """Print the column titles and the rows of a table in the terminal.

    The lines of text above and below the table (``before`` and ``after``) are not printed.

    Args:
        table: The table. A column whose key is ``state`` is colored.
        ids: Key of the column that holds run ids. A narrow terminal shows only the end of each id. If ``ids`` is empty,
            the last columns are shortened instead. The first column is then never shortened.
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
    """Shorten run ids and other text of a table for a narrow terminal. Numbers are never shortened."""
    # Run ids are shortened first, and other text only if that is not enough.
    lines = [table.titles, *rows]
    room = max(SHORT_ID, max(len(row[ids]) for row in lines) - excess)
    cut = [[tail(cell, room) if index == ids else cell for index, cell in enumerate(row)] for row in rows]
    grid, _ = _grid(table, cut)
    for index in (*table.numbers, ids):
        grid.columns[index].min_width = max(len(row[index]) for row in [table.titles, *cut])
    return grid


def print_counts(dense: Counts, compressed: Counts) -> None:
    """Print one line for the params of a network and one for its multiply-adds, before and after compression.

    Each line also has the percentage that is left.
    """
    width = max(map(len, QUANTITIES))
    for name in QUANTITIES:
        before, after = getattr(dense, name), getattr(compressed, name)
        share = format_share(after, before)
        print(f"{name:<{width}} {before:>15,} -> {after:>15,}  ({share} of the dense network)")


def tail(text: str, room: int) -> str:
    """Shorten a run's id to ``room`` characters by cutting off its beginning. The end of an id is enough to name the run.

    Examples:
        >>> tail("20261122-seed-0-3c9511", 7)
        '…3c9511'
    """
    return text if len(text) <= room else "…" + text[len(text) + 1 - room :]


def printable(text: str, most: int) -> str:
    r"""Shorten text to ``most`` characters, and replace each control character (such as Escape) with a space.

    Examples:
        >>> printable("a\x1b[31mb", 20), printable("abcdefgh", 6)
        ('a [31mb', 'abc...')
    """
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return shown if len(shown) <= most else shown[: most - 3] + "..."
