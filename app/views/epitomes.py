"""Epitomes: what a run has learned, layer by layer and step by step."""

import streamlit as st

from app.cached import choose_run, layers_at, store
from app.components.plot import plot
from nes_lab.figures.coverage import coverage
from nes_lab.figures.epitome_atlas import atlas_pages, epitome_atlas
from nes_lab.figures.patches_on_epitome import patches_on_epitome
from nes_lab.figures.routing_map import routing_map
from nes_lab.figures.run_report import largest_layers
from nes_lab.figures.start_trajectories import start_trajectories

VIEWS = ("Atlas", "Patches", "Routing map", "Coverage", "Trajectories")
HELP = {
    "Atlas": "Every cell of the epitome, one tile per kernel cell. Red is positive, blue negative.",
    "Patches": "Each outline is a window that one patch of the weight is read from, at its exact, fractional place.",
    "Routing map": "Where each patch begins to read, at the first step and at the step shown.",
    "Coverage": "How many channel pairs of the weight read each cell of the epitome.",
    "Trajectories": "One line per starting index over training. Dead ones never moved; collapsed ones crowd together.",
}


def choose(label: str, name: str, options: list[str], usual: str) -> str:
    """A choice that lives in the address; ``usual`` when the address says nothing."""
    wanted = st.query_params.get(name)
    chosen = st.selectbox(label, options, index=options.index(wanted if wanted in options else usual))
    st.query_params[name] = chosen
    return chosen


def choose_step(steps: list[int]) -> int:
    """The step slider; one step needs none."""
    if len(steps) == 1:
        st.caption(f"One snapshot, at step {steps[0]}.")
        return steps[0]
    wanted = st.query_params.get("step", "")
    start = int(wanted) if wanted.isdecimal() and int(wanted) in steps else steps[-1]
    step = st.select_slider("Training step", steps, value=start)
    st.query_params["step"] = str(step)
    return step


def draw(run_id: str, steps: list[int], step: int, name: str, view: str) -> None:
    """Draw the chosen picture of the chosen layer."""
    root, latest = str(store().root), steps[-1]
    layer = layers_at(root, run_id, step, latest)[name]
    first = layers_at(root, run_id, steps[0], latest).get(name)
    st.caption(HELP[view])
    if view == "Atlas":
        if layer.epitome is None:
            st.info(
                f"At step {step} only the starts were kept. The whole epitome is there at step {steps[0]} and at step "
                f"{latest}; the other pictures work at every step.",
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
runs = store().list()
having = [info for info in runs if info.state != "queued" and store().snapshots(info.id)]
if not having:
    st.info(
        "No run has an epitome to show yet. Launch one under **Compress**, or run `make demo` in a terminal.",
        icon=":material/info:",
    )
    st.page_link("views/compress.py", label="Go to Compress", icon=":material/arrow_forward:")
else:
    left, middle = st.columns(2)
    with left:
        run = choose_run(having)
    found = store().snapshots(run.id)
    with middle:
        layers = layers_at(str(store().root), run.id, found[-1], found[-1])
        chosen_layer = choose("Layer", "layer", list(layers), usual=largest_layers(layers)[0])
    chosen_step = choose_step(found)
    wanted_view = st.query_params.get("view")
    chosen_view = st.segmented_control(
        "Picture", VIEWS, default=wanted_view if wanted_view in VIEWS else VIEWS[0], required=True
    )
    st.query_params["view"] = chosen_view
    draw(run.id, found, chosen_step, chosen_layer, chosen_view)
