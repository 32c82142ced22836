"""Remember the run that a user looked at last, on whatever page, the address of each page, and whether to show the bundled demo.

Forms are remembered by Streamlit: see ``app/inputs.py``.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitAPIException

__all__ = [
    "current_run",
    "demo_wanted",
    "forget_runs",
    "form_experiment",
    "keep_address",
    "restore_address",
    "set_current_run",
    "set_form_experiment",
    "want_demo",
]

_RUN, _DEMO = "current-run", "bundled-demo"
_PAGE, _ADDRESSES, _EXPERIMENT = "page", "addresses", "form-experiment"


def current_run() -> str | None:
    """Return the id of the run that the user looked at last, on whatever page; None if there is none."""
    return st.session_state.get(_RUN)


def set_current_run(run_id: str) -> None:
    """Make a run the current one of all pages."""
    st.session_state[_RUN] = run_id


def forget_runs(which: Callable[[str], bool]) -> None:
    """Forget runs: as the current run, and in the addresses of all pages.

    Args:
        which: Function that returns True for the id of a run to forget.
    """
    if which(st.session_state.get(_RUN) or ""):
        st.session_state.pop(_RUN)
    for address in (st.query_params, *st.session_state.get(_ADDRESSES, {}).values()):
        if which(address.get("run", "")):
            del address["run"]


def restore_address(page: str) -> None:
    """Bring back the address that a page had when the user left it, if the browser's Back button has lost it.

    A page that opens another one changes its own entry in the browser's history: it gets the parameters of the other page.
    """
    came = st.session_state.get(_PAGE) not in (None, page)
    st.session_state[_PAGE] = page
    kept = st.session_state.get(_ADDRESSES, {}).get(page, {})
    if came and kept and not any(name in st.query_params for name in kept):
        with suppress(StreamlitAPIException):  # a field of this page is on the page before too, and keeps its value
            st.query_params.from_dict(kept)
            st.rerun()  # fields read the address when a run begins


def keep_address(page: str) -> None:
    """Remember the address of a page that has just been drawn."""
    st.session_state.setdefault(_ADDRESSES, {})[page] = st.query_params.to_dict()


def form_experiment() -> Mapping[str, Any] | None:
    """Return the experiment that the form on Compress described when it was last shown; None if it never was."""
    return st.session_state.get(_EXPERIMENT)


def set_form_experiment(config: Mapping[str, Any]) -> None:
    """Remember the experiment that the form on Compress describes, for a sweep."""
    st.session_state[_EXPERIMENT] = dict(config)


def demo_wanted() -> bool:
    """Return True if the user asked to see the bundled demo beside the own runs."""
    return st.session_state.get(_DEMO, False)


def want_demo(wanted: bool) -> None:
    """Show the bundled demo on all pages, or show it no longer."""
    st.session_state[_DEMO] = wanted
