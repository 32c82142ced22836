"""Draw the buttons that change selected runs: cancel, resume, more epochs, launch with changes, queue order and delete."""

from collections.abc import Callable, Sequence

import streamlit as st

from app.cached import is_bundled, run_of, run_title
from app.components.runs_grid import PROBLEM, pick, picked
from app.inputs import form_address, imports_refused
from nes_lab.errors import NesLabError
from nes_lab.runs.bin import bin_of, put_in_bin, restore
from nes_lab.runs.info import RunInfo
from nes_lab.runs.queue_order import Move, move_waiting, waiting_ids
from nes_lab.runs.store import RunStore
from nes_lab.text import format_bytes

__all__ = ["run_actions", "show_bin", "show_undo"]

DELETED = "runs-deleted"
MOST_IN_BIN = 200
ORDER: tuple[tuple[Move, str, str], ...] = (
    ("first", "First in the queue", ":material/vertical_align_top:"),
    ("up", "Earlier", ":material/arrow_upward:"),
    ("down", "Later", ":material/arrow_downward:"),
)


def run_actions(runs: Sequence[RunInfo]) -> None:
    """Draw the buttons that fit the selected runs."""
    stoppable = [info for info in runs if info.state in ("queued", "running")]
    resumable = [info for info in runs if info.is_resumable and not info.given]
    ended = [info for info in runs if not info.is_active and info.state != "queued" and not is_bundled(info.id)]
    waiting = [info for info in runs if info.state == "queued"]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{len(runs)} selected**")
        if len(runs) == 1:
            st.page_link("views/run.py", label="Open", icon=":material/monitoring:", query_params={"run": runs[0].id})
        if stoppable and st.button("Cancel", icon=":material/stop_circle:"):
            for_each(stoppable, lambda run_id: run_of(run_id).cancel())
            st.rerun()
        if resumable and st.button("Resume", icon=":material/play_circle:"):
            resume(resumable)
        if len(ended) == len(runs):
            with st.popover("More epochs", icon=":material/fast_forward:"):
                ask_extension(ended)
        if len(runs) == 1 and st.button("Launch with changes", icon=":material/edit:"):
            st.switch_page("views/compress.py", query_params=form_address(runs[0].config))
        if waiting and len(waiting_ids(RunStore())) > 1:
            ask_order(waiting)
        if ended:
            with st.popover("Delete", icon=":material/delete:"):
                ask_delete(ended)
        if st.button("Clear the selection", icon=":material/close:", type="tertiary"):
            pick([])
            st.rerun()


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


def resume(runs: Sequence[RunInfo]) -> None:
    """Put runs into the queue, so that they continue from their last checkpoint."""
    if not any(imports_refused(info.config) for info in runs):
        for_each(runs, lambda run_id: run_of(run_id).resume(detach=True))
        st.rerun()


def ask_order(waiting: Sequence[RunInfo]) -> None:
    """Draw the buttons that move waiting runs in the queue."""
    for where, label, icon in ORDER:
        if st.button(label, icon=icon):
            try:
                move_waiting(RunStore(), [info.id for info in waiting], where)
            except NesLabError as error:
                st.session_state[PROBLEM] = str(error)
            st.rerun()


def ask_extension(runs: Sequence[RunInfo]) -> None:
    """Ask for a larger number of epochs, and train the runs further when the user presses the button."""
    planned = max(info.config.get("training", {}).get("epochs", 1) for info in runs)
    key = f"more-{'-'.join(info.id for info in runs)}"
    epochs = st.number_input("Epochs in total", planned + 1, value=2 * planned, key=key)
    st.caption("The learning rate follows the longer schedule from here on, so it may rise.")
    refused = any(imports_refused(info.config) for info in runs)
    if st.button("Train further", type="primary") and not refused:
        for_each(runs, lambda run_id: run_of(run_id).extend(int(epochs), detach=True))
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
        for info in runs[:MOST_IN_BIN]:
            left, middle, right = st.columns([4, 1, 1], vertical_alignment="center")
            left.text(f"{run_title(info)} · {format_bytes(deleted.size(info.id))}")
            if middle.button("Restore", key=f"restore-{info.id}", width="stretch"):
                put_back([info.id])
            with right.popover("Delete for good", width="stretch"):
                st.write("Its files cannot be brought back.")
                if st.button("Delete for good", type="primary", key=f"destroy-{info.id}"):
                    for_each([info], deleted.delete)
                    st.rerun()
