"""Errors as a person wants them: what happened, why, what to do; the traceback only for those who open it."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

import streamlit as st

from nes_lab.errors import NesLabError

__all__ = ["guarded", "say_error", "shown_errors"]


@contextmanager
def shown_errors() -> Iterator[None]:
    """Show an error where it happened instead of a red traceback box."""
    try:
        yield
    except NesLabError as error:
        say_error(str(error))
    except Exception as error:  # noqa: BLE001 - the last net under a page: it shows whatever went wrong, and how to go on
        st.error(
            f"**This page could not be drawn.** {type(error).__name__}. Your runs are untouched. Reload the page; "
            "if it happens again, please report it with the details below.",
            icon=":material/error:",
        )
        with st.expander("Details"):
            st.code("".join(traceback.format_exception(error)), language=None, wrap_lines=True)


def guarded(draw: Callable[..., None]) -> Callable[..., None]:
    """Let a fragment, which runs apart from its page, show its errors in the same way."""

    @wraps(draw)
    def inner(*args: object, **options: object) -> None:
        with shown_errors():
            draw(*args, **options)

    return inner


def say_error(message: str) -> None:
    """Show a message of the library, which says already what is wrong and what would be right, as plain text."""
    st.error("This did not work:", icon=":material/error:")
    st.code(message, language=None, wrap_lines=True)
