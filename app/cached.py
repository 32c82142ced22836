"""What pages read, remembered where reading is slow. Runs are files, so they are read afresh."""

import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from app.components.errors import say_error
from nes_lab.errors import RunError
from nes_lab.runs.info import RunInfo
from nes_lab.runs.store import RunStore

__all__ = ["Answer", "choose_run", "layers_at", "plan", "store"]


class Answer(NamedTuple):
    """What a command said."""

    ok: bool
    text: str
    details: str


def store() -> RunStore:
    """The runs of this computer: ``$NES_LAB_HOME/runs``, else ``data/runs``."""
    return RunStore()


@st.cache_data(max_entries=64, show_spinner="Planning every layer… (the first plan loads the network library)")
def plan(arguments: tuple[str, ...]) -> Answer:
    """Ask the command line for a compression plan, in a process of its own: this one loads no torch."""
    command = [sys.executable, "-m", "nes_lab.cli", "plan", *arguments, "--json"]
    root = str(Path(__file__).resolve().parents[1])
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, cwd=root)
    except subprocess.TimeoutExpired:
        return Answer(False, "Planning took longer than three minutes and was stopped; try a smaller network.", "")
    if done.returncode == 0:
        return Answer(True, done.stdout, done.stderr)
    if done.returncode == 2:
        return Answer(False, done.stderr.rpartition("nes-lab: ")[2].strip(), "")  # without what libraries said before
    return Answer(False, "The planner stopped unexpectedly; the details are below.", done.stderr.strip())


@st.cache_data(max_entries=256, show_spinner="Reading epitomes…")
def layers_at(root: str, run_id: str, step: int, latest: int) -> dict[str, Any]:
    """Snapshots of all layers at one step; ``latest`` makes the memory forget when a new snapshot comes."""
    del latest
    return RunStore(root).snapshot(run_id, step)


def choose_run(runs: list[RunInfo], label: str = "Run") -> RunInfo:
    """Let the reader choose a run; the choice lives in the address, so a reload or a second tab restores it.

    Where the id in the address is no run's, the page says so and stops there.
    """
    wanted = st.query_params.get("run")
    ids = [info.id for info in runs]
    if wanted is not None and wanted not in ids:
        say_what_is_wrong(wanted)
    by_id = {info.id: info for info in runs}
    chosen = st.selectbox(
        label,
        ids,
        index=ids.index(wanted) if wanted in ids else 0,
        format_func=lambda run_id: run_title(by_id[run_id]),
    )
    if chosen != wanted:
        st.query_params["run"] = chosen
    return by_id[chosen]


def say_what_is_wrong(run_id: str) -> None:
    """Say why the address leads nowhere, offer the way back, and draw nothing else."""
    try:
        found = store().get(run_id)
        say_error(f"run {found.id} has nothing that this page could show yet")
    except RunError as error:
        say_error(str(error))
    if st.button("Show the newest run", icon=":material/arrow_forward:"):
        del st.query_params["run"]
        st.rerun()
    st.stop()


def run_title(info: RunInfo) -> str:
    """How a run is named in lists."""
    return " · ".join(part for part in (info.label or info.id, info.group, info.state) if part)
