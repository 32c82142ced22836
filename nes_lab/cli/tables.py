"""Tables for a terminal: names are never cut, long text at the end is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["print_table", "printable"]

PIPE_WIDTH = 160


def print_table(head: Sequence[str], rows: Iterable[Sequence[str | Text]], numbers: Iterable[int]) -> None:
    """Print rows under a head.

    Args:
        head: Column names.
        rows: Cells; text is shown as it is, markup is not interpreted.
        numbers: Indices of the columns that hold numbers.
    """
    table = Table(box=None, pad_edge=False)
    right = set(numbers)
    for index, name in enumerate(head):
        table.add_column(name, justify="right" if index in right else "left", no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    needed = Console(width=10_000).measure(table).maximum
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(PIPE_WIDTH, needed))  # a file or a pipe has no width of its own
    elif needed > console.width:
        table.columns[0].min_width = max((len(str(cell)) for cell in table.columns[0].cells), default=0)
    console.print(table)


def printable(text: str, most: int) -> str:
    r"""Shorten text and keep its control characters from reaching the terminal.

    Examples:
        >>> printable("a\x1b[31mb", 20), printable("abcdefgh", 6)
        ('a [31mb', 'abc...')
    """
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return shown if len(shown) <= most else shown[: most - 3] + "..."
