"""Read what the app's pages show: training runs, and what the layers of a run have learned.

Layers are cached. Runs are read again each time, because their files may change.
"""

from dataclasses import replace
from typing import Any

import streamlit as st

from app.components.errors import show_error
from app.remembered import current_run, set_current_run
from nes_lab.errors import RunError
from nes_lab.experiment.open_runs import open_run
from nes_lab.experiment.run import Run
from nes_lab.runs.details import DetailsReader
from nes_lab.runs.info import RunInfo
from nes_lab.runs.layout import default_root
from nes_lab.runs.store import RunStore

__all__ = ["all_runs", "choose_run", "details_reader", "layers_at", "run_of", "run_title", "starts_at"]


def all_runs() -> list[RunInfo]:
    """Return what the files say about all training runs on this computer, newest first.

    The runs are in the folder ``$NES_LAB_HOME/runs``, or ``data/runs`` if that variable is not set.
    """
    return RunStore().list()


def run_of(run_id: str) -> Run:
    """Return the run with this id from the folder of all runs on this computer. Runs in other folders cannot be named."""
    return open_run(run_id, root=default_root())


@st.cache_data(max_entries=256, show_spinner="Reading epitomes…")
def layers_at(root: str, run_id: str, step: int, latest: int) -> dict[str, Any]:
    """Return the starts (positions of patches) and epitomes that a run saved at one training step, by layer name.

    Args:
        root: Folder of all runs.
        run_id: Id of the run.
        step: The training step.
        latest: The newest training step that the run has saved. The cached result is used only while this number is the same.
    """
    del latest
    return open_run(run_id, root=root).snapshot(step)


@st.cache_resource(show_spinner=False)
def details_reader(root: str) -> DetailsReader:
    """Return the object that reads short curves and disk use of the runs for all visitors, also in the background.

    Args:
        root: Folder of all runs.
    """
    return DetailsReader(RunStore(root), default_root().parent / "cache" / "curves")


@st.cache_data(max_entries=4000, show_spinner=False)
def starts_at(root: str, run_id: str, step: int, attempt: int) -> dict[str, Any]:
    """Return the starts (positions of patches) that a run saved at one training step, by layer name, without the epitomes.

    Args:
        root: Folder of all runs.
        run_id: Id of the run.
        step: The training step.
        attempt: Number of times that the run was started. A resumed run may write a step again.
    """
    del attempt
    return {name: replace(layer, epitome=None) for name, layer in open_run(run_id, root=root).snapshot(step).items()}


def choose_run(runs: list[RunInfo], label: str = "Run") -> RunInfo:
    """Let the user choose a run, and return the run. It becomes the current run of all pages.

    The id of the run is kept in the page's URL, so a reload shows the same run. Without one, the current run is shown, or the newest
    if the page cannot show that one. If the URL names a run that is not in ``runs``, show an error and stop drawing the page.
    """
    run_id = st.query_params.get("run")
    ids = [info.id for info in runs]
    if run_id is not None and run_id not in ids:
        explain_wrong_run(run_id)
    current = current_run()
    shown = run_id or (current if current in ids else None) or ids[0]
    by_id = {info.id: info for info in runs}
    chosen = st.selectbox(label, ids, index=ids.index(shown), format_func=lambda each: run_title(by_id[each]))
    if chosen != run_id:
        st.query_params["run"] = chosen
    set_current_run(chosen)
    return by_id[chosen]


def explain_wrong_run(run_id: str) -> None:
    """Show why the run in the page's URL cannot be shown, offer the newest run instead, and stop drawing the page."""
    try:
        dense = run_of(run_id).info.config.get("compression") is None
        why = "trains a dense network, which has no epitomes" if dense else "has nothing to show on this page yet"
        show_error(f"run {run_id} {why}")
    except RunError as error:
        show_error(str(error))
    if st.button("Show the newest run", icon=":material/arrow_forward:"):
        del st.query_params["run"]
        st.rerun()
    st.stop()


def run_title(info: RunInfo) -> str:
    """Return one line of text about a run for lists: its label, its group and its state. A run without a label is named by its id."""
    return " · ".join(part for part in (info.label or info.id, info.group, info.state) if part)
