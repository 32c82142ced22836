"""Ask a worker for a compression plan and draw it, on the page Compress. If there is no plan, say why and offer ways out."""

import json
from typing import Any

import streamlit as st

from app.components.compress_layers import enter, show_layers, undo_button
from app.components.errors import show_error, show_failure
from app.components.tables import reasons_table, shapes_table
from app.inputs import imports_refused
from app.workers import ask_worker
from nes_lab.import_spec import is_import_spec
from nes_lab.records.dataset_facts import DatasetFacts
from nes_lab.text import space_percent
from nes_lab.worker.client import Refusal, WorkerError

__all__ = ["plan_question", "show_plan"]

SECONDS = 20  # limit on the search for a plan with a time budget on this page; a training run searches longer


def plan_question(backbone: dict[str, Any], budget: dict[str, Any], facts: DatasetFacts) -> dict[str, Any]:
    """Return the question for the plan of a network, a budget and a data set."""
    return {
        "backbone": backbone,
        "compression": budget,
        "input_shape": facts.input_shape,
        "classes": facts.classes,
        "seconds": SECONDS,
    }


def show_plan(question: dict[str, Any], place: Any) -> dict[str, Any] | None:
    """Make a compression plan, draw it and return it. If no plan can be made, show the reason and return None.

    Args:
        question: The question for the plan.
        place: Gets a container above the layers, for the plane of budgets.
    """
    if imports_refused({"backbone": question["backbone"]}):
        return None
    budget = question["compression"]
    if not any(budget.get(limit) for limit in ("madds", "params", "stored_bytes", "latency_ms", "preset")):
        st.info("Give a budget: for MAdds, params, bytes or time.", icon=":material/info:")
        return None
    planned = ask_plan(question)
    place["plane"] = st.container(border=planned is not None)
    if planned is None:
        return None
    with st.container(border=True):
        show_layers(planned)
        with st.expander("Table, and reasons for each layer"):
            shapes_table(planned["rows"], key="plan-table")
            reasons_table(planned["rows"], key="plan-reasons")
    return planned


def ask_plan(question: dict[str, Any]) -> dict[str, Any] | None:
    """Return the compression plan for a question. If there is none, show why and return None."""
    budget, own_code = question["compression"], is_import_spec(question["backbone"]["name"])
    text = json.dumps(question)
    asked, answer = st.session_state.get("newest-plan", ("", None))
    if text == asked and not own_code:  # another part of the page has changed
        return answer
    kind = "jobs" if budget["latency_ms"] or budget["strategy"] != "uniform" else "plans"
    try:
        planned = ask_worker(kind, "plan", question, text="Planning", own_code=own_code)
        st.session_state["newest-plan"] = (text, planned)
        return planned
    except Refusal as error:
        show_error(str(error))
        offer_ways_out(error, budget)
    except WorkerError as error:
        show_failure(error)
    return None


def offer_ways_out(error: Refusal, budget: dict[str, Any]) -> None:
    """Draw buttons that correct a refused question: a larger budget, a network with a similar name, or the last setting undone."""
    for quantity, share in error.larger_budgets(budget).items():
        name = {"madds": "MAdds", "stored_bytes": "bytes"}.get(quantity, quantity)
        st.button(
            f"Raise the {name} budget to {space_percent(share)}",
            on_click=enter,
            args=(f"compression.{quantity}", share),
        )
    for name in error.similar_names:
        st.button(f"Take {name}", on_click=enter, args=("backbone.name", name))
    undo_button("refused-undo")
