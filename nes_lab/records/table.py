"""Keep a table as data, and convert it to text, HTML, CSV, a pandas data frame or rows for the app.

The titles and the alignment of the columns are defined in :mod:`nes_lab.records.columns`.

Tests: tests/records/test_plan_table.py.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from nes_lab.errors import OptionError
from nes_lab.records.columns import Column

__all__ = ["Table", "csv_text"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A table: columns, rows, and lines of text above and below.

    Args:
        columns: Columns to show, in order.
        rows: One dict per row: key of a column -> value. Where a row has no value, the column's ``empty`` text is shown.
        total: Dict for a last row of totals; None: there is no such row.
        before, after: Lines of text above and below the table.

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

    def _total_cells(self) -> list[str]:
        """Return the row of totals as text; a column without a total stays empty."""
        total = self.total or {}
        return [column.cell(total) if column.key in total else "" for column in self.columns]

    def text(self) -> str:
        """Return the table as text with aligned columns."""
        from tabulate import SEPARATING_LINE, tabulate

        body: list[Any] = [self.cells(row) for row in self.rows]
        if self.total is not None:
            body += [SEPARATING_LINE, self._total_cells()]
        align = ["right" if column.is_number else "left" for column in self.columns]
        shown = tabulate(body, self.titles, "simple", colalign=align if body else None, disable_numparse=True)
        return "\n".join([*self.before, *(line.rstrip() for line in shown.splitlines()), *self.after])

    def html(self) -> str:
        """Return the table as HTML, for notebooks."""
        cells = [*map(self.cells, self.rows), *([] if self.total is None else [self._total_cells()])]
        body = "".join(self._html_row(texts, "td") for texts in cells)
        before, after = ("".join(f"<p>{escape(line)}</p>" for line in lines) for lines in (self.before, self.after))
        head = self._html_row(self.titles, "th")
        return f"{before}<table><thead>{head}</thead><tbody>{body}</tbody></table>{after}"

    def _html_row(self, cells: Sequence[str], tag: str) -> str:
        sides = ("right" if column.is_number else "left" for column in self.columns)
        shown = (f'<{tag} style="text-align: {s}">{escape(c)}</{tag}>' for s, c in zip(sides, cells, strict=True))
        return f"<tr>{''.join(shown)}</tr>"

    def grid(self) -> list[dict[str, Any]]:
        """Return each row as a dict from column key to value, for the app. Numbers stay numbers, and other values become text."""
        return [{c.key: row.get(c.key) if c.is_number else c.cell(row) for c in self.columns} for row in self.rows]

    def csv(self) -> str:
        """Return the table as CSV, with the titles of the columns in the first line."""
        return csv_text(self.titles, ([row[column.key] for column in self.columns] for row in self.grid()))

    def to_pandas(self) -> Any:
        """Return the rows of the table as a ``pandas.DataFrame``.

        Raises:
            OptionError: If pandas is not installed; the message says how to install it.
        """
        try:
            import pandas
        except ImportError as error:
            raise OptionError("to_pandas() needs pandas: pip install pandas") from error

        return pandas.DataFrame(self.grid(), columns=[column.key for column in self.columns])


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
