"""Compare selected runs: their curves over each other, the settings in which they differ, and their results side by side."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from app.cached import details_of, run_of
from app.components.plot import plot
from app.components.tables import show
from app.inputs import in_address
from nes_lab.figures.compare_runs import compare_runs
from nes_lab.figures.run_panels import ACROSS
from nes_lab.records.columns import columns
from nes_lab.records.table import Table
from nes_lab.runs.compared_settings import compared_settings
from nes_lab.runs.info import RunInfo
from nes_lab.runs.overview import overview

__all__ = ["compare"]

MOST_COMPARED = 12
RESULTS = ("label", "top1", "madds", "params", "latency_ms", "routing", "budget", "duration", "id")


def compare(runs: Sequence[RunInfo]) -> None:
    """Draw the curves of some runs over each other, the settings in which they differ, and their results."""
    st.subheader("Compare")
    if len(runs) > MOST_COMPARED:
        st.caption(f"The first {MOST_COMPARED} of the {len(runs)} selected runs are compared.")
    runs = runs[:MOST_COMPARED]
    left, right = st.columns([3, 2], gap="medium")
    with left:
        across: Any = st.segmented_control(
            "Across", ACROSS, default="step", required=True, label_visibility="collapsed", **in_address("across")
        )
        plot(compare_runs([run_of(info.id) for info in runs], across or "step"), key="compare")
    with right:
        st.markdown("**Results**")
        show(Table(columns(*RESULTS), overview(runs, details_of(runs)).rows), "compared-results")
        st.markdown("**Settings that differ**")
        settings = compared_settings(runs)
        if settings.rows:
            show(settings, "compared-settings")
        else:
            st.caption("All settings are equal.")
