"""The line on the Run page about the state of a run, above its tabs: its progress, and what the user can do. It updates by itself."""

import streamlit as st

from app.cached import metrics_of, run_of
from app.components.errors import guarded, plain_text
from nes_lab.figures.progress import progress_text, queue_text
from nes_lab.figures.run_report import fit_comparison
from nes_lab.runs.info import RunInfo
from nes_lab.runs.states import STATES
from nes_lab.text import format_share

__all__ = ["run_state", "seconds_between"]

SELDOM = 5
"""Seconds between two looks at a run that does nothing: another tab, or the command line, may resume it."""


def run_state(info: RunInfo) -> None:
    """Draw the progress of a run and what the user can do."""
    st.fragment(live, run_every=seconds_between(info) or SELDOM)(info.id, info.state)


def seconds_between(info: RunInfo) -> int | None:
    """Return after how many seconds what the page shows of a run is drawn again; None if nothing changes by itself."""
    return 2 if info.is_active or info.state == "queued" else None


@guarded
def live(run_id: str, state_when_drawn: str) -> None:
    """Draw the part that updates by itself. If the state has changed, the page is drawn again."""
    run = run_of(run_id)
    info = run.info
    if info.state != state_when_drawn:
        st.rerun(scope="app")
    if info.is_active:
        st.set_page_config(page_title=f"{format_share(info.progress, digits=0)} · {info.label or 'run'} · NES Lab")
    events = run.events()
    st.progress(info.bar_progress, text=progress_text(info, metrics_of(run), events))
    if compared := fit_comparison(events):
        st.caption(plain_text(compared))
    if advice := info.needs_text() or STATES[info.state].advice:
        st.caption(advice)
    if info.state == "queued":
        st.caption(queue_text(run.runs_before()))
