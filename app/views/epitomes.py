"""Epitomes page: show which numbers of an epitome each part of a layer's weight is read from, at each training step of a run."""

from collections.abc import Mapping

import streamlit as st

from app.cached import all_runs, choose_run, fitting_runs, layers_at, run_of, run_title
from app.components.errors import plain_text
from app.components.explorer import explorer
from app.components.plot import plot
from app.components.shared_epitome import show_readers, show_shared
from app.inputs import in_address
from nes_lab.errors import OptionError
from nes_lab.figures.coverage import coverage
from nes_lab.figures.epitome_atlas import atlas_pages, epitome_atlas
from nes_lab.figures.explorer_data import explorer_data, missing_layer
from nes_lab.figures.inputs import largest_layers
from nes_lab.figures.patches_on_epitome import patches_on_epitome
from nes_lab.figures.routing_map import routing_map
from nes_lab.figures.start_trajectories import start_trajectories
from nes_lab.geometry.layer_snapshot import LayerSnapshot, with_epitome
from nes_lab.runs.info import RunInfo
from nes_lab.runs.same_layer import column_facts, gradient_note, one_per_routing, runs_with_layer

VIEWS = ("Atlas", "Patches", "Routing map", "Coverage", "Trajectories")
HELP = {
    "Readers": "The cells of the flat epitome, drawn line by line, and below how often each layer reads them.",
    "Atlas": "All cells of the epitome, with one tile per kernel position. Red is positive, blue is negative.",
    "Patches": "Each outline is the part of the epitome that one patch (block of the weight) is read from. It may begin between two cells.",
    "Routing map": "The place in the epitome where each patch begins (its start), at the first step and at the step shown.",
    "Coverage": "How many numbers of the weight read each cell of the epitome. A kernel position counts once.",
    "Trajectories": "Each line is one start during training: its place in the epitome, and below how far it has moved. "
    "Close means within half a cell of another start.",
}
CHOSEN = ("step", "color", "kernel", "pin", "cell")
MOST_OTHERS = 2


def layers_of(run_id: str) -> dict[int, Mapping[str, LayerSnapshot]]:
    """Return the copies of all layers that a run has saved, by training step and name."""
    run = run_of(run_id)
    steps = run.snapshot_steps()
    return {step: layers_at(str(run.folder.parent), run_id, step, steps[-1]) for step in steps}


def history_of(run_id: str, name: str) -> dict[int, LayerSnapshot]:
    """Return the copies of one layer that a run has saved, by training step."""
    return {step: layers[name] for step, layers in layers_of(run_id).items() if name in layers}


def chosen_layer(run_id: str) -> str:
    """Let the user choose a layer of a run, and return its name. A layer that the address names and the run lacks is reported."""
    run = run_of(run_id)
    latest = run.snapshot_steps()[-1]
    layers = layers_at(str(run.folder.parent), run_id, latest, latest)
    names = list(layers)
    named = st.query_params.get("layer", names[0])
    chosen = st.selectbox("Layer", names, index=names.index(largest_layers(layers)[0]), **in_address("layer"))
    if named not in names:
        st.info(plain_text(f"This run has no layer {named!r}. Another one is shown."), icon=":material/info:")
    return chosen


def others_of(info: RunInfo, name: str, layer: LayerSnapshot) -> list[dict]:
    """Let the user choose runs to compare with, and return the same layer of each, for the explorer."""
    candidates = {
        each.id: each for each in runs_with_layer(run_of(info.id).store, info, all_runs(), name, layer.weight_shape)
    }
    if not candidates:
        st.caption(
            "No other run of this backbone has this layer. Launch one with another routing to compare them here."
        )
        return []
    chosen = st.multiselect(
        "Compare with",
        list(candidates),
        default=one_per_routing(info, candidates.values()),
        max_selections=MOST_OTHERS,
        format_func=lambda run_id: run_title(candidates[run_id]),
        help="The same layer of other runs of this backbone, drawn beside it with the same colors.",
        **in_address("with"),
    )
    return [column_of(candidates[run_id], name) for run_id in chosen if run_id in candidates]


def column_of(info: RunInfo, name: str) -> dict:
    """Return what the explorer draws of one layer of a run; if it cannot be drawn, the reason."""
    title, history = info.label or info.id, history_of(info.id, name)
    if not history:
        return missing_layer(title, f"This run has no layer {name}.")
    try:
        return explorer_data(history, title, column_facts(info), gradient_note(info), layers_of(info.id))
    except OptionError:
        return missing_layer(title, "This run kept only the starts of its patches, not its epitomes or their factors.")


