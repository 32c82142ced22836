"""Show lines of a log on a page."""

from html import escape

import streamlit as st

__all__ = ["show_log"]

_STYLE = (
    "margin: 0; padding: 0.8rem 1rem; border-radius: 0.5rem; background: rgba(128, 128, 128, 0.12); white-space: pre-wrap; "
    "overflow-wrap: anywhere; font-size: 0.8rem; line-height: 1.5"
)


def show_log(text: str) -> None:
    """Show lines of a log as they are, with long lines wrapped."""
    # st.code would load and run a library that colors the code of many languages: half a second of the first page
    st.html(f'<pre style="{_STYLE}">{escape(text)}</pre>')
