"""Ask a worker for a compression plan and draw it, on the page Compress. If there is no plan, say why and offer ways out."""

from typing import Any

import streamlit as st

from app.components.errors import show_error
from app.components.plot import plot
from app.components.tables import reasons_table, shapes_table
from app.inputs import imports_refused
from app.labels import in_words
from app.workers import ask_worker
from nes_lab.figures.layer_bars import layer_bars
from nes_lab.import_spec import is_import_spec
from nes_lab.records.dataset_facts import DatasetFacts
from nes_lab.worker.client import Refusal, WorkerError

__all__ = ["show_plan"]

SECONDS = 20  # limit on the search for a plan with a time budget on this page; a training run searches longer


def show_plan(backbone: dict[str, Any], budget: dict[str, Any], facts: DatasetFacts) -> dict[str, Any] | None:
    """Make a compression plan, draw it and return it. If no plan can be made, show the reason and return None."""
    if imports_refused({"backbone": backbone}):
        return None
    if not any(budget.get(limit) for limit in ("madds", "params", "latency_ms", "preset")):
        st.info("Give a budget: for MAdds, params or time.", icon=":material/info:")
        return None
    planned = ask_plan(backbone, budget, facts)
    if planned is None:
        return None
    bars, table = st.tabs(["Bars", "Table"])
    with bars:
        plot(layer_bars(planned["rows"]), key="plan-bars")
    with table:
        shapes_table(planned["rows"], key="plan-table")
        with st.expander("Reasons for each layer"):
            reasons_table(planned["rows"], key="plan-reasons")
    return planned


def ask_plan(backbone: dict[str, Any], budget: dict[str, Any], facts: DatasetFacts) -> dict[str, Any] | None:
    """Return the compression plan for a network, a budget and a data set. If there is none, show why and return None."""
    question = {
        "backbone": backbone,
        "compression": budget,
        "input_shape": facts.input_shape,
        "classes": facts.classes,
        "seconds": SECONDS,
    }
    kind = "jobs" if budget["latency_ms"] or budget["strategy"] != "uniform" else "plans"
    try:
        return ask_worker(kind, "plan", question, text="Planning", own_code=is_import_spec(backbone["name"]))
    except Refusal as error:
        show_error(in_words(str(error)))
        offer_ways_out(error, budget)
    except WorkerError as error:
        show_error(in_words(str(error)))
        if error.details:
            with st.expander("Details"):
                st.code(error.details, language=None, wrap_lines=True)
    return None


def offer_ways_out(error: Refusal, budget: dict[str, Any]) -> None:
    """Draw buttons that correct a refused question: a larger budget, or a network with a similar name."""
    for quantity, share in error.larger_budgets(budget).items():
        name = "MAdds" if quantity == "madds" else quantity
        st.button(f"Raise the {name} budget to {share}", on_click=enter, args=(f"compression.{quantity}", share))
    for name in error.similar_names:
        st.button(f"Take {name}", on_click=enter, args=("backbone.name", name))


def enter(field: str, value: str) -> None:
    """Enter a value into a field of the form, as if the user had typed it."""
    st.session_state[field] = value
