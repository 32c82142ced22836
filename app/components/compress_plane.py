"""Draw which budgets a network can meet, on the page Compress: the plane of params and MAdds, and a slider for each budget."""

import json
from typing import Any

import streamlit as st

from app.components.budget_slider import budget_slider
from app.components.compress_layers import enter
from app.components.plot import plot
from app.workers import ask_worker
from nes_lab.errors import BudgetError
from nes_lab.figures.budget_plane import budget_plane
from nes_lab.figures.paper_budgets import PaperBudget, paper_budgets
from nes_lab.figures.slider_data import slider_data
from nes_lab.import_spec import is_import_spec
from nes_lab.records.reachable import Reachable, budget_at, share_text, shares_of
from nes_lab.worker.client import Refusal, WorkerError

__all__ = ["ask_region", "show_plane", "show_sliders"]

REGIONS_KEPT = 50
_LIMITS = ("madds", "params", "latency_ms", "stored_bytes")


def show_plane(question: dict[str, Any], planned: dict[str, Any]) -> None:
    """Draw the plane. Its point and its lines can be dragged, which sets the budgets."""
    region, budget = known_region(question), question["compression"]

    def move(name: str, x: float | None, y: float | None) -> None:
        if name == "point":
            for quantity, text in budget_at(x or 0, y or 0, region, budget).items():
                set_budget(budget, quantity, text)
        else:
            set_budget(budget, name, share_text((x if name == "madds" else y) or 0))

    st.markdown("**Where you are**: what this network can reach. Drag the point or a line, or click.")
    shares = shares_of(budget, planned["dense"])
    figure = budget_plane(planned, shares, region, papers(question), budget.get("preset") or budget["routing"])
    plot(figure, key="plane", moved=move)


def show_sliders(slots: dict[str, Any], question: dict[str, Any], planned: dict[str, Any] | None) -> None:
    """Draw a slider for each budget beside its field. Without a plan, the slider shows what is known of the network."""
    region, budget = known_region(question), question["compression"]
    dense = planned["dense"] if planned else region.to_dict()["dense"] if region else None
    if dense is None:
        return
    for quantity in ("madds", "params"):
        try:
            slider = slider_data(quantity, budget, dense, planned and planned["predicted"], region, papers(question))
        except BudgetError:  # the plan says what is wrong
            return
        with slots[quantity]:
            budget_slider(slider, key=f"slider-{quantity}", slid=entry_of(quantity, budget))


def entry_of(quantity: str, budget: dict[str, Any]) -> Any:
    """Return a function that enters a share into the field of a budget. 100% clears the field if there is another limit."""
    other = budget["params" if quantity == "madds" else "madds"] or budget["latency_ms"] or budget["stored_bytes"]

    def slid(share: float) -> None:
        set_budget(budget, quantity, "" if share >= 1 and other else share_text(share))

    return slid


def set_budget(budget: dict[str, Any], quantity: str, text: str) -> None:
    """Enter a budget into its field. It takes the place of a preset, because a plan comes from one or the other."""
    if budget.get("preset") and text:
        enter("compression.preset", "")
        st.toast(f"This budget takes the place of the preset {budget['preset']}.")
    enter(f"compression.{quantity}", text)


def papers(question: dict[str, Any]) -> tuple[PaperBudget, ...]:
    """Return the published budgets for the network of a question."""
    backbone = question["backbone"]
    return paper_budgets(backbone["name"], question["input_shape"], question["classes"], backbone.get("width") or 1.0)


def region_key(question: dict[str, Any]) -> str:
    """Return what decides what a network can reach: the network and the options, without the numbers of the budget."""
    options = dict(question["compression"])
    limits = {name: bool(options.pop(name, None)) for name in _LIMITS}
    if options["scope"] == "auto":  # the budget decides the scope
        limits = {name: question["compression"].get(name) for name in _LIMITS}
    return json.dumps([question["backbone"], question["input_shape"], question["classes"], options, limits])


def known_region(question: dict[str, Any]) -> Reachable | None:
    """Return what the network of a question can reach, if a worker has said it before."""
    data = st.session_state.get("regions", {}).get(region_key(question))
    return Reachable.from_dict(data) if data else None


def ask_region(question: dict[str, Any]) -> None:
    """Ask a worker what a network can reach, once for each set of options, and draw the page again. Call it last: the page is there."""
    regions, key = st.session_state.setdefault("regions", {}), region_key(question)
    if key in regions or is_import_spec(question["backbone"]["name"]):
        return
    if len(regions) >= REGIONS_KEPT:
        regions.clear()
    try:
        regions[key] = ask_worker("plans", "region", question, text="Finding what can be reached", seconds=60)
    except (Refusal, WorkerError):  # the plan says what is wrong; without a region, the plane has none
        regions[key] = None
    if regions[key]:
        st.rerun()
