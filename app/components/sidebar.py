"""Show the current run in the sidebar of every page, with its state and progress."""

import streamlit as st

from app.cached import run_of, run_title
from app.components.errors import guarded, plain_text
from app.remembered import current_run
from nes_lab.errors import RunError
from nes_lab.figures.progress import progress_text

__all__ = ["sidebar_run"]


@guarded
def sidebar_run() -> None:
    """Draw the run that the user looked at last, with a link to its page. Draw nothing if there is none."""
    run_id = current_run()
    if run_id is None:
        return
    try:
        run = run_of(run_id)
        info = run.info
    except RunError:  # it was deleted
        return
    st.caption("Current run")
    st.page_link("views/run.py", label=plain_text(run_title(info)), query_params={"run": info.id})
    if info.is_active:
        st.progress(info.bar_progress, text=progress_text(info, run.metrics().rows, run.events()))