def chosen_in_address(place: str) -> dict[str, str]:
    """Return what the address names of the explorer's choices. Without any, return what the user chose there before.

    Choices that belong to another layer are left out.
    """
    if st.session_state.get("explored", place) != place:
        for name in ("kernel", "pin", "cell"):
            st.query_params.pop(name, None)
    st.session_state["explored"] = place
    named = {name: st.query_params[name] for name in CHOSEN if name in st.query_params}
    return named or st.session_state.get(f"chosen-{place}", {})


def keep_in_address(place: str, chosen: Mapping[str, str]) -> None:
    """Write the explorer's choices into the address."""
    st.session_state[f"chosen-{place}"] = dict(chosen)
    for name in CHOSEN:
        if name in chosen and st.query_params.get(name) != chosen[name]:
            st.query_params[name] = chosen[name]
        elif name not in chosen:
            st.query_params.pop(name, None)


def explore(info: RunInfo, name: str, history: Mapping[int, LayerSnapshot], others: list[dict]) -> int:
    """Draw the explorer of one layer, and return the training step that the user chose in it."""
    main, place, steps = column_of(info, name), f"{info.id}-{name}", list(history)
    before = chosen_in_address(place)
    if "missing" in main:
        st.info(plain_text(f"{main['missing']} The pictures below show them."), icon=":material/info:")
        chosen = before
    else:
        chosen = explorer(main, before, f"explorer-{place}", others)
        keep_in_address(place, chosen)
    step = chosen.get("step", "")
    return int(step) if step.isdecimal() and int(step) in steps else steps[-1]


def draw(history: Mapping[int, LayerSnapshot], step: int, view: str) -> None:
    """Draw one layer of a run at one training step.

    Args:
        history: Training step -> copy of the layer.
        step: Training step to draw.
        view: Kind of picture, such as ``Routing map``.
    """
    layer, from_step = with_epitome(history, step)
    first_step = next(iter(history))
    first = history[first_step]
    st.caption(HELP[view])
    if view in ("Atlas", "Patches") and from_step not in (step, None):
        st.caption(f"Only the starts were saved at step {step}: the epitome is that of step {from_step}.")
    if view == "Atlas":
        draw_atlas(layer, first if from_step != first_step else None)
    elif view == "Patches":
        plot(patches_on_epitome(layer), "patches")
    elif view == "Routing map":
        plot(routing_map(layer, first if step != first_step else None), "routing")
    elif view == "Coverage":
        plot(coverage(layer), "coverage")
    else:
        plot(start_trajectories(list(history.items())), "trajectories")


def draw_atlas(layer: LayerSnapshot, first: LayerSnapshot | None) -> None:
    """Draw all cells of a layer's epitome. ``first`` is the layer at the first step, if that is another one."""
    if layer.epitome is None:
        st.info("No epitome was saved up to this step, only the starts.", icon=":material/info:")
        return
    both = first is not None and first.epitome is not None
    change = both and st.toggle("Change since the first step", **in_address("change"))
    count = atlas_pages(layer)
    page = int(st.number_input("Page", 1, count, 1, **in_address("page"))) if count > 1 else 1
    plot(epitome_atlas(layer, first, "change" if change else "value", page), "atlas")


st.title("Epitomes")
with_epitomes = fitting_runs(lambda info: info.state != "queued" and bool(run_of(info.id).snapshot_steps()))
if not with_epitomes:
    st.info(
        "No run has an epitome to show yet. Start one on the page **Start** or **Compress**.",
        icon=":material/info:",
    )
    st.page_link("views/compress.py", label="Go to Compress", icon=":material/arrow_forward:")
else:
    left, middle, right = st.columns([3, 2, 1], vertical_alignment="bottom")
    with left:
        run = choose_run(with_epitomes)
    with middle:
        layer_name = chosen_layer(run.id)
    with right:
        comparing = st.toggle(
            "Compare runs", help="Draw the same layer of other runs beside it.", **in_address("compare")
        )
    layer_history = history_of(run.id, layer_name)
    beside = others_of(run, layer_name, next(iter(layer_history.values()))) if comparing else []
    chosen_step = explore(run, layer_name, layer_history, beside)
    is_flat = layer_history[chosen_step].scope == "flat"
    if is_flat:
        show_readers(layers_of(run.id)[chosen_step], layer_name, st.query_params.get("cell", ""))
    views = ("Readers", *VIEWS) if is_flat else VIEWS
    with st.expander("More pictures of this layer", expanded="picture" in st.query_params):
        picture = st.segmented_control("Picture", views, default=views[0], required=True, **in_address("picture"))
        if picture == "Readers":
            show_shared(layers_of(run.id)[chosen_step], layer_name)
        else:
            draw(layer_history, chosen_step, picture)
