"""Show the table of all training runs. The user selects rows in it, and edits labels, tags and notes."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from app.cached import details_of, is_bundled, root_of
from app.components.state_colors import STATE_COLORS
from app.components.tables import grid_column, grid_rows
from nes_lab.errors import NesLabError
from nes_lab.records.columns import Column
from nes_lab.runs.annotate import LABEL_LENGTH, NOTE_LENGTH, annotate
from nes_lab.runs.info import RunInfo
from nes_lab.runs.overview import filter_values, overview
from nes_lab.runs.queue_order import waiting_ids
from nes_lab.runs.run_progress import times_left
from nes_lab.runs.states import STATES
from nes_lab.runs.store import RunStore
from nes_lab.text import NO_VALUE

__all__ = ["PROBLEM", "pick", "picked", "run_grid"]

PICKED, DRAWN, PROBLEM, TAKEN = "picked", "runs-drawn", "runs-problem", "runs-taken"
EDITABLE = ("label", "tags", "note")
WIDTHS = {"progress": 90, "curve": 100, "place": 70, "time_left": 90, "top1": 80, "disk": 80, "duration": 90}
_LESS_THAN_A_SCREEN, _HEIGHT = 16, 560


def picked() -> list[str]:
    """Return the ids of the runs that the user has selected. The address of the page has them."""
    listed = st.query_params.get(PICKED, st.session_state.get(PICKED))
    return [name for name in listed.split(",") if name] if listed else []


def remember(run_ids: Sequence[str]) -> None:
    """Keep the ids of the selected runs in the address, and for the time when the user comes back to this page."""
    st.query_params[PICKED] = st.session_state[PICKED] = ",".join(run_ids)


def pick(run_ids: Sequence[str]) -> None:
    """Select these runs, and draw the table again."""
    remember(run_ids)
    st.session_state.pop(DRAWN, None)


def run_grid(runs: Sequence[RunInfo]) -> None:
    """Draw the table of runs. The user can select rows and edit labels, tags and notes."""
    store = RunStore()
    table = overview(runs, details_of(runs), times_left(store, runs), waiting_ids(store))
    editable = EDITABLE if any(not is_bundled(info.id) for info in runs) else ()  # the bundled demo can only be read
    shown = [
        column
        for column in table.columns
        if any(row[column.key] is not None for row in table.rows) and (editable or column.key not in ("tags", "note"))
    ]
    tags = filter_values(runs)["tags"]
    forget_outdated(runs)
    drawn = drawn_grid([[info.id for info in runs], [column.key for column in shown], tags])
    rows = [
        {PICKED: row["id"] in drawn["chosen"]} | row | {"state": [row["state"]], "tags": list(info.tags)}
        for row, info in zip(grid_rows(table), runs, strict=True)
    ]
    st.data_editor(
        rows,
        key=drawn["key"],
        column_config=grid_columns(shown, tags, bool(editable)),
        column_order=[PICKED, *(column.key for column in shown)],
        disabled=[column.key for column in table.columns if column.key not in editable],
        hide_index=True,
        width="stretch",
        height="content" if len(rows) < _LESS_THAN_A_SCREEN else _HEIGHT,
        placeholder=NO_VALUE,
        on_change=take_edits,
        args=(drawn["key"], [info.id for info in runs]),
    )


def forget_outdated(runs: Sequence[RunInfo]) -> None:
    """Draw a new grid if a text in the grid is not that of its run: it was refused, or changed in another tab."""
    drawn = st.session_state.get(DRAWN)
    taken = taken_edits(drawn["key"]) if drawn else {}
    for info in runs:
        if any(value != getattr(info, name) for name, value in taken.get(info.id, {}).items()):
            st.session_state.pop(DRAWN, None)


def drawn_grid(layout: list[Any]) -> dict[str, Any]:
    """Return the key of the grid to draw, and the rows that are selected when it is drawn for the first time.

    Args:
        layout: What the grid consists of. The grid keeps its edits by row number, so other rows, or columns of another type,
            need another grid.
    """
    drawn = st.session_state.get(DRAWN)
    if drawn is None or drawn["layout"] != layout:
        number = st.session_state["runs-grids"] = st.session_state.get("runs-grids", 0) + 1
        drawn = {"layout": layout, "chosen": picked(), "key": f"runs-table-{number}"}
        st.session_state[DRAWN] = drawn
    return drawn


def grid_columns(shown: Sequence[Column], tags: Sequence[str], editable: bool = True) -> dict[str, Any]:
    """Return how the grid shows each column of the table of runs.

    Args:
        shown: The columns.
        tags: All tags that a run has.
        editable: The user can change labels, tags and notes.
    """
    config = {column.key: grid_column(column) for column in shown}
    for name, width in WIDTHS.items():
        if name in config:
            config[name]["width"] = width
    kind, edit = st.column_config, "Double-click to change it." if editable else None
    states = {"options": list(STATES), "color": [STATE_COLORS[state.tone] for state in STATES.values()], "width": 90}
    return config | {
        PICKED: kind.CheckboxColumn("", help="Select runs to compare or change them.", pinned=True, width=36),
        "label": kind.TextColumn("Label", help=edit, pinned=True, max_chars=LABEL_LENGTH, width=250),
        "state": kind.MultiselectColumn("State", help="What the run is doing.", **states),
        "tags": kind.MultiselectColumn("Tags", help=edit, options=list(tags), accept_new_options=True, width=130),
        "note": kind.TextColumn("Note", help=edit, max_chars=NOTE_LENGTH, width=160),
    }


def take_edits(key: str, run_ids: Sequence[str]) -> None:
    """Take what the user has changed in the table: the selection, and the labels, tags and notes of runs.

    Args:
        key: Key of the table.
        run_ids: Ids of the runs that the table showed, in the order of its rows.
    """
    chosen = picked()
    for row, edits in st.session_state[key]["edited_rows"].items():
        run_id = run_ids[int(row)]
        if PICKED in edits:
            chosen = [name for name in chosen if name != run_id] + ([run_id] if edits[PICKED] else [])
        texts = {name: edits[name] or "" for name in ("label", "note") if name in edits}
        texts |= {"tags": tuple(edits["tags"] or ())} if "tags" in edits else {}
        before = taken_edits(key).get(run_id, {})
        taken_edits(key)[run_id] = texts
        try:
            # the table keeps all its edits: one that was taken before may have been changed in another tab since
            changed = {name: value for name, value in texts.items() if value != before.get(name)}
            annotate(RunStore(root_of(run_id)), run_id, **changed)
        except NesLabError as error:
            st.session_state[PROBLEM] = str(error)
    remember(chosen)


def taken_edits(key: str) -> dict[str, dict[str, Any]]:
    """Return the texts that were taken from a table, by the ids of their runs.

    Args:
        key: Key of the table.
    """
    taken = st.session_state.setdefault(TAKEN, {"key": key, "texts": {}})
    if taken["key"] != key:
        taken = st.session_state[TAKEN] = {"key": key, "texts": {}}
    return taken["texts"]
