"""Keep a table as data, and convert it to text, HTML, CSV, a pandas data frame or rows for the app.

The titles and the alignment of the columns are defined in :mod:`nes_lab.records.columns`.

Tests: tests/records/test_plan_table.py.
"""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nes_lab.errors import MissingPackageError
from nes_lab.records.columns import Column

__all__ = ["Row", "Table", "csv_text", "merge_rows"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A table: columns, rows, and lines of text above and below.

    Args:
        columns: Columns to show, in order.
        rows: One dict per row: key of a column -> value. Where a row has no value, the column's ``empty`` text is shown.
        total: Dict for a last row of totals; None: there is no such row.
        before, after: Lines of text above and below the table.
        few: Rows that a notebook shows at first, such as one row for all layers of a kind. The complete table is folded
            below them. None: the notebook shows ``rows``.

    Examples:
        >>> from nes_lab.records.columns import columns
        >>> table = Table(columns("name", "params"), [{"name": "fc", "params": 1024}], total={"name": "total", "params": 1024})
        >>> print(table.text())
        layer      params
        -------  --------
        fc          1,024
        -------  --------
        total       1,024
        >>> print(table.csv())
        layer,params
        fc,1024
        <BLANKLINE>
    """

    columns: Sequence[Column]
    rows: Sequence[Row]
    total: Row | None = None
    before: Sequence[str] = ()
    after: Sequence[str] = ()
    few: Sequence[Row] | None = None

    def __repr__(self) -> str:
        return f"Table: {len(self.rows)} rows of {', '.join(self.titles)}"

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self.html()

    @property
    def titles(self) -> list[str]:
        """Titles of the table's columns."""
        return [column.title for column in self.columns]

    @property
    def numbers(self) -> list[int]:
        """Indices of the table's columns that hold numbers."""
        return [place for place, column in enumerate(self.columns) if column.is_number]

    def cells(self, row: Row) -> list[str]:
        """Return one row of the table as text, one string per column."""
        return [column.cell(row) for column in self.columns]

    def total_cells(self) -> list[str]:
        """Return the row of totals as text; a column without a total stays empty."""
        total = self.total or {}
        return [column.cell(total) if column.key in total else "" for column in self.columns]

    def text(self, width: int | None = None) -> str:
        """Return the table as text with aligned columns.

        Args:
            width: Largest number of characters in a line. If the table is wider, its titles take several lines. If that is
                not enough, the widest column of text becomes numbered notes below the table, and names are broken. None: a
                line may have any length.

        Examples:
            >>> from nes_lab.records.columns import columns
            >>> table = Table(columns("name", "why"), [{"name": "fc", "why": "the model declares it as its classifier"}])
            >>> print(table.text(width=40))
            layer      why
            -------  -----
            fc           1
            <BLANKLINE>
            1: the model declares it as its
               classifier
        """
        lines = self._grid_lines()
        if width is None or max(map(len, [*lines, *self.before, *self.after])) <= width:
            return "\n".join([*self.before, *lines, *self.after])
        notes: list[str] = []
        lines = lines if max(map(len, lines)) <= width else self._grid_lines(broken=True)
        if max(map(len, lines)) > width:
            lines, notes = self._with_notes(width)
        around = [
            [part for line in group for part in _wrapped(line, width)] for group in (self.before, notes, self.after)
        ]
        return "\n".join([*around[0], *lines, *around[1], *around[2]])

    def _grid_lines(self, broken: bool = False, names: int | None = None) -> list[str]:
        """Return the lines of the table itself.

        Args:
            broken: Whether the titles are broken at their spaces.
            names: Largest number of characters of a line in the first column; None: any number.
        """
        from tabulate import SEPARATING_LINE, tabulate

        body: list[Any] = [self.cells(row) for row in self.rows]
        if self.total is not None:
            body += [SEPARATING_LINE, self.total_cells()]
        align = ["right" if column.is_number else "left" for column in self.columns]
        titles = [title.replace(" ", "\n") if broken else title for title in self.titles]
        most: Any = [names] + [None] * (len(titles) - 1)
        align_body = align if body else None
        shown = tabulate(body, titles, "simple", colalign=align_body, disable_numparse=True, maxcolwidths=most)
        return [line.rstrip() for line in shown.splitlines()]

    def _with_notes(self, width: int) -> tuple[list[str], list[str]]:
        """Return the lines of a narrower table, and notes.

        In the widest column of text, each text is replaced by a number. The notes give the text for each number.
        """
        texts = [c for c in self.columns[1:] if c.style == "text"]
        widest = max(texts, key=lambda c: max((len(c.cell(row)) for row in self.rows), default=0), default=None)
        if widest is None:
            return self._grid_lines(broken=True), []
        notes = list(dict.fromkeys(text for row in self.rows if (text := widest.cell(row))))
        numbers = {text: number for number, text in enumerate(notes, start=1)}
        rows = [{**row, widest.key: numbers.get(widest.cell(row))} for row in self.rows]
        shown = [replace(c, style="count", mark=None) if c is widest else c for c in self.columns]
        table = replace(self, columns=shown, rows=rows)
        excess = max(map(len, table._grid_lines(broken=True))) - width
        longest = max((len(self.columns[0].cell(row)) for row in self.rows), default=0)
        names = max(longest - excess, 8) if excess > 0 else None
        return table._grid_lines(broken=True, names=names), ["", *(f"{n}: {text}" for text, n in numbers.items())]

    def html(self) -> str:
        """Return the table as HTML, for notebooks with a light or a dark theme.

        A long table is folded. The reader sees its first and last rows, and can unfold all rows.
        """
        from nes_lab.records.html_table import html_table

        return html_table(self)

    def grid(self) -> list[dict[str, Any]]:
        """Return each row as a dict from column key to value, for the app. Numbers stay numbers, and other values become text."""
        return [{c.key: row.get(c.key) if c.is_number else c.cell(row) for c in self.columns} for row in self.rows]

    def csv(self) -> str:
        """Return the table as CSV, with the titles of the columns in the first line."""
        return csv_text(self.titles, ([row[column.key] for column in self.columns] for row in self.grid()))

    def to_pandas(self) -> Any:
        """Return the rows of the table as a ``pandas.DataFrame``.

        Raises:
            MissingPackageError: If pandas is not installed; the message says how to install it.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingPackageError("to_pandas() needs pandas: pip install pandas", name="pandas") from error

        return pandas.DataFrame(self.grid(), columns=[column.key for column in self.columns])


def merge_rows(rows: Iterable[Row], group: Callable[[Row], str], added: Iterable[str]) -> list[Row]:
    """Merge the rows of each group into one row, after all rows that belong to no group.

    A merged row says how many layers it stands for. It keeps the values that are equal in all rows of the group.

    Args:
        rows: Rows of a table of layers.
        group: Function that takes a row and returns the name of its group; an empty name: the row is in no group.
        added: Keys of the numbers that are added up in a merged row.

    Examples:
        >>> rows = [{"name": "fc", "kind": "Linear", "params": 9}]
        >>> rows += [{"name": f"norm{i}", "kind": "BatchNorm2d", "params": 4} for i in range(3)]
        >>> merge_rows(rows, lambda row: "norms" if "norm" in row["name"] else "", ["params"])[1]
        {'name': '3 layers', 'kind': 'BatchNorm2d', 'params': 12}
    """
    alone: list[Row] = []
    groups: dict[str, list[Row]] = {}
    for row in rows:
        name = group(row)
        (groups.setdefault(name, []) if name else alone).append(row)
    return alone + [members[0] if len(members) == 1 else _merged(members, tuple(added)) for members in groups.values()]


def _merged(rows: Sequence[Row], added: Sequence[str]) -> Row:
    shared = {key: value for key, value in rows[0].items() if all(row.get(key) == value for row in rows)}
    sums = {key: sum(row[key] for row in rows) for key in added if key in rows[0]}
    return {"name": f"{len(rows)} layers"} | shared | sums


def csv_text(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return column titles and rows as CSV. Text that a spreadsheet would run as a formula gets an apostrophe in front.

    Examples:
        >>> csv_text(["layer"], [["=1+1"], [-1], [None]]).splitlines()
        ['layer', "'=1+1", '-1', '""']
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(titles)
    writer.writerows([_csv_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _csv_cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return "" if value is None else value


def _wrapped(line: str, width: int) -> list[str]:
    """Break a line of text at spaces, so that each part has at most ``width`` characters."""
    indent = " " * (line.find(": ") + 2 if line[:1].isdigit() else 2)
    return textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False) or [""]
