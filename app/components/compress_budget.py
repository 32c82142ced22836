"""Ask for the budget of a network and the options of its compression, on the page Compress."""

from typing import Any

import streamlit as st

from app.components.errors import plain_text
from app.inputs import field_input, in_address, text_or_none
from nes_lab.geometry.start_rules import ROUTING_MODES

__all__ = ["ask_budget"]


def ask_budget(slots: dict[str, Any]) -> dict[str, Any] | None:
    """Ask the user for the budget and the options of compression.

    Args:
        slots: Dict that gets a place for the slider of each budget, which is drawn when the plan is known.

    Returns:
        The ``compression`` section of the configuration; None: the user wants to train the dense network.
    """
    st.subheader("Budget")
    if st.toggle(
        "Train the dense network",
        help="Trains the network without compression instead, for comparison.",
        **in_address("dense"),
    ):
        return None
    slots["madds"], typed = st.columns([1.4, 1], vertical_alignment="bottom")
    with typed:
        madds = text_or_none(field_input("compression.madds", value="60%"))
    slots["params"], typed = st.columns([1.4, 1], vertical_alignment="bottom")
    with typed:
        params = text_or_none(field_input("compression.params", placeholder="no limit"))
    routing = ask_routing()
    with st.expander("More options: time, size, patches, layers"):
        strategy = field_input("compression.strategy")
        scope = field_input("compression.scope")
        boundary = field_input("compression.boundary")
        wiring = field_input("compression.wiring")
        stored_bytes = text_or_none(field_input("compression.stored_bytes", placeholder="no limit"))
        left, right = st.columns(2, vertical_alignment="bottom")
        with left:
            latency_ms = text_or_none(field_input("compression.latency_ms", placeholder="no limit"))
        with right:
            round_to = field_input("compression.round_to")
        left, right = st.columns(2, vertical_alignment="bottom")
        with left:
            patch_channels = text_or_none(field_input("compression.patch_channels", placeholder="automatic"))
        with right:
            min_channels = field_input("compression.min_channels")
        left, right = st.columns(2, vertical_alignment="bottom")
        with left:
            share = field_input("compression.share")
        with right:
            windows = field_input("compression.windows")
        epitome_dtype = field_input("compression.epitome_dtype")
        include = field_input("compression.include", value="", placeholder="all possible layers")
        exclude = field_input("compression.exclude", value="", placeholder="none")
        overrides = text_or_none(field_input("compression.overrides", value="", placeholder="none"))
        snap = field_input("compression.snap")
    return {
        "madds": madds,
        "params": params,
        "latency_ms": latency_ms,
        "stored_bytes": stored_bytes,
        "strategy": strategy,
        "routing": routing,
        "scope": scope,
        "boundary": boundary,
        "patch_channels": patch_channels,
        "share": share,
        "windows": windows,
        "epitome_dtype": epitome_dtype,
        "round_to": round_to,
        "wiring": wiring,
        "min_channels": min_channels,
        "snap": snap,
        "include": split(include),
        "exclude": split(exclude),
        "overrides": overrides or {},
    }


def ask_routing() -> str:
    """Ask who sets the starts (positions in the epitome), and explain the choice in one line. The app begins with ``learner``."""
    names = list(ROUTING_MODES)
    address = in_address("compression.routing")
    routing = st.pills("Who sets the starts", names, default="learner", required=True, wrap=True, **address)
    st.caption(plain_text(f"The starts are {ROUTING_MODES[routing].help}."))
    return routing


def split(text: str) -> list[str]:
    """Split a text at its commas into names. Spaces around a name and empty names are dropped."""
    return [part.strip() for part in text.split(",") if part.strip()]
