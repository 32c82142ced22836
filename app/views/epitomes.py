"""Epitomes page: show which numbers of an epitome each part of a layer's weight is read from, at each training step of a run."""

import streamlit as st

from app.cached import all_runs, choose_run, layers_at, run_of
from app.components.explorer import explorer
from app.components.plot import plot
from nes_lab.figures.coverage import coverage
from nes_lab.figures.epitome_atlas import atlas_pages, epitome_atlas
from nes_lab.figures.inputs import largest_layers
from nes_lab.figures.patches_on_epitome import patches_on_epitome
from nes_lab.figures.routing_map import routing_map
from nes_lab.figures.start_trajectories import start_trajectories

VIEWS = ("Atlas", "Patches", "Routing map", "Coverage", "Trajectories")
HELP = {
    "Atlas": "All cells of the epitome, with one tile per kernel position. Red is positive, blue is negative.",
    "Patches": "Each outline is the window of the epitome that one patch of the weight is read from. Its position may "
    "lie between cells.",
    "Routing map": "The starting index of each patch, at the first step and at the step shown.",
    "Coverage": "The number of channel pairs of the weight that read each cell of the epitome.",
    "Trajectories": "Each line is one starting index during training. Dead ones never moved. Collapsed ones have come "
    "close together.",
}


def choose(label: str, name: str, options: list[str], usual: str) -> str:
    """Let the user choose one of several options, and return the chosen option.

    The page's URL keeps the choice. If the URL names none of the options, the option ``usual`` is chosen at first.
    """
    before = st.query_params.get(name)
    chosen = st.selectbox(label, options, index=options.index(before if before in options else usual))
    st.query_params[name] = chosen
    return chosen


def step_in_address(steps: list[int]) -> int:
    """Return the training step that the page's URL names, or the newest one."""
    named = st.query_params.get("step", "")
    return int(named) if named.isdecimal() and int(named) in steps else steps[-1]


def explore(run_id: str, steps: list[int], name: str) -> int:
    """Draw the explorer of one layer, and return the training step that the user chose in it."""
    root, latest = str(run_of(run_id).folder.parent), steps[-1]
    history = {step: layers_at(root, run_id, step, latest)[name] for step in steps}
    step = explorer(history, step_in_address(steps), key=f"explorer-{run_id}-{name}")
    if step != step_in_address(steps) and step in steps:
        st.query_params["step"] = str(step)
    return step


def draw(run_id: str, steps: list[int], step: int, name: str, view: str) -> None:
    """Draw one layer of a run at one training step.

    Args:
        run_id: Id of the run.
        steps: All training steps that the run has saved.
        step: Training step to draw.
        name: Name of the layer.
        view: Kind of picture, such as ``Routing map``.
    """
    root, latest = str(run_of(run_id).folder.parent), steps[-1]
    layer = layers_at(root, run_id, step, latest)[name]
    first = layers_at(root, run_id, steps[0], latest).get(name)
    st.caption(HELP[view])
    if view == "Atlas":
        if layer.epitome is None:
            st.info(
                f"Only the starting indices were saved at step {step}. The epitome itself was saved at step {steps[0]} "
                f"and at step {latest}. The other pictures work at every step.",
                icon=":material/info:",
            )
            return
        change = step != steps[0] and st.toggle("Change since the first step")
        count = atlas_pages(layer)
        page = st.number_input("Page", 1, count, 1) if count > 1 else 1
        plot(epitome_atlas(layer, first, "change" if change else "value", page), "atlas")
    elif view == "Patches":
        plot(patches_on_epitome(layer), "patches")
    elif view == "Routing map":
        plot(routing_map(layer, first if step != steps[0] else None), "routing")
    elif view == "Coverage":
        plot(coverage(layer), "coverage")
    else:
        plot(start_trajectories([(at, layers_at(root, run_id, at, latest)[name]) for at in steps]), "trajectories")


st.title("Epitomes")
runs = all_runs()
with_epitomes = [info for info in runs if info.state != "queued" and run_of(info.id).snapshot_steps()]
if not with_epitomes:
    st.info(
        "No run has an epitome to show yet. Start one on the page **Compress**, or run `make demo` in a terminal.",
        icon=":material/info:",
    )
    st.page_link("views/compress.py", label="Go to Compress", icon=":material/arrow_forward:")
else:
    left, middle = st.columns(2)
    with left:
        run = choose_run(with_epitomes)
    snapshot_steps = run_of(run.id).snapshot_steps()
    with middle:
        layers = layers_at(str(run_of(run.id).folder.parent), run.id, snapshot_steps[-1], snapshot_steps[-1])
        chosen_layer = choose("Layer", "layer", list(layers), usual=largest_layers(layers)[0])
    chosen_step = explore(run.id, snapshot_steps, chosen_layer)
    with st.expander("More pictures of this layer", expanded=st.query_params.get("view") in VIEWS):
        view_before = st.query_params.get("view")
        chosen_view = st.segmented_control(
            "Picture", VIEWS, default=view_before if view_before in VIEWS else VIEWS[0], required=True
        )
        if chosen_view != VIEWS[0] or view_before:
            st.query_params["view"] = chosen_view
        draw(run.id, snapshot_steps, chosen_step, chosen_layer, chosen_view)
