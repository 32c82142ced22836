"""Ask the jobs worker about a run, with a button that cancels the work, and show why it did not work."""

from typing import Any

import streamlit as st

from app.cached import root_of
from app.components.errors import show_error, show_failure
from app.inputs import imports_refused
from app.workers import ask_worker
from nes_lab.errors import NesLabError
from nes_lab.import_spec import own_names
from nes_lab.runs.info import RunInfo
from nes_lab.worker.client import WorkerError

__all__ = ["ask_about"]


def ask_about(info: RunInfo, question: str, text: str, limit: float = 900, **arguments: Any) -> dict[str, Any] | None:
    """Ask the jobs worker about a run. If it cannot answer, show why and return None.

    While the worker works, the page shows how far it is, and a button that cancels the work. So does any other change on the page.

    Args:
        info: The run.
        question: Name of the question.
        text: What the worker does, to show while it works.
        limit: Time that the work may take, in seconds.
        arguments: Further arguments of the question, as data for JSON.
    """
    if imports_refused(info.config):
        return None
    place = st.empty()
    place.button("Cancel the work", icon=":material/close:", key=f"cancel-{question}")  # a click ends this script run
    about = {"root": str(root_of(info.id)), "run": info.id} | arguments
    answer = None
    try:
        own_code = bool(own_names(info.config))
        answer = ask_worker("jobs", question, about, text=text, seconds=limit, own_code=own_code)
    except WorkerError as error:
        show_failure(error)
    except NesLabError as error:
        show_error(str(error))
    place.empty()
    return answer
