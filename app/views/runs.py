"""Runs page: all training runs in one table. Filter, compare, rename, tag, cancel, resume, extend, order and delete them."""

from collections.abc import Sequence

import streamlit as st

from app.cached import all_runs, details_of, is_bundled, reading_details
from app.components.errors import guarded, plain_text, show_error
from app.components.run_actions import run_actions, show_bin, show_undo
from app.components.run_comparison import compare
from app.components.runs_grid import PROBLEM, picked, run_grid
from app.inputs import in_address
from nes_lab.runs.info import RunInfo
from nes_lab.runs.launcher import start_waiting
from nes_lab.runs.overview import filter_runs, filter_values
from nes_lab.runs.queue_order import waiting_ids, waiting_text
from nes_lab.runs.store import RunStore

MOST_ROWS = 200
FILTERS = {"state": "State", "group": "Group", "routing": "Routing", "tags": "Tags"}
SOON, OFTEN, SELDOM = 1, 5, 10
HINT = "Select one row to open its run, or several rows to compare them."
OWN_HINT = "Selected runs can be canceled, resumed and deleted. Double-click a label, tags or a note to edit."


def ask_filters(runs: Sequence[RunInfo]) -> list[RunInfo]:
    """Ask the user which runs to show, and return them."""
    values = filter_values(runs)
    chosen = {}
    with st.container(horizontal=True, vertical_alignment="bottom"):  # two beside each other on a narrow screen
        words = st.text_input(
            "Search",
            placeholder="label, tag, note, group, network, data set, budget",
            **in_address("search"),
            icon=":material/search:",
            width=340,
        )
        for name, label in FILTERS.items():
            chosen[name] = st.multiselect(label, values[name], placeholder="any", **in_address(name), width=150)
    return filter_runs(runs, chosen["state"], chosen["group"], chosen["routing"], words, chosen["tags"])


def unread() -> int:
    """Return how many runs are still being read in the background."""
    return reading_details()


@guarded
def body(just_read: list[list[RunInfo]], period: int) -> None:
    """Draw all of the page that changes while runs train.

    Args:
        just_read: The runs, if the page has read them at this moment. They are taken out of the list.
        period: Seconds after which this part is drawn again by itself.
    """
    runs = just_read.pop() if just_read else all_runs()
    if problem := st.session_state.pop(PROBLEM, None):
        show_error(problem)
    show_undo()
    shown = ask_filters(runs)
    if not shown:
        st.info("No run matches. Change the filters.", icon=":material/filter_alt_off:")
    else:
        show_counts(runs, shown)
        run_grid(shown[:MOST_ROWS])
    by_id = {info.id: info for info in runs}
    chosen = [by_id[run_id] for run_id in picked() if run_id in by_id]
    if chosen:
        run_actions(chosen)
    elif shown:
        st.caption(HINT if all(is_bundled(info.id) for info in shown) else f"{HINT} {OWN_HINT}")
    if len(chosen) > 1:
        compare(chosen)
    show_bin()
    if period != wanted_period(runs):
        st.rerun()  # the whole page, so that this part is drawn again as often as is needed now


def show_counts(runs: Sequence[RunInfo], shown: Sequence[RunInfo]) -> None:
    """Draw a line that says how many runs are shown, how many wait, and how many are still being read."""
    parts = []
    if len(shown) > MOST_ROWS:
        parts.append(f"The newest {MOST_ROWS} of {len(shown)} runs. Filter them to see others.")
    elif len(shown) < len(runs):
        parts.append(f"{len(shown)} of {len(runs)} runs")
    if waiting := waiting_text(runs, waiting_ids(RunStore())):
        parts.append(waiting)
    if count := unread():
        parts.append(f"reading the curves of {count} {'run' if count == 1 else 'runs'}…")
    if parts:
        st.caption(plain_text(" · ".join(parts)))


def wanted_period(runs: Sequence[RunInfo]) -> int:
    """Return after how many seconds the table should be drawn again. Another tab, or the command line, may start or resume a run."""
    if unread():
        return SOON
    return OFTEN if any(info.is_active or info.state == "queued" for info in runs) else SELDOM


st.title("Runs")
start_waiting(RunStore())
listed = all_runs()
if not listed:
    st.info(
        "There are no runs yet. Start one on the page **Start** or **Compress**.",
        icon=":material/info:",
    )
    st.page_link("views/compress.py", label="Go to Compress", icon=":material/arrow_forward:")
    show_undo()
    show_bin()
else:
    details_of(listed[:MOST_ROWS])
    every = wanted_period(listed)
    st.fragment(body, run_every=every)([listed], every)
