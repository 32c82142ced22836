"""The head of the Run page: what the run is, its state, and what the user can do with it."""

from typing import Any

import streamlit as st
import yaml

from app.cached import is_bundled, run_of
from app.components.errors import plain_text, show_error
from app.components.state_colors import STATE_COLORS
from app.inputs import form_address, imports_refused
from nes_lab.errors import NesLabError
from nes_lab.experiment.run import Run
from nes_lab.figures.progress import run_description
from nes_lab.figures.run_report import run_report
from nes_lab.runs.bin import put_in_bin
from nes_lab.runs.info import RunInfo
from nes_lab.runs.states import STATES
from nes_lab.runs.store import RunStore

__all__ = ["buttons", "run_header"]


def run_header(info: RunInfo) -> None:
    """Draw the title, the state and the description of a run."""
    st.title(plain_text(info.label or info.id))
    tone = STATE_COLORS[STATES[info.state].tone]
    st.markdown(f":{tone}-badge[{info.state}] {plain_text(run_description(info))}")


def buttons(info: RunInfo) -> None:
    """Draw the buttons that fit the run's state: cancel, resume, change or delete it, or take its results."""
    if info.state in ("queued", "running"):
        if st.button(
            "Cancel", icon=":material/stop_circle:", help="The run saves a checkpoint after the current step and stops."
        ):
            act(info, Run.cancel)
    elif info.is_resumable and not info.given and st.button("Resume", icon=":material/play_circle:", type="primary"):
        resume(info)
    if is_bundled(info.id):
        st.page_link(
            "views/compress.py",
            label="Launch with changes",
            icon=":material/edit:",
            query_params=form_address(info.config),
        )
    if info.state in ("failed", "lost", "cancelled"):
        if not info.given:
            st.page_link(
                "views/compress.py",
                label="Edit and launch again",
                icon=":material/edit:",
                query_params=form_address(info.config),
            )
        with st.popover("Delete", icon=":material/delete:"):
            ask_delete(info)
    if info.state == "finished" and not is_bundled(info.id):
        with st.popover("Train further", icon=":material/fast_forward:"):
            ask_extension(info)
    with st.popover("Download", icon=":material/download:"):
        downloads(info)


def resume(info: RunInfo) -> None:
    """Put a run into the queue, so that it continues from its last checkpoint."""
    if not imports_refused(info.config):
        act(info, lambda run: run.resume(detach=True))


def downloads(info: RunInfo) -> None:
    """Draw buttons that download the report, the curves and the settings of a run. The files are made when they are asked for."""
    run = run_of(info.id)
    options: dict[str, Any] = {"icon": ":material/download:", "on_click": "ignore", "width": "stretch"}
    st.download_button(
        "Settings (YAML)",
        lambda: yaml.safe_dump(info.config, sort_keys=False),
        f"{info.id}.yaml",
        "text/yaml",
        **options,
    )
    st.download_button("Curves (CSV)", lambda: run.metrics().csv(), f"{info.id}.csv", "text/csv", **options)
    if info.state == "finished":
        st.download_button(
            "Report (HTML)",
            lambda: run_report(run.store, run.id),
            f"{info.id}.html",
            "text/html",
            help="One file with the results, curves, layers and settings.",
            **options,
        )


def ask_delete(info: RunInfo) -> None:
    """Ask whether to delete a run, and move it into the bin when the user presses the button."""
    st.write("The run goes into the bin. On the page **Runs** you can take it out again.")
    if st.button("Move into the bin", type="primary"):
        try:
            put_in_bin(RunStore(), info.id)
        except NesLabError as error:
            show_error(str(error))
            return
        st.switch_page("views/runs.py")


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
        act(info, lambda run: run.extend(int(epochs), detach=True))


def act(info: RunInfo, do: Any) -> None:
    """Change a run, and draw the page again. If it does not work, show the error instead.

    Args:
        info: The run.
        do: Function that takes the run as an object and changes it.
    """
    try:
        do(run_of(info.id))
    except NesLabError as error:
        show_error(str(error))
        return
    st.rerun()
