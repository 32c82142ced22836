"""Write a table as HTML for notebooks, with the same colors as the page around it. A long table is folded.

Tests: tests/records/test_html_table.py
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from nes_lab.records.columns import Column

if TYPE_CHECKING:
    from nes_lab.records.table import Row, Table

__all__ = ["MOST_ROWS", "html_table"]

MOST_ROWS = 12
"""A table with more rows is folded."""
_FIRST, _LAST = 6, 4  # rows that a folded table shows
_LONG = 40  # characters from which a text may be broken into lines


def html_table(table: Table) -> str:
    """Return a table as HTML. All texts are escaped.

    A table with more than 12 rows is folded: it shows its first 6 rows, its last 4 rows and the totals. The attribute ``few``
    of a table may hold other, fewer rows. Then the table is folded too, and shows the rows in ``few``. Below a folded table, the
    reader can unfold all rows.

    Args:
        table: The table.

    Examples:
        >>> from nes_lab.records.columns import columns
        >>> from nes_lab.records.table import Table
        >>> page = html_table(Table(columns("name"), [{"name": "<b>"}] * 53))
        >>> "&lt;b&gt;" in page, "all 53 rows" in page, "43 more" in page
        (True, True, True)
    """
    before, after = (_lines(lines) for lines in (table.before, table.after))
    return f'<div class="nes-lab"><style>{_STYLE}</style>{before}{_body(table)}{after}</div>'


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"<div>{escape(line)}</div>" for line in lines if line)


def _body(table: Table) -> str:
    rows, few = list(table.rows), list(table.rows if table.few is None else table.few)
    if len(few) <= MOST_ROWS and few == rows:
        return f'<div class="scroll">{_table(table, rows)}</div>'
    short = f'<div class="scroll short">{_short(table, few)}</div>' if few else ""
    return f'{short}<details><summary>all {len(rows)} rows</summary><div class="scroll">{_table(table, rows)}</div></details>'


def _short(table: Table, few: Sequence[Row]) -> str:
    if len(few) <= MOST_ROWS:
        return _table(table, few)
    gap = (
        f'<tr><td colspan="{len(table.columns)}" style="text-align: left">… {len(few) - _FIRST - _LAST} more</td></tr>'
    )
    return _table(table, few[:_FIRST], gap, few[-_LAST:])


def _table(table: Table, rows: Sequence[Row], gap: str = "", end: Sequence[Row] = ()) -> str:
    head = "".join(f'<th style="{_side(c)}" title="{escape(c.help)}">{escape(c.title)}</th>' for c in table.columns)
    body = "".join([*(_row(table, row) for row in rows), gap, *(_row(table, row) for row in end)])
    total = "" if table.total is None else _total(table)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}{total}</tbody></table>"


def _row(table: Table, row: Row) -> str:
    cells = zip(table.columns, table.cells(row), strict=True)
    return "<tr>" + "".join(_cell(column, text, row) for column, text in cells) + "</tr>"


def _total(table: Table) -> str:
    cells = zip(table.columns, table.total_cells(), strict=True)
    shown = (f'<td style="{_side(column)}"><b>{escape(text)}</b></td>' for column, text in cells)
    return "<tr>" + "".join(shown) + "</tr>"


def _cell(column: Column, text: str, row: Row) -> str:
    style, value = _side(column), row.get(column.key)
    if column.style in ("share", "progress") and isinstance(value, int | float):
        part = f"{100 * min(max(value, 0.0), 1.0):.1f}%"
        style += f"; background: linear-gradient(to right, rgba(86, 180, 233, 0.35) {part}, transparent {part})"
    if len(text) > _LONG:
        style += "; white-space: normal; min-width: 22em"
    return f'<td style="{style}">{escape(text)}</td>'


def _side(column: Column) -> str:
    return f"text-align: {'right' if column.is_number else 'left'}"


# Grays and blues are transparent, so that they are seen on a light and on a dark page.
_STYLE = (
    ".nes-lab { font-variant-numeric: tabular-nums } .nes-lab .scroll { overflow-x: auto } "
    ".nes-lab table { border-collapse: collapse; margin: 0.4em 0; font-size: 0.92em; color: inherit; background: none } "
    ".nes-lab th, .nes-lab td { padding: 0.15em 0.5em; white-space: nowrap; color: inherit; "
    "border: 0; border-bottom: 1px solid rgba(128, 128, 128, 0.35) } "
    ".nes-lab tbody tr { background: none } .nes-lab summary { cursor: pointer } "
    ".nes-lab:has(> details[open]) > .short { display: none }"
)
