"""Trade-off page: what networks cost against how good they are, and which is best within limits."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from app.cached import fitting_runs
from app.components.errors import plain_text, show_error
from app.components.plot import plot
from app.components.tables import choose_row, results_table, show
from app.inputs import in_address
from app.remembered import set_current_run
from nes_lab.errors import BudgetError
from nes_lab.figures.measured_study import measured_study, studied_networks
from nes_lab.figures.published import published
from nes_lab.figures.trade_off import trade_off
from nes_lab.runs.difference import RULE
from nes_lab.runs.info import RunInfo
from nes_lab.runs.measures import COSTS, RESULTS, limit_text, read_limit, read_result
from nes_lab.runs.method_table import method_table
from nes_lab.runs.query import run_table
from nes_lab.runs.settings import SettingResult, setting_results, settings_with
from nes_lab.runs.verdict import Verdict, latency_finding, setting_table, verdict

PLACEHOLDERS = {"count": "such as 1.2M", "bytes": "such as 140 kB", "ms": "such as 2.5"}
RESULT_PLACEHOLDERS = {"percent": "such as 88", "loss": "such as 0.4"}


def limit_field(
    label: str, key: str, read: Callable[[str, str], float | None], measure: str, **options: str
) -> float | None:
    """Ask for a limit. Return None if the field is empty or its text is wrong.

    Args:
        label: Label of the field.
        key: Name of the value in the address.
        read: Function that reads the text for a measure.
        measure: Key of the measure.
        options: Further options of the field.
    """
    text = st.text_input(label, **options, **in_address(key))
    try:
        return read(text or "", measure)
    except BudgetError as error:
        show_error(str(error))
        return None


def budget_field(cost: str) -> float | None:
    """Ask for the most that a network may cost."""
    measure = COSTS[cost]
    return limit_field(
        f"Budget ({'ms' if measure.unit == 'ms' else measure.name})",
        f"budget-{cost}",
        read_limit,
        cost,
        placeholder=PLACEHOLDERS[measure.unit],
        help="The most that a network may cost. The figure hatches what costs more, and names the best of the rest.",
    )


def least_field(result: str) -> float | None:
    """Ask for the least accuracy, or the largest loss, that a network may have."""
    measure = RESULTS[result]
    return limit_field(
        f"{'Most' if measure.lower_is_better else 'Least'} {measure.name}",
        f"least-{result}",
        read_result,
        result,
        placeholder=RESULT_PLACEHOLDERS[measure.unit],
        help="What a network must reach. Without a budget, the cheapest network that reaches it is named.",
    )


def move_limit(figure: Any, cost: str, result: str) -> Callable[[str, float | None, float | None], None]:
    """Return the function that enters a limit into its field when the user has moved its handle."""
    ends = {handle["id"]: handle for handle in figure.layout.meta.get("handles") or ()}

    def moved(name: str, x: float | None, y: float | None) -> None:
        limits = ends[name]
        if name == "budget":
            st.session_state[f"budget-{cost}"] = limit_text(x, (limits["x0"], limits["x1"]), COSTS[cost])
        else:
            st.session_state[f"least-{result}"] = limit_text(y, (limits["y0"], limits["y1"]), RESULTS[result])

    return moved


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


def open_run(run_id: str, **address: str) -> None:
    """Show a run on its own page."""
    set_current_run(run_id)
    st.switch_page("views/run.py", query_params={"run": run_id, **address})


def keep_choice(points: list[str]) -> None:
    """Keep the ids of chosen runs in the address."""
    if points:
        st.query_params["chosen"] = ",".join(points)
    else:
        st.query_params.pop("chosen", None)


def chosen_runs() -> list[str]:
    """Return the ids of the runs that the user has chosen in the figure."""
    return [name for name in st.query_params.get("chosen", "").split(",") if name]


def show_settings(shown: list[SettingResult], total: int, answer: Verdict, result: str) -> None:
    """Show the settings as a table: those that the user has chosen in the figure, or all. A selected row opens its newest run."""
    if len(shown) < total:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{len(shown)} of {total} settings**, chosen in the figure")
            if st.button("Show all", icon=":material/clear:"):
                keep_choice([])
                st.rerun()
    table = setting_table(shown, answer, result)
    run_id = choose_row(table, "settings", [row["run"] for row in table.rows])
    if run_id is not None:
        open_run(run_id)
    st.caption(f"Tick a row to open its newest run. Not told apart: {RULE}")


def show_verdict(answer: Verdict, finding: str) -> None:
    """Show which setting is best, in words, with buttons that open its newest run and export its network."""
    with st.container(border=True):
        st.caption(plain_text(answer.heading))
        st.markdown(f"#### {plain_text(answer.answer)}")
        for line in answer.lines:
            st.markdown(plain_text(line))
        if finding:
            st.markdown(plain_text(finding))
        if answer.best is None:
            return
        run_id = answer.best.seeds[0].run
        with st.container(horizontal=True):
            opened = st.button("Open its newest run", icon=":material/arrow_forward:", type="primary")
            exported = st.button("Export", icon=":material/download:", help="Write its network into a file.")
        if opened:
            open_run(run_id)
        if exported:
            open_run(run_id, view="Network")


def show_study(cost: str) -> None:
    """Show what the accuracy study of NES Lab measured, for one of its networks. Nothing is shown while it has no rows."""
    networks = studied_networks()
    if not networks:
        return
    network = networks[0]
    if len(networks) > 1:
        network = st.selectbox("Network of the study", networks, **in_address("study"))
    plot(measured_study(network, cost), key="measured-study")


st.title("Trade-off")
finished = fitting_runs(lambda info: info.state == "finished")
if not finished:
    st.info(
        "No run has finished yet, so there is nothing to compare. Start one on the page **Start** or **Compress**.",
        icon=":material/info:",
    )
    st.page_link("views/compress.py", label="Go to Compress", icon=":material/arrow_forward:")
main, side = st.columns([2.3, 1], gap="medium")
if finished:
    with main, st.container(key="trade-figure"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            cost = st.selectbox("Across", list(COSTS), format_func=lambda key: COSTS[key].name, **in_address("cost"))
            result = st.selectbox(
                "Up", list(RESULTS), format_func=lambda key: RESULTS[key].name, **in_address("result")
            )
            budget = budget_field(cost)
            least = least_field(result)
            shown = choose_data(finished)
        rows = list(run_table(shown))
        settings = setting_results(rows, cost, result)
        chosen = settings_with(settings, chosen_runs()) or settings
        runs = [entry.seeds[0].run for entry in chosen] if len(chosen) < len(settings) else []
        figure = trade_off(rows, cost, result, budget, least, movable=True, chosen=runs)
        moved = move_limit(figure, cost, result)
        clicked = plot(figure, key="trade-off", clickable=True, moved=moved, chosen=keep_choice)
        if clicked in {row["id"] for row in rows}:
            open_run(clicked)
        st.caption(
            "Small dots: single runs. Large: the mean over seeds; bars and band are one standard deviation to either side. A "
            "line joins the best settings of a method; hollow ones are beaten by a cheaper one. Hatched: outside of the "
            "limits. Ring: the best within them. Methods with equal cost are drawn side by side. Drag the orange dots "
            "to set limits. Click a point to open its run. A box, a lasso, or clicks with Shift choose what the table shows."
        )
    answer = verdict(settings, cost, result, budget, least)
    with side, st.container(key="trade-verdict"):
        show_verdict(answer, latency_finding(settings))
    if settings:
        with main, st.container(key="trade-settings"):
            show_settings(chosen, len(settings), answer, result)
        with side, st.container(key="trade-methods"):
            show(method_table(settings, cost, result, budget, least), key="methods")
with side, st.container(key="trade-study"):
    show_study(cost if finished else "madds")
with side, st.container(key="trade-published"):
    plot(published(), key="published")
if finished:
    with st.expander("All runs, one by one"):
        results_table(shown, key="results")
