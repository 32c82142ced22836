"""Run page: choose a training run, watch it, cancel it or resume it."""

import streamlit as st

from app.cached import all_runs, choose_run, run_of
from app.components.errors import guarded, show_error
from app.components.plot import plot
from app.components.tables import run_list, shapes_table
from app.inputs import imports_refused
from nes_lab.errors import NesLabError
from nes_lab.figures.layer_bars import layer_bars
from nes_lab.figures.live_run import live_run
from nes_lab.figures.progress import progress_text, queue_text
from nes_lab.figures.run_report import fit_comparison
from nes_lab.runs.info import RunInfo
from nes_lab.runs.launcher import start_waiting
from nes_lab.runs.states import STATES
from nes_lab.runs.store import RunStore
from nes_lab.text import format_value

COLORS = {"waiting": "gray", "working": "blue", "warning": "orange", "good": "green", "bad": "red"}


def buttons(info: RunInfo) -> None:
    """Draw the buttons that fit the run's state: cancel it, resume it, or see the results of a finished run."""
    if info.state in ("queued", "running"):
        if st.button(
            "Cancel", icon=":material/stop_circle:", help="The run saves a checkpoint after the current step and stops."
        ):
            act(info, stop=True)
    elif info.is_resumable and not info.given:
        if st.button("Resume", icon=":material/play_circle:", type="primary"):
            act(info, stop=False)
    elif info.state == "finished":
        left, middle, right = st.columns(3)
        with middle, st.popover("Train further", icon=":material/fast_forward:"):
            ask_extension(info)
        with left:
            if run_of(info.id).snapshot_steps():
                st.page_link(
                    "views/epitomes.py",
                    label="Epitomes of this run",
                    icon=":material/grid_on:",
                    query_params={"run": info.id},
                )
            else:
                st.caption("This network is dense: it has no epitomes.")
        with right:
            st.download_button(
                "Report (HTML)",
                lambda: run_of(info.id).report().read_text(encoding="utf-8"),
                f"{info.id}.html",
                "text/html",
                icon=":material/download:",
                on_click="ignore",
            )


def ask_extension(info: RunInfo) -> None:
    """Ask for a larger number of epochs, and train the run further when the user presses the button."""
    planned = info.config.get("training", {}).get("epochs", 1)
    epochs = st.number_input(
        "Epochs in total",
        planned + 1,
        value=2 * planned,
        help="The learning rate follows the longer schedule from here on, so it may rise.",
        key=f"extend-{info.id}",
    )
    if st.button("Train further", type="primary") and not imports_refused(info.config):
        try:
            run_of(info.id).extend(int(epochs), detach=True)
        except NesLabError as error:
            show_error(str(error))
            return
        st.rerun()


def act(info: RunInfo, stop: bool) -> None:
    """Cancel or resume a run, and reload the page. If the run cannot be cancelled or resumed, show the error instead."""
    try:
        if stop:
            run_of(info.id).cancel()
        elif imports_refused(info.config):
            return
        else:
            run_of(info.id).resume(detach=True)
    except NesLabError as error:
        show_error(str(error))
        return
    st.rerun()


@guarded
def live(run_id: str, state_when_drawn: str) -> None:
    """Draw the part of the run page that updates by itself: the run's state, progress, curves and log."""
    run = run_of(run_id)
    info = run.info
    if info.state != state_when_drawn:
        st.rerun(scope="app")
    if info.is_active:
        st.set_page_config(page_title=f"{info.progress:.0%} · {info.label or 'run'} · NES Lab")
    metrics, events = run.metrics().rows, run.events()
    st.markdown(f":{COLORS[STATES[info.state].tone]}-badge[{info.state}]")
    st.progress(info.bar_progress, text=progress_text(info, metrics, events))
    if compared := fit_comparison(events):
        st.caption(compared)
    if info.reason:
        st.code(info.reason, language=None, wrap_lines=True)
    if advice := info.needs_text() or STATES[info.state].advice:
        st.caption(advice)
    if info.state == "queued":
        st.caption(queue_text(run.runs_before()))
    if metrics:
        plot(live_run(metrics, events), key=f"live-{run_id}")
    elif info.is_final or info.state == "lost":
        st.info("The run ended before its first measurement.", icon=":material/info:")
    else:
        st.info(
            "There is no measurement yet. The first one comes a few seconds after the start.",
            icon=":material/hourglass:",
        )
    with st.expander("Log", expanded=STATES[info.state].tone == "bad"):
        st.code(run.log() or "The log is empty.", language=None, wrap_lines=True, height=260)


def details(info: RunInfo) -> None:
    """Draw the results of a run, its layers and its configuration."""
    if info.summary:
        st.subheader("Results")
        rows = [{"number": name, "value": format_value(value)} for name, value in info.summary.items()]
        st.dataframe(rows, hide_index=True, width=420, height="content")
    plan = run_of(info.id).plan
    layers = plan.rows() if plan is not None else []
    if layers:
        st.subheader("Layers")
        plot(layer_bars(layers), key="layers")
        with st.expander("Table of layers"):
            shapes_table(layers, key="layer-table")
    with st.expander("Configuration"):
        st.json(info.config, expanded=2)


st.title("Run")
start_waiting(RunStore())
runs = all_runs()
if not runs:
    st.info(
        "There are no runs yet. Start one on the page **Compress**, or run `make demo` in a terminal.",
        icon=":material/info:",
    )
    st.page_link("views/compress.py", label="Go to Compress", icon=":material/arrow_forward:")
else:
    run = choose_run(runs)
    with st.expander(f"All runs ({len(runs)})"):
        clicked = run_list(runs, key="all-runs")
        if clicked and clicked != st.session_state.get("clicked-run"):
            st.session_state["clicked-run"] = clicked
            st.query_params["run"] = clicked
            st.rerun()
    st.caption(f"id `{run.id}`")
    for note in run.notes:
        st.text(note)
    buttons(run)
    every = 2 if run.is_active or run.state == "queued" else None
    st.fragment(live, run_every=every)(run.id, run.state)
    details(run)
