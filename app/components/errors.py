"""Show errors on a page of the app: what went wrong, and what the user can do."""

import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

import streamlit as st

from app.labels import in_words
from nes_lab.errors import NesLabError
from nes_lab.worker.client import WorkerError

__all__ = ["guarded", "plain_text", "show_details", "show_error", "show_failure", "shown_errors"]


@contextmanager
def shown_errors() -> Iterator[None]:
    """Catch an error raised in the ``with`` block, and show it on the page as a message."""
    try:
        yield
    except NesLabError as error:
        show_error(str(error))
    except Exception as error:  # noqa: BLE001 - the last resort of a page: show whatever went wrong, and what to do
        st.error(
            f"**This page could not be shown** ({type(error).__name__}). Your runs are not affected. Reload the page. "
            "If it happens again, please report it with the details below.",
            icon=":material/error:",
        )
        show_details("".join(traceback.format_exception(error)))


def guarded(draw: Callable[..., None]) -> Callable[..., None]:
    """Wrap a function that draws a part of a page. If the function raises an error, the page shows the error as a message.

    Use this for a Streamlit fragment: a part of a page that updates by itself.
    """
    # The page does not catch the errors of a fragment.

    @wraps(draw)
    def inner(*args: object, **options: object) -> None:
        with shown_errors():
            draw(*args, **options)

    return inner


def show_error(message: str) -> None:
    """Show an error message of NES Lab on the page, as plain text, with the names that the app has for fields and commands."""
    st.error(plain_text(in_words(message)), icon=":material/error:")


def show_failure(error: WorkerError) -> None:
    """Show that a worker failed, with what it told, folded."""
    show_error(str(error))
    if error.details:
        show_details(error.details)


def show_details(text: str) -> None:
    """Show a traceback or the last lines of a log, folded."""
    with st.expander("Details"):
        st.code(text, language=None, wrap_lines=True)


def plain_text(text: str) -> str:
    """Escape a text so that Streamlit's Markdown shows it as it is."""
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|~$<>:-])", r"\\\1", text)
    return escaped.replace("\n", "  \n")
