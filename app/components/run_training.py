"""The part of the Run page about the training: alarms, curves, a small epitome, the log, another run beside it, and the results."""

from contextlib import suppress
from functools import partial
from typing import Any

import streamlit as st

from app.cached import layers_at, metrics_of, run_of, starts_at
from app.components.errors import guarded, plain_text
from app.components.log_lines import show_log
from app.components.plot import plot
from app.components.run_state import seconds_between
from app.components.tables import show
from app.inputs import in_address
from app.labels import in_words
from nes_lab.errors import NesLabError, RunError
from nes_lab.experiment.alarms import healthy_signs, run_alarms
from nes_lab.experiment.run import Run
from nes_lab.figures.epitome_atlas import epitome_atlas
from nes_lab.figures.inputs import largest_layers
from nes_lab.figures.progress import event_lines
from nes_lab.figures.run_panels import ACROSS, RunCurves, run_panels
from nes_lab.figures.start_moves import start_moves
from nes_lab.figures.theme import plain
from nes_lab.runs.info import RunInfo
from nes_lab.runs.kept_curve import read_curve
from nes_lab.runs.query import dense_reference, epitome_reference
from nes_lab.runs.run_against import results_beside, run_against
from nes_lab.runs.states import STATES
from nes_lab.text import shorten_name

__all__ = ["ask_axes", "show_training"]


def ask_axes() -> dict[str, Any]:
    """Let the user choose the axes of the panels, and return the choices."""
    across = st.segmented_control(
        "Across", ACROSS, default="step", required=True, label_visibility="collapsed", **in_address("across")
    )
    log_loss = st.toggle("Log axis for the loss", **in_address("log"))
    smooth = st.toggle("Smooth the training curves", **in_address("smooth"))
    return {"across": across or "step", "log_loss": log_loss, "smooth": smooth}


def show_training(info: RunInfo, runs: list[RunInfo], other: str | None, axes: dict[str, Any]) -> None:
    """Draw the part of the page that updates by itself, and the results.

    Args:
        info: The run.
        runs: All runs. A dense one is the reference of the accuracy.
        other: Id of a second run to draw beside this one; None: there is none.
        axes: What :func:`ask_axes` returns.
    """
    draw = partial(live, **axes)
    others = {"dense": dense_reference(info, runs), "epitome": epitome_reference(info, runs)}
    st.fragment(draw, run_every=seconds_between(info))(info.id, other, **others)
    show_results(info, next((each for each in runs if each.id == other), None))


@guarded
def live(
    run_id: str,
    other_id: str | None,
    dense: RunInfo | None,
    epitome: RunInfo | None,
    **options: Any,
) -> None:
    """Draw the part of the run page that updates by itself: the run's alarms, curves, epitome and log, and another run beside it."""
    run = run_of(run_id)
    info = run.info
    curves, other = curves_of(run), None
    if other_id is not None:
        with suppress(RunError):  # it was deleted a moment ago
            other = curves_of(run_of(other_id))
    # a container of their own: an alarm that comes or goes must not move the curves to another place, where they lose their zoom
    with st.container():
        for alarm in run_alarms(info, curves.metrics, curves.events, curves.moves, run.folder):
            st.markdown(f":orange[:material/warning: {plain_text(in_words(alarm))}]")
    left, right = st.columns([3, 1], gap="medium")
    with left:
        show_panels(info, curves, other, dense, options)
    with right:
        show_epitome(run, info, epitome)
        show_health(run, info, curves)
        st.markdown("**Log**")
        lines = event_lines(curves.metrics, curves.events)
        show_log("\n".join(lines) or "Nothing has happened yet.")
    if other is not None:
        show_against(run, run_of(other.info.id))
    output = st.expander("Output of the training process", expanded=STATES[info.state].tone == "bad")
    with output, st.container(height=260, autoscroll=True):  # the newest lines are visible
        show_log(run.log() or "The process has printed nothing.")


def curves_of(run: Run) -> RunCurves:
    """Read what the panels draw of a run."""
    info, root = run.info, str(run.store.root)
    history = []
    for step in run.snapshot_steps():
        with suppress(NesLabError):  # one damaged snapshot must not hide the curves
            history.append((step, starts_at(root, info.id, step, info.attempt)))
    return RunCurves(info, metrics_of(run), run.events(), start_moves(history))


def show_health(run: Run, info: RunInfo, curves: RunCurves) -> None:
    """Draw what is well with a run."""
    signs = healthy_signs(info, curves.metrics, curves.events, run.folder)
    if signs:
        st.markdown("**Health**")
        st.markdown("  \n".join(f":green[:material/check:] {plain_text(sign)}" for sign in signs))


def show_panels(
    info: RunInfo, curves: RunCurves, other: RunCurves | None, dense: RunInfo | None, options: dict[str, Any]
) -> None:
    """Draw the four panels. They have their own keys, so that each keeps its zoom."""
    if not curves.metrics:
        if info.is_final or info.state == "lost":
            st.info("The run ended before its first measurement.", icon=":material/info:")
        else:
            st.info(
                "There is no measurement yet. The first one comes a few seconds after the start.",
                icon=":material/hourglass:",
            )
        return
    figures = run_panels(curves, other, dense=dense, **options)
    for names in (("loss", "metric"), ("starts", "speed")):
        for place, name in zip(st.columns(2, gap="small"), names, strict=True):
            with place, st.container(border=True):
                plot(figures[name], key=f"{name}-{info.id}")


def show_epitome(run: Run, info: RunInfo, epitome: RunInfo | None) -> None:
    """Draw the largest epitome of the newest snapshot, with a link to the explorer.

    A dense network has none; a link then leads to a compressed run of the same data and backbone.
    """
    steps = run.snapshot_steps()
    if not steps:
        dense = info.config.get("compression") is None
        st.caption("This network is dense: it has no epitomes." if dense else "There is no epitome yet.")
        if epitome is not None:
            st.caption(f"Beside it: {plain_text(epitome.label or epitome.id)}")
            st.page_link(
                "views/run.py", label="See it compressed", icon=":material/grid_on:", query_params={"run": epitome.id}
            )
        return
    layers = layers_at(str(run.store.root), info.id, steps[-1], steps[-1])
    drawn = [layers[name] for name in largest_layers(layers, most=1) if layers[name].epitome is not None]
    for layer in drawn:
        figure = epitome_atlas(layer)
        figure.update_layout(height=300, margin={"l": 36, "r": 10, "t": 72, "b": 40}, title_font_size=15)
        figure.update_layout(title_text=plain(shorten_name(layer.name, 24)))
        figure.update_xaxes(title_text="")
        figure.update_yaxes(title_text="")
        figure.update_traces(showscale=False)
        with st.container(border=True):
            plot(figure, key=f"epitome-{info.id}")
            st.page_link(
                "views/epitomes.py",
                label="Open the explorer",
                icon=":material/grid_on:",
                query_params={"run": info.id},
            )


def show_against(run: Run, other: Run) -> None:
    """Draw what differs between a run and another one: settings, and the results that both have."""
    st.markdown(f"**Against {plain_text(other.label or other.id)}**: what differs")
    curves = read_curve(run.folder), read_curve(other.folder)
    show(run_against(run.info, other.info, curves), "against", height="content")


def show_results(info: RunInfo, other: RunInfo | None) -> None:
    """Draw the results of a run with names and units, and beside them those of another run, if there is one."""
    if info.summary:
        st.subheader("Results")
        show(results_beside(info, other), "results", height="content")
