"""Tables of runs and of layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from nes_lab.runs.info import RunInfo
from nes_lab.runs.query import run_table
from nes_lab.text import format_shape

__all__ = ["layer_table", "reasons_table", "results_table", "run_list"]

_NUMBER = st.column_config.NumberColumn
_COLUMNS = {
    "label": st.column_config.TextColumn("label", pinned=True),
    "params": _NUMBER("params", format="localized", help="Numbers stored"),
    "madds": _NUMBER("MAdds", format="localized", help="Multiply-adds of one forward pass"),
    "top1": _NUMBER("top-1 (%)", format="%.2f"),
    "top5": _NUMBER("top-5 (%)", format="%.2f"),
    "latency_ms": _NUMBER("latency (ms)", format="%.2f", help="Median, measured on the machine that trained it"),
    "progress": st.column_config.ProgressColumn("progress", min_value=0, max_value=1, format="percent"),
    "started": st.column_config.DatetimeColumn("created", format="D MMM, HH:mm"),
}


def run_list(runs: Sequence[RunInfo], key: str) -> str | None:
    """List runs with their states; returns the id of the row that was chosen, if any."""
    rows = [
        {
            "label": info.label or info.id,
            "state": info.state,
            "progress": info.progress,
            "top1": info.summary.get("top1"),
            "madds": info.summary.get("madds"),
            "group": info.group,
            "id": info.id,
        }
        for info in runs
    ]
    event = st.dataframe(
        rows,
        column_config=_COLUMNS,
        hide_index=True,
        width="stretch",
        key=key,
        on_select="rerun",
        selection_mode="single-row",
    )
    chosen = event.selection.rows  # pyright: ignore[reportAttributeAccessIssue]
    return runs[chosen[0]].id if chosen else None


def results_table(runs: Sequence[RunInfo], key: str) -> None:
    """Settings and results of runs, with the file to take away."""
    table = run_table(runs)
    order = ("label", "routing", "top1", "madds", "params", "latency_ms", "width", "seed", "scope", "top5")
    order += ("dataset", "backbone", "group", "state", "id")
    st.dataframe(list(table), column_order=order, column_config=_COLUMNS, hide_index=True, width="stretch", key=key)
    st.download_button("Download as CSV", table.to_csv(), "runs.csv", "text/csv", icon=":material/download:")


def layer_table(rows: Sequence[Mapping[str, Any]], key: str) -> None:
    """One row per layer of a compression plan."""
    shown = [
        {
            "layer": row["name"],
            "kind": row["kind"],
            "weight": format_shape(row["weight_shape"]),
            "epitome": format_shape(row["epitome_shape"]),
            "routing": row["routing"] or "dense",
            "ratio": row["ratio"],
            "params, dense": row["params_dense"],
            "params": row["params"],
            "MAdds, dense": row["madds_dense"],
            "MAdds": row["madds"],
            "runs as": row["runs"] or "dense",
        }
        for row in rows
    ]
    numbers = {name: _NUMBER(name, format="localized") for name in ("params, dense", "params", "MAdds, dense", "MAdds")}
    numbers["ratio"] = _NUMBER("ratio", format="percent", help="Params after, as a share of those before")
    pinned = {"layer": st.column_config.TextColumn("layer", pinned=True)}
    st.dataframe(shown, column_config=pinned | numbers, hide_index=True, width="stretch", key=key)


def reasons_table(rows: Sequence[Mapping[str, Any]], key: str) -> None:
    """Why each layer of a plan is dense or as large as it is, and its multiply-adds under every execution plan."""
    names = list(dict.fromkeys(name for row in rows for name in (*row["executions"], *row["unavailable"])))
    shown = [
        {"layer": row["name"], "why": _why(row)}
        | {name: row["executions"].get(name) for name in names}
        | {"not available": "; ".join(f"{name}: {reason}" for name, reason in row["unavailable"].items())}
        for row in rows
    ]
    numbers = {name: _NUMBER(f"MAdds as {name}", format="localized") for name in names}
    pinned = {
        "layer": st.column_config.TextColumn("layer", pinned=True),
        "why": st.column_config.TextColumn("why", width="large"),
    }
    st.dataframe(shown, column_config=pinned | numbers, hide_index=True, width="stretch", key=key)


def _why(row: Mapping[str, Any]) -> str:
    if row["reason"]:
        return f"kept dense: {row['reason']}"
    return row["why"] or f"shrunk by the budget; runs as {row['runs']}"
