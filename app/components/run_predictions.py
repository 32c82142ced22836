"""The part of the Run page about predictions: validation examples, the worst mistakes, and which classes are confused."""

from typing import Any

import streamlit as st

from app.cached import run_of
from app.components.errors import plain_text
from app.components.jobs import ask_about
from app.components.plot import plot
from app.components.run_network import ask_weights
from app.components.tables import show
from nes_lab.experiment.kept_answers import kept_answer, needed_objects
from nes_lab.figures.confusion import class_table, confusion, pair_table
from nes_lab.figures.predictions import prediction_sheet
from nes_lab.runs.info import RunInfo
from nes_lab.text import format_percent

__all__ = ["show_predictions"]


def show_predictions(info: RunInfo) -> None:
    """Let the user predict the validation data of a run, and draw what its network gets right and wrong."""
    if info.state not in ("finished", "cancelled"):
        st.info("Predictions are there when the run has ended.", icon=":material/info:")
        return
    run = run_of(info.id)
    if reason := needed_objects(run, "data", "network"):
        st.info(plain_text(reason), icon=":material/info:")
        return
    left, right = st.columns([1, 3], vertical_alignment="bottom")
    with left:
        weights = ask_weights()
    with right:
        pressed = st.button("Predict the validation data", type="primary", icon=":material/visibility:")
    if pressed:
        ask_about(info, "predictions", "Predicting", limit=3600, which=weights)
    found = kept_answer(run, "predictions")
    if found is None:
        st.info("Press the button to see what the network gets right and wrong.", icon=":material/info:")
        return
    show_found(found)


def show_found(found: dict[str, Any]) -> None:
    """Draw predictions: their accuracy, examples, the worst mistakes, and the confused classes."""
    names = [row["name"] for row in found["classes"]]
    st.markdown(
        f"**{format_percent(found['accuracy'], 2)}** of {found['total']:,} validation examples are right · "
        f"{plain_text(found['weights'])} · on {plain_text(found['device'])}"
    )
    if not any("picture" in row or "outline" in row for row in found["examples"]):
        st.caption("These inputs are neither images nor sounds, so only their classes are shown.")
    left, right = st.columns([3, 2], gap="medium")
    with left, st.container(border=True):
        plot(prediction_sheet(found["examples"], names, "Validation examples"), key="predictions")
    with right, st.container(border=True):
        if found["worst"]:
            plot(prediction_sheet(found["worst"], names, "Worst mistakes", columns=5), key="worst")
        else:
            st.markdown("Every validation example is right.")
    show_confusion(found, names)


def show_confusion(found: dict[str, Any], names: list[str]) -> None:
    """Draw the confusion matrix, if there are not too many classes for it, and the most confused pairs and classes."""
    left, right = st.columns([3, 2], gap="medium")
    with left:
        if found["confusion"] is not None:
            with st.container(border=True):
                plot(confusion(found["confusion"], names), key="confusion")
        else:
            st.caption(f"The matrix of {len(names):,} classes would be too large to read. The tables show the worst.")
            show(class_table(found["classes"]), key="classes")
    with right:
        st.markdown("**Most confused**")
        show(pair_table(found["pairs"], found["classes"]), key="pairs")
        if found["confusion"] is not None:
            st.markdown("**Classes, the worst first**")
            show(class_table(found["classes"]), key="classes")
