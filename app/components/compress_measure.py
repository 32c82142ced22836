"""Measure on request, on the page Compress: the time of the planned network, and the time and memory of its training."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from app.components.errors import plain_text, show_error, show_failure
from app.workers import ask_worker
from nes_lab.config.written import given_fields
from nes_lab.import_spec import is_import_spec, own_names
from nes_lab.records.plan_words import times_words
from nes_lab.records.training_cost import cost_words
from nes_lab.runs.layout import default_root
from nes_lab.worker.client import Refusal, WorkerError

__all__ = ["measure_time", "measure_training"]


def measure_training(config: Mapping[str, Any]) -> None:
    """Draw how long the training takes here and how much memory it asks for, or a button that tries a few steps."""
    if own_names(config):
        return
    given = {name: value for name, value in given_fields(config).items() if name != "label"}
    question = {"config": given, "root": str(default_root().absolute())}
    measure(
        "training_cost",
        "Estimate the training",
        "Tries a few steps: about 15 s for a small network, minutes for a large one.",
        question,
        cost_words,
    )


def measure_time(question: Mapping[str, Any]) -> None:
    """Draw the measured time of the planned network beside the dense one, or a button that measures it on this machine."""
    if not is_import_spec(question["backbone"]["name"]):

        def words(times: Mapping[str, float]) -> str:
            return f"One input here: {times_words(times)}. Each layer is computed in its fastest way."

        measure("times", "Time one input", "Times both networks, for about 10 s.", question, words)


def measure(
    name: str, label: str, about: str, question: Mapping[str, Any], words: Callable[[Mapping[str, float]], str]
) -> None:
    """Draw what a worker has measured, or a button that asks it. A second button stops it, and so does any change of the form.

    Args:
        name: Name of the worker's question.
        label: Text of the button.
        about: What happens, in a sentence.
        question: Arguments of the question.
        words: Function that says the answer in words.
    """
    key, measured = json.dumps([name, question]), st.session_state.setdefault("measured", {})
    if key in measured:
        st.caption(plain_text(words(measured[key])))
        return
    place = st.empty()
    if not place.button(label, key=f"measure-{name}", icon=":material/timer:", width="stretch", help=about):
        return
    place.button("Stop", key=f"stop-{name}", icon=":material/stop_circle:", width="stretch")
    try:
        measured[key] = ask_worker("jobs", name, question, text="Measuring", seconds=400)
    except Refusal as error:
        show_error(str(error))
        return
    except WorkerError as error:
        show_failure(error)
        return
    st.rerun()
