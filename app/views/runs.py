"""Runs page: all training runs in one table. Filter, compare, rename, cancel, resume, extend and delete them."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from app.cached import all_runs, curve_at, run_of, run_title
from app.components.errors import guarded, show_error
from app.components.plot import plot
from app.components.tables import grid_column, show
from app.inputs import form_address, imports_refused, in_address
from nes_lab.errors import NesLabError
from nes_lab.figures.compare_runs import compare_runs
from nes_lab.progress_bar import seconds_left
from nes_lab.records.columns import Column, columns
from nes_lab.records.table import Table
from nes_lab.runs.bin import bin_of, put_in_bin, restore
from nes_lab.runs.info import RunInfo
from nes_lab.runs.launcher import start_waiting
from nes_lab.runs.overview import filter_runs, filter_values, overview
from nes_lab.runs.query import config_difference
from nes_lab.runs.relabel import relabel
from nes_lab.runs.short_curve import curve_mark
from nes_lab.runs.states import STATES
from nes_lab.runs.store import RunStore
from nes_lab.text import format_bytes, format_value

MOST_ROWS, MOST_COMPARED = 200, 12
COLORS = {"waiting": "gray", "working": "blue", "warning": "orange", "good": "green", "bad": "red"}
PICKED, DRAWN, DELETED, PROBLEM = "picked", "runs-drawn", "runs-deleted", "runs-problem"
RESULTS = ("label", "top1", "madds", "params", "latency_ms", "routing", "budget", "duration", "id")


def ask_filters(runs: Sequence[RunInfo]) -> list[RunInfo]:
    """Ask the user which runs to show, and return them."""
    values = filter_values(runs)
    text, state, group, routing = st.columns([2, 2, 2, 2], vertical_alignment="bottom")
    with text:
        words = st.text_input(
            "Search",
            placeholder="label, group, network, data set, budget",
            **in_address("search"),
            icon=":material/search:",
        )
    with state:
        states = st.multiselect("State", values["state"], placeholder="any", **in_address("state"))
    with group:
        groups = st.multiselect("Group", values["group"], placeholder="any", **in_address("group"))
    with routing:
        routings = st.multiselect("Routing", values["routing"], placeholder="any", **in_address("routing"))
    return filter_runs(runs, states, groups, routings, words)


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


def run_table(runs: Sequence[RunInfo]) -> None:
    """Draw the table of runs. The user can select rows and edit labels."""
    store, chosen = RunStore(), picked()
    curves = {info.id: curve_at(str(store.root), info.id, curve_mark(store, info.id)) for info in runs}
    left = {
        info.id: seconds_left(store.metrics(info.id), info.total, attempt=info.attempt)
        for info in runs
        if info.is_active
    }
    table = overview(runs, curves, left)
    # The grid keeps its edits by row number. Other rows, or columns of another type, need another grid.
    empty = [column.key for column in table.columns if not any(row[column.key] is not None for row in table.rows)]
    layout = ([info.id for info in runs], empty)
    drawn = st.session_state.get(DRAWN)
    if drawn is None or drawn["layout"] != layout:
        number = st.session_state["runs-grids"] = st.session_state.get("runs-grids", 0) + 1
        drawn = st.session_state[DRAWN] = {"layout": layout, "chosen": chosen, "key": f"runs-table-{number}"}
    rows = [{PICKED: row["id"] in drawn["chosen"]} | row | {"state": [row["state"]]} for row in table.grid()]
    st.data_editor(
        rows,
        key=drawn["key"],
        column_config=grid_columns(table.columns),
        disabled=[column.key for column in table.columns if column.key != "label"],
        hide_index=True,
        width="stretch",
        height="content" if len(rows) < 16 else 560,
        placeholder="–",
        on_change=take_edits,
        args=(drawn["key"], [info.id for info in runs]),
    )


def grid_columns(shown: Sequence[Column]) -> dict[str, Any]:
    """Return how the grid shows each column of the table of runs."""
    config = {column.key: grid_column(column) for column in shown}
    for name in ("progress", "curve"):
        config[name]["width"] = 90
    box = st.column_config.CheckboxColumn("", help="Select runs to compare or change them.", pinned=True, width=36)
    label = st.column_config.TextColumn("label", help="Double-click to change it.", pinned=True, max_chars=200)
    states = st.column_config.MultiselectColumn(
        "state", options=list(STATES), color=[COLORS[state.tone] for state in STATES.values()], width=90
    )
    return {PICKED: box} | config | {"label": label, "state": states}


def take_edits(key: str, run_ids: Sequence[str]) -> None:
    """Take what the user has changed in the table: the selection, and the labels of runs.

    Args:
        key: Key of the table.
        run_ids: Ids of the runs that the table showed, in the order of its rows.
    """
    chosen, store = picked(), RunStore()
    for row, edits in st.session_state[key]["edited_rows"].items():
        run_id = run_ids[int(row)]
        if PICKED in edits:
            chosen = [name for name in chosen if name != run_id] + ([run_id] if edits[PICKED] else [])
        if "label" in edits and (edits["label"] or "") != store.read(run_id).label:
            try:
                relabel(store, run_id, edits["label"] or "")
            except NesLabError as error:
                st.session_state[PROBLEM] = str(error)
    remember(chosen)


def for_each(runs: Sequence[RunInfo], do: Callable[[str], object]) -> list[str]:
    """Call a function with the id of each run, and return the ids for which it worked. The page shows the errors."""
    done, problems = [], []
    for info in runs:
        try:
            do(info.id)
            done.append(info.id)
        except NesLabError as error:
            problems.append(str(error))
    if problems:
        st.session_state[PROBLEM] = "\n".join(problems)
    return done


def actions(runs: Sequence[RunInfo]) -> None:
    """Draw the buttons that fit the selected runs."""
    stoppable = [info for info in runs if info.state in ("queued", "running")]
    resumable = [info for info in runs if info.is_resumable and not info.given]
    ended = [info for info in runs if not info.is_active and info.state != "queued"]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{len(runs)} selected**")
        if len(runs) == 1:
            st.page_link("views/run.py", label="Open", icon=":material/monitoring:", query_params={"run": runs[0].id})
        if stoppable and st.button("Cancel", icon=":material/stop_circle:"):
            for_each(stoppable, lambda run_id: run_of(run_id).cancel())
            st.rerun()
        if resumable and st.button("Resume", icon=":material/play_circle:"):
            resume(resumable)
        if len(ended) == 1 == len(runs):
            with st.popover("More epochs", icon=":material/fast_forward:"):
                ask_extension(ended[0])
        if len(runs) == 1 and st.button("Launch with changes", icon=":material/edit:"):
            open_form(runs[0])
        if ended:
            with st.popover("Delete", icon=":material/delete:"):
                ask_delete(ended)
        if st.button("Clear the selection", icon=":material/close:", type="tertiary"):
            pick([])
            st.rerun()


def resume(runs: Sequence[RunInfo]) -> None:
    """Put runs into the queue, so that they continue from their last checkpoint."""
    if not any(imports_refused(info.config) for info in runs):
        for_each(runs, lambda run_id: run_of(run_id).resume(detach=True))
        st.rerun()


def ask_extension(info: RunInfo) -> None:
    """Ask for a larger number of epochs, and train the run further when the user presses the button."""
    planned = info.config.get("training", {}).get("epochs", 1)
    epochs = st.number_input("Epochs in total", planned + 1, value=2 * planned, key=f"more-{info.id}")
    st.caption("The learning rate follows the longer schedule from here on, so it may rise.")
    if st.button("Train further", type="primary") and not imports_refused(info.config):
        for_each([info], lambda run_id: run_of(run_id).extend(int(epochs), detach=True))
        st.rerun()


def ask_delete(runs: Sequence[RunInfo]) -> None:
    """Ask whether to delete runs, and move them into the bin when the user presses the button."""
    st.write("These runs go into the bin. You can take them out again.")
    for info in runs:
        st.text(run_title(info))
    if st.button("Move into the bin", type="primary"):
        st.session_state[DELETED] = for_each(runs, lambda run_id: put_in_bin(RunStore(), run_id))
        pick([run_id for run_id in picked() if run_id not in st.session_state[DELETED]])
        st.rerun()


def open_form(info: RunInfo) -> None:
    """Open the Compress page with the settings of a run."""
    st.switch_page("views/compress.py", query_params=form_address(info.config))


def compare(runs: Sequence[RunInfo]) -> None:
    """Draw the curves of some runs over each other, the settings in which they differ, and their results."""
    st.subheader("Compare")
    if len(runs) > MOST_COMPARED:
        st.caption(f"The first {MOST_COMPARED} of the {len(runs)} selected runs are compared.")
    runs = runs[:MOST_COMPARED]
    left, right = st.columns([3, 2], gap="medium")
    with left:
        plot(compare_runs([run_of(info.id) for info in runs]), key="compare")
    with right:
        st.markdown("**Results**")
        show(Table(columns(*RESULTS), overview(runs).rows), "compared-results")
        st.markdown("**Settings that differ**")
        differing = config_difference(runs)
        if not differing:
            st.caption("All settings are equal.")
            return
        names = [info.label or info.id for info in runs]
        shown = [Column("field", "setting", "Name of the setting.")]
        shown += [Column(f"run-{place}", name, "Value in this run.") for place, name in enumerate(names)]
        rows = [
            {"field": path} | {f"run-{place}": format_value(value) for place, value in enumerate(values)}
            for path, values in differing.items()
        ]
        show(Table(shown, rows), "compared-settings")


def show_undo() -> None:
    """Offer to undo the last deletion."""
    deleted = st.session_state.get(DELETED)
    if not deleted:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"Deleted {len(deleted)} {'run' if len(deleted) == 1 else 'runs'}.")
        if st.button("Undo", icon=":material/undo:"):
            put_back(deleted)


def put_back(run_ids: Sequence[str]) -> None:
    """Take runs out of the bin, and draw the page again."""
    for_each([RunInfo(run_id) for run_id in run_ids], lambda run_id: restore(RunStore(), run_id))
    st.session_state.pop(DELETED, None)
    st.rerun()


def show_bin() -> None:
    """Draw the runs in the bin. The user can restore them, or delete them for good."""
    deleted = bin_of(RunStore())
    runs = deleted.list()
    if not runs:
        return
    with st.expander(f"Bin ({len(runs)})", icon=":material/delete:"):
        for info in runs[:MOST_ROWS]:
            left, middle, right = st.columns([4, 1, 1], vertical_alignment="center")
            left.text(f"{run_title(info)} · {format_bytes(deleted.size(info.id))}")
            if middle.button("Restore", key=f"restore-{info.id}", width="stretch"):
                put_back([info.id])
            with right.popover("Delete for good", width="stretch"):
                st.write("Its files cannot be brought back.")
                if st.button("Delete for good", type="primary", key=f"destroy-{info.id}"):
                    for_each([info], deleted.delete)
                    st.rerun()


@guarded
def body(just_read: list[list[RunInfo]]) -> None:
    """Draw all of the page that changes while runs train.

    Args:
        just_read: The runs, if the page has read them at this moment. They are taken out of the list.
    """
    runs = just_read.pop() if just_read else all_runs()
    if problem := st.session_state.pop(PROBLEM, None):
        show_error(problem)
    show_undo()
    shown = ask_filters(runs)
    if not shown:
        st.info("No run matches. Change the filters.", icon=":material/filter_alt_off:")
    else:
        if len(shown) > MOST_ROWS:
            st.caption(f"The newest {MOST_ROWS} of {len(shown)} runs. Filter them to see others.")
        elif len(shown) < len(runs):
            st.caption(f"{len(shown)} of {len(runs)} runs")
        run_table(shown[:MOST_ROWS])
    by_id = {info.id: info for info in runs}
    chosen = [by_id[run_id] for run_id in picked() if run_id in by_id]
    if chosen:
        actions(chosen)
    elif shown:
        st.caption("Select rows to compare, cancel, resume or delete runs. Double-click a label to change it.")
    if len(chosen) > 1:
        compare(chosen)
    show_bin()


st.title("Runs")
start_waiting(RunStore())
listed = all_runs()
if not listed:
    st.info(
        "There are no runs yet. Start one on the page **Compress**, or run `make demo` in a terminal.",
        icon=":material/info:",
    )
    st.page_link("views/compress.py", label="Go to Compress", icon=":material/arrow_forward:")
    show_undo()
    show_bin()
else:
    busy = any(info.is_active or info.state == "queued" for info in listed)
    st.fragment(body, run_every=5 if busy else None)([listed])
