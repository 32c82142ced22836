"""Sweep page: train one experiment with many settings, watch the front grow, and see which settings mattered."""

from dataclasses import replace

import streamlit as st

from app.cached import demo_runs
from app.components.errors import guarded, plain_text, show_error
from app.components.plot import plot
from app.components.sweep_form import sweep_form
from app.components.tables import choose_row, show
from app.remembered import set_current_run
from app.workers import ask_worker
from nes_lab.errors import NesLabError
from nes_lab.figures.trade_off import trade_off
from nes_lab.records.columns import Column
from nes_lab.records.field_names import label_of
from nes_lab.records.table import Table
from nes_lab.runs.layout import default_root
from nes_lab.runs.query import run_table
from nes_lab.runs.settings import setting_results
from nes_lab.runs.store import RunStore
from nes_lab.runs.verdict import setting_table, verdict
from nes_lab.sweeps.importances import LEAST_TRIALS
from nes_lab.sweeps.launch import resume_sweep, stop_sweep
from nes_lab.sweeps.overview import SweepView, list_sweeps, sweep_log, sweeps_table, trials_table
from nes_lab.sweeps.words import objective_words
from nes_lab.worker.client import Refusal, WorkerError

SECONDS = 3


def show_list(views: list[SweepView]) -> str:
    """Show all sweeps, and return the name of the chosen one: from the table, the address, or the first."""
    names = [view.name for view in views]
    selected = choose_row(sweeps_table(views), "sweeps", names)
    if selected is not None:
        st.query_params["sweep"] = selected
    chosen = st.query_params.get("sweep")
    return chosen if chosen in names else names[0]


def show_buttons(view: SweepView) -> None:
    """Draw the buttons that stop and continue a sweep."""
    with st.container(horizontal=True):
        stopped = st.button("Stop", icon=":material/stop:", disabled=not view.is_running, key=f"stop-{view.name}")
        resumed = st.button(
            "Continue", icon=":material/play_arrow:", disabled=view.state != "stopped", key=f"continue-{view.name}"
        )
    store = RunStore(default_root())
    try:
        if stopped:
            stop_sweep(store, view.name)
            st.toast("The running trials save a checkpoint and stop.")
        if resumed:
            resume_sweep(store, view.name)
            st.rerun()
    except NesLabError as error:
        show_error(str(error))


def show_sweep(view: SweepView) -> None:
    """Show a sweep: its progress, its front, and its trials."""
    st.progress(view.progress, text=f"{view.state}: {view.text}")
    front, beside = st.columns([1.3, 1], gap="medium")
    with front:
        if view.finished:
            show_front(view)
        elif view.is_running:
            st.caption("The front appears when the first trial has finished.")
    with beside:
        if view.finished:
            show_settings(view)
        show_importances(view)
    if view.runs:
        table = trials_table(view)
        run_id = choose_row(table, f"trials-{view.name}", [row["run"] for row in table.rows])
        if run_id is not None:
            open_run(run_id)
        st.caption("Tick a row to open its run.")
    log = sweep_log(RunStore(default_root()), view.name)
    if view.state == "stopped" and not view.finished and log:
        st.caption("The sweep ended early. Its last lines:")
        st.code(log, language=None, wrap_lines=True)


def show_front(view: SweepView) -> None:
    """Draw the finished trials; a click on a point opens its run."""
    done = [info for info in view.runs if info.state == "finished"]
    clicked = plot(trade_off(done), key=f"front-{view.name}", clickable=True)
    if clicked in {info.id for info in done}:
        open_run(clicked)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Click a point to open its run.")
        st.page_link(
            "views/trade_off.py",
            label="Set limits on Trade-off",
            icon=":material/balance:",
            query_params={"groups": view.name},
        )


def show_settings(view: SweepView) -> None:
    """Show the results of each setting: mean and standard deviation over seeds, and the number of seeds."""
    st.subheader("Settings")
    settings = setting_results(list(run_table([info for info in view.runs if info.state == "finished"])))
    table = setting_table(settings, verdict(settings))
    few = [column for column in table.columns if column.key in ("setting", "top1", "n")]
    show(replace(table, columns=few), key=f"settings-{view.name}")
    st.caption("Mean over seeds, ± the standard deviation. The best comes first.")


def open_run(run_id: str) -> None:
    """Show a run on its own page."""
    set_current_run(run_id)
    st.switch_page("views/run.py", query_params={"run": run_id})


def show_importances(view: SweepView) -> None:
    """Show which of the varied settings mattered most, once enough trials are finished."""
    st.subheader("What mattered")
    if view.finished < LEAST_TRIALS or not view.objectives:
        st.caption(f"Shown when at least {LEAST_TRIALS} trials are finished.")
        return
    objective = st.selectbox("For", view.objectives, format_func=objective_words, key=f"objective-{view.name}")
    known = st.session_state.setdefault("importances", {})
    mark = (view.name, objective, view.finished)
    if mark not in known:
        question = {"root": str(default_root()), "sweep": view.name, "objective": objective}
        try:
            known[mark] = ask_worker("jobs", "importances", question, text="Asking Optuna")
        except (Refusal, WorkerError) as error:
            st.caption(plain_text(str(error)))
            return
    columns = (
        Column("setting", "Setting", "A setting in which the trials differ."),
        Column("share", "Importance", "Share of the differences that it explains, by Optuna.", style="progress"),
    )
    rows = [{"setting": label_of(path), "share": share} for path, share in known[mark].items()]
    show(Table(columns, rows), key=f"importances-{view.name}-{objective}")


def show_all(running: list[str]) -> None:
    """Show the list of sweeps and the chosen one. Draw the whole page again when a sweep begins or ends.

    Args:
        running: Names of the sweeps that ran when the page was drawn.
    """
    views = list_sweeps(RunStore(default_root()))
    if [view.name for view in views if view.is_running] != running:
        st.rerun()
    name = show_list(views)
    chosen = next(view for view in views if view.name == name)
    st.subheader(plain_text(chosen.name))
    if chosen.varied:
        st.caption(plain_text(f"Varies: {chosen.varied}"))
    show_buttons(chosen)
    show_sweep(chosen)


st.title("Sweep")
store = RunStore(default_root())
form, main = st.columns([1, 2.3], gap="medium")
with form, st.container(key="sweep-form"):
    launched = sweep_form(store)
if launched is not None:
    st.query_params["sweep"] = launched
views = list_sweeps(store)
running = [view.name for view in views if view.is_running]
with main:
    if views:
        st.fragment(guarded(show_all), run_every=SECONDS if running else None)(running)
    else:
        st.info(
            "A sweep trains one experiment many times, each time with other settings: budgets, routings, seeds, learning rates. "
            "Here you will see its front of accuracy against cost grow, and which setting mattered most. Choose what varies, "
            "and press **Launch**.",
            icon=":material/info:",
        )
        plot(trade_off(demo_runs()), key="example")
        st.caption("An example: the finished runs of the bundled demo.")
