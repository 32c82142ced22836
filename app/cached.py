"""Read what the app's pages show: training runs, and what the layers of a run have learned.

Layers are cached. Runs are read again each time, because their files may change.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st

from app.components.errors import show_error
from app.remembered import current_run, demo_wanted, set_current_run, want_demo
from nes_lab.errors import RunError
from nes_lab.experiment.open_runs import open_run
from nes_lab.experiment.run import Run
from nes_lab.runs.details import DetailsReader, RunDetails, all_pending
from nes_lab.runs.info import RunInfo
from nes_lab.runs.layout import METRICS, default_root, names
from nes_lab.runs.store import RunStore

__all__ = [
    "all_runs",
    "choose_run",
    "demo_runs",
    "details_of",
    "details_reader",
    "fitting_runs",
    "is_bundled",
    "layers_at",
    "metrics_of",
    "reading_details",
    "root_of",
    "run_of",
    "run_title",
    "shows_demo",
    "starts_at",
]

DEMO = Path(__file__).parent / "demo"
"""Folder of the bundled demo: finished runs that come with the app. Nothing is written into it."""


def shows_demo() -> bool:
    """Return True if the pages show the bundled demo: the user asked for it, or there are no other runs."""
    return demo_wanted() or not names(default_root())


def all_runs() -> list[RunInfo]:
    """Return what the files say about the training runs that the pages show, newest first.

    These are the runs on this computer, in the folder ``$NES_LAB_HOME/runs``, or ``data/runs`` if that variable is not set. The
    runs of the bundled demo come after them if :func:`shows_demo` says so.
    """
    return [*RunStore().list(), *(demo_runs() if shows_demo() else [])]


def fitting_runs(fits: Callable[[RunInfo], bool]) -> list[RunInfo]:
    """Return the runs that a page can show, newest first. If there is none, return those of the bundled demo.

    Args:
        fits: Function that returns True for a run that the page can show.
    """
    return [info for info in all_runs() if fits(info)] or [info for info in demo_runs() if fits(info)]


def demo_runs() -> list[RunInfo]:
    """Return the runs of the bundled demo. Those of the first seed come first: they have more snapshots than the others."""
    return sorted(RunStore(DEMO).list(), key=lambda info: info.summary.get("seed", 0))


def run_of(run_id: str) -> Run:
    """Return the run with this id: one on this computer, or one of the bundled demo. Runs in other folders cannot be named.

    Raises:
        RunError: If there is no such run.
    """
    return open_run(run_id, root=root_of(run_id))


def root_of(run_id: str) -> Path:
    """Return the folder that holds this run: that of all runs on this computer, or the bundled demo."""
    return DEMO if is_bundled(run_id) else default_root()


def is_bundled(run_id: str) -> bool:
    """Return True if this is a run of the bundled demo, which can only be read."""
    return run_id in names(DEMO) and run_id not in names(default_root())


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


def details_of(runs: Sequence[RunInfo]) -> dict[str, RunDetails]:
    """Return the short curves and disk use of runs by their ids; of those that are still being read, less."""
    bundled = {info.id for info in runs if is_bundled(info.id)}
    own = details_reader(str(RunStore().root)).read([info for info in runs if info.id not in bundled])
    return own | details_reader(str(DEMO)).read([info for info in runs if info.id in bundled])


def reading_details() -> int:
    """Return of how many runs the short curves are still being read in the background."""
    return all_pending([details_reader(str(root)) for root in {RunStore().root, DEMO}])


def metrics_of(run: Run) -> Sequence[Mapping[str, Any]]:
    """Return the rows of metrics that a run has written. They are read again only when their file has changed."""
    try:
        about = run.folder.joinpath(METRICS).stat()
    except OSError:  # there is none yet, or the run was deleted
        return run.metrics().rows
    return metrics_at(str(run.store.root), run.id, (about.st_size, about.st_mtime_ns))


@st.cache_resource(max_entries=8, show_spinner=False)
def metrics_at(root: str, run_id: str, mark: tuple[int, ...]) -> Sequence[Mapping[str, Any]]:
    """Return the rows of metrics of a run. All pages share them: nobody may change them.

    Args:
        root: Folder of all runs.
        run_id: Id of the run.
        mark: Numbers that change with the file of metrics. The cached result is used only while they are the same.
    """
    del mark
    return open_run(run_id, root=root).metrics().rows


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


def choose_run(runs: list[RunInfo], **options: Any) -> RunInfo:
    """Let the user choose a run, and return the run. It becomes the current run of all pages.

    The id of the run is kept in the page's URL, so a reload shows the same run. Without one, the current run is shown, or the newest
    if the page cannot show that one. If the URL names a run that is not in ``runs``, show an error and stop drawing the page.

    Args:
        runs: The runs to choose from, newest first.
        options: Options of the Streamlit select box.
    """
    run_id = st.query_params.get("run")
    ids = [info.id for info in runs]
    if run_id is not None and run_id not in ids:
        if is_bundled(run_id) and not shows_demo():  # a link to the demo, or a reload after the first own run
            want_demo(True)
            st.rerun()
        explain_wrong_run(run_id)
    current = current_run()
    shown = run_id or (current if current in ids else None) or ids[0]
    by_id = {info.id: info for info in runs}
    chosen = st.selectbox(
        "Run", ids, index=ids.index(shown), format_func=lambda each: run_title(by_id[each]), **options
    )
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
