"""Remember the run that a user looked at last, on whatever page. Forms are remembered by Streamlit: see ``app/inputs.py``."""

import streamlit as st

__all__ = ["current_run", "set_current_run"]

_RUN = "current-run"


def current_run() -> str | None:
    """Return the id of the run that the user looked at last, on whatever page; None if there is none."""
    return st.session_state.get(_RUN)


def set_current_run(run_id: str) -> None:
    """Make a run the current one of all pages."""
    st.session_state[_RUN] = run_id
