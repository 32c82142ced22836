"""Trade-off page: what networks cost against how good they are, and which is best under a budget."""

import streamlit as st

from app.cached import all_runs
from app.components.errors import plain_text, show_error
from app.components.plot import plot
from app.components.tables import results_table, show
from app.inputs import in_address
from app.remembered import set_current_run
from nes_lab.errors import BudgetError
from nes_lab.figures.published import published
from nes_lab.figures.trade_off import trade_off
from nes_lab.runs.info import RunInfo
from nes_lab.runs.measures import COSTS, RESULTS, read_limit
from nes_lab.runs.query import run_table
from nes_lab.runs.settings import setting_results
from nes_lab.runs.verdict import Verdict, setting_table, verdict

PLACEHOLDERS = {"count": "such as 1.2M", "bytes": "such as 140 kB", "ms": "such as 2.5"}


def budget_field(cost: str) -> float | None:
    """Ask for the most that a network may cost. Return None if the field is empty or its text is wrong."""
    measure = COSTS[cost]
    text = st.text_input(
        f"Budget ({'ms' if measure.unit == 'ms' else measure.name})",
        placeholder=PLACEHOLDERS[measure.unit],
        help="The most that a network may cost. The figure hatches what costs more, and names the best of the rest.",
        **in_address(f"budget-{cost}"),
    )
    try:
        return read_limit(text or "", cost)
    except BudgetError as error:
        show_error(str(error))
        return None


def choose_data(finished: list[RunInfo]) -> list[RunInfo]:
    """Let the user choose a data set and groups of runs, and return the runs. Results on different data cannot be compared."""
    data_sets = {row["id"]: row["dataset"] or "unknown" for row in run_table(finished)}
    names = sorted(set(data_sets.values()))
    groups = sorted({info.group for info in finished if info.group})
    shown = finished
    if len(names) > 1:
        chosen = st.selectbox(
            "Data set", names, help="Results on different data cannot be compared.", **in_address("data")
        )
        shown = [info for info in shown if data_sets[info.id] == chosen]
    if groups:
        picked = st.multiselect(
            "Groups", groups, placeholder="all runs", help="Show only the runs of these groups.", **in_address("groups")
        )
        shown = [info for info in shown if not picked or info.group in picked]
    return shown


def open_run(run_id: str) -> None:
    """Show a run on its own page."""
    set_current_run(run_id)
    st.switch_page("views/run.py", query_params={"run": run_id})


def show_verdict(answer: Verdict) -> None:
    """Show which setting is best, in words, with a button that opens its newest run."""
    with st.container(border=True):
        st.caption(plain_text(answer.heading))
        st.markdown(f"#### {plain_text(answer.answer)}")
        for line in answer.lines:
            st.markdown(plain_text(line))
        if answer.best is not None and st.button(
            "Open its newest run", icon=":material/arrow_forward:", type="primary"
        ):
            open_run(answer.best.seeds[0].run)


st.title("Trade-off")
finished = [info for info in all_runs() if info.state == "finished"]
if not finished:
    st.info(
        "No run has finished yet, so there is nothing to compare. Start one on the page **Compress**, or run "
        "`make demo` in a terminal.",
        icon=":material/info:",
    )
    st.page_link("views/compress.py", label="Go to Compress", icon=":material/arrow_forward:")
main, side = st.columns([2, 1], gap="medium")
if finished:
    with main:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            cost = st.selectbox("Across", list(COSTS), format_func=lambda key: COSTS[key].name, **in_address("across"))
            result = st.selectbox("Up", list(RESULTS), format_func=lambda key: RESULTS[key].name, **in_address("up"))
            budget = budget_field(cost)
            shown = choose_data(finished)
        rows = list(run_table(shown))
        settings = setting_results(rows, cost, result)
        clicked = plot(trade_off(rows, cost, result, budget), key="trade-off", clickable=True)
        if clicked in {row["id"] for row in rows}:
            open_run(clicked)
        st.caption(
            "Small dots: single runs. Large: the mean over seeds, with bars of one standard deviation. A line joins the best "
            "settings of a method; hollow ones are beaten by a cheaper one. Hatched: over the budget. Ring: the best below "
            "it. Methods with equal cost are drawn side by side. Click a dot to open its run."
        )
        answer = verdict(settings, cost, result, budget)
        if settings:
            show(setting_table(settings, answer, result), key="settings")
    with side:
        show_verdict(answer)
with side:
    plot(published(), key="published")
if finished:
    with st.expander("All runs, one by one"):
        results_table(shown, key="results")
