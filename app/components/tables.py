"""Show tables of runs and of layers on a page."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import streamlit as st

from nes_lab.records.columns import Column, columns
from nes_lab.records.plan_table import explanation, layer_table
from nes_lab.records.table import Table
from nes_lab.runs.info import RunInfo
from nes_lab.runs.query import run_table
from nes_lab.text import NO_VALUE, format_share

__all__ = [
    "choose_row",
    "grid_column",
    "grid_rows",
    "load_tables",
    "reasons_table",
    "results_table",
    "run_list",
    "shapes_table",
    "show",
]

_FORMATS = {
    "count": "localized",
    "share": "%.1f %%",
    "percent": "%.2f",
    "accuracy": "%.1f %%",
    "ms": "%.2f",
    "bytes": "bytes",
}
RESULTS = (
    "label",
    "routing",
    "top1",
    "madds",
    "params",
    "latency_ms",
    "width",
    "seed",
    "scope",
    "top5",
    "extended_from",
)
RESULTS += ("dataset", "backbone", "group", "state", "id")


def load_tables() -> None:
    """Load the packages with which Streamlit draws tables. It takes a second that the first visitor would wait otherwise."""
    for name in ("pandas", "pyarrow"):
        import_module(name)


def run_list(runs: Sequence[RunInfo], key: str) -> str | None:
    """Show a short table of runs, their states and results. Return the id of the run that the user selected, or None."""
    rows = [
        {
            "label": info.label or info.id,
            "state": f"{info.state}, {format_share(info.bar_progress, digits=0)}" if info.is_active else info.state,
            "top1": info.summary.get("top1"),
            "madds": info.summary.get("madds"),
            "params": info.summary.get("params"),
        }
        for info in runs
    ]
    shown = columns("label", "state", "top1", "madds", "params")
    return choose_row(Table(shown, rows), key, [info.id for info in runs])


def results_table(runs: Sequence[RunInfo], key: str) -> None:
    """Show a table of the settings and results of runs, with a button that downloads the table as CSV."""
    table = run_table(runs)
    show(Table(columns(*RESULTS), list(table)), key)
    st.download_button("Download as CSV", table.to_csv(), "runs.csv", "text/csv", icon=":material/download:")


def shapes_table(rows: Sequence[Mapping[str, Any]], key: str) -> None:
    """Show a compression plan as a table: for each layer its shapes, and its params and multiply-adds before and after."""
    show(layer_table(rows), key)


def reasons_table(rows: Sequence[Mapping[str, Any]], key: str) -> None:
    """Show a table that says why each layer of a compression plan stays dense or has its epitome shape.

    An execution plan is a way to compute a layer. The table also shows the layer's multiply-adds with each execution
    plan.
    """
    table = explanation(rows)
    show(replace(table, columns=(*table.columns, *columns("unavailable"))), key)


def show(table: Table, key: str, **options: Any) -> Any:
    """Show a table in a grid that the user can sort. The first column stays visible when the user scrolls sideways.

    A cell without a value shows a dash.
    """
    first, *others = table.columns
    config = {first.key: st.column_config.TextColumn(first.heading, help=first.help, pinned=True)}
    config |= {column.key: grid_column(column) for column in others}
    options |= {"column_config": config, "placeholder": NO_VALUE, "hide_index": True, "width": "stretch"}
    return st.dataframe(grid_rows(table), key=key, **options)


def choose_row(table: Table, key: str, names: Sequence[str]) -> str | None:
    """Show a table. Return the name of the row that the user has just selected, or None.

    It is the row that the user saw: when the page is drawn again, a new run may have moved the rows.

    Args:
        table: The table.
        key: Key of the table on the page.
        names: A name for each row, such as the id of its run.
    """
    place = f"{key}-chosen"

    def keep() -> None:
        rows = st.session_state[key].selection.rows
        st.session_state[place] = names[rows[0]] if rows else None

    show(table, key, on_select=keep, selection_mode="single-row")
    return st.session_state.pop(place, None)


def grid_rows(table: Table) -> list[dict[str, Any]]:
    """Return the rows of a table for a grid. Shares become percent, so that :func:`grid_column` can put a space before the sign."""
    shares = [column.key for column in table.columns if column.style in ("share", "progress")]
    scaled = ({key: 100 * row[key] for key in shares if row[key] is not None} for row in table.grid())
    return [row | percents for row, percents in zip(table.grid(), scaled, strict=True)]


def grid_column(column: Column) -> Any:
    """Return how Streamlit shows a column of a table in a grid."""
    if column.style == "curve":
        return st.column_config.LineChartColumn(column.heading, help=column.help)
    if column.style == "date":
        return st.column_config.DatetimeColumn(column.heading, help=column.help, format="YYYY-MM-DD HH:mm")
    if column.style == "progress":
        kind = st.column_config.ProgressColumn
        return kind(column.heading, help=column.help, min_value=0, max_value=100, format="%.0f %%", width="small")
    if column.is_number:
        kind = st.column_config.NumberColumn
        return kind(column.heading, help=column.help, format=_FORMATS.get(column.style))
    return st.column_config.TextColumn(column.heading, help=column.help)
