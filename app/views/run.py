"""Run page: watch a training run, cancel or resume it, see what its network predicts, and take the network away."""

import streamlit as st

from app.cached import all_runs, choose_run, run_of, run_title
from app.components.errors import plain_text
from app.components.plot import plot
from app.components.run_header import buttons, run_header
from app.components.run_network import show_network
from app.components.run_predictions import show_predictions
from app.components.run_state import run_state
from app.components.run_training import ask_axes, show_training
from app.components.tables import shapes_table
from app.inputs import in_address
from nes_lab.figures.layer_bars import layer_bars
from nes_lab.runs.info import RunInfo
from nes_lab.runs.launcher import start_waiting
from nes_lab.runs.store import RunStore

VIEWS = ("Training", "Network", "Predictions", "Plan", "Settings")


def choose_other(info: RunInfo, runs: list[RunInfo]) -> str | None:
    """Let the user choose a second run to draw beside this one. The address holds its id."""
    titles = {other.id: run_title(other) for other in runs if other.id != info.id}
    wanted = st.query_params.get("with") or st.session_state.get("compared-run")
    options = [None, *titles]
    chosen = st.selectbox(
        "Compare with",
        options,
        index=options.index(wanted) if wanted in titles else 0,
        format_func=lambda run_id: f"Compare with {titles[run_id]}" if run_id in titles else "Compare with another run",
        label_visibility="collapsed",
    )
    st.session_state["compared-run"] = chosen
    if chosen is None:
        st.query_params.pop("with", None)
    else:
        st.query_params["with"] = chosen
    return chosen


def show_plan(info: RunInfo) -> None:
    """Draw the layers of a run's compression plan."""
    plan = run_of(info.id).plan
    layers = plan.rows() if plan is not None else []
    if not layers:
        dense = info.config.get("compression") is None
        st.info("The network is dense: it has no plan." if dense else "There is no plan yet.", icon=":material/info:")
        return
    plot(layer_bars(layers), key="layers")
    shapes_table(layers, key="layer-table")


def show_run(runs: list[RunInfo]) -> None:
    """Draw the page of the run that the address names, or of the current one."""
    heading, choices = st.columns([3, 2])
    with choices:
        first, second = st.columns(2)
        with first:
            run = choose_run(runs, label_visibility="collapsed")
        with second:
            other = choose_other(run, runs)
        with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
            buttons(run)
    with heading:
        run_header(run)
    run_state(run)
    with st.container(horizontal=True, vertical_alignment="center"):
        view = st.segmented_control(
            "View",
            VIEWS,
            default="Training",
            required=True,
            label_visibility="collapsed",
            wrap=True,
            **in_address("view"),
        )
        axes = ask_axes() if view == "Training" else None
    with st.container():  # the same place for the view below, with and without notes
        for note in run.notes:
            st.text(note)
    if view == "Network":
        show_network(run)
    elif view == "Predictions":
        show_predictions(run)
    elif view == "Plan":
        show_plan(run)
    elif view == "Settings":
        st.caption(f"id {plain_text(run.id)}")
        st.json(run.config, expanded=2)
    else:
        show_training(run, runs, other, axes or {})


start_waiting(RunStore())
listed = all_runs()
if listed:
    show_run(listed)
else:
    st.title("Run")
    st.info(
        "There are no runs yet. Start one on the page **Start** or **Compress**.",
        icon=":material/info:",
    )
    st.page_link("views/compress.py", label="Go to Compress", icon=":material/arrow_forward:")
