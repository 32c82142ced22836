"""Compress: a network, a budget, every layer of the plan at once, and the launch."""

import json
from dataclasses import replace
from typing import Any

import streamlit as st

from app.cached import plan, store
from app.components.errors import say_error
from app.components.plot import plot
from app.components.tables import reasons_table, shapes_table
from app.inputs import BACKBONES, field_input, text_or_none
from nes_lab.config import load_config
from nes_lab.errors import NesLabError
from nes_lab.figures.layer_bars import layer_bars
from nes_lab.records.dataset_facts import DATASET_FACTS, DatasetFacts
from nes_lab.runs.launcher import launch
from nes_lab.text import format_number, format_share

SECONDS = "20"  # about what a search for a time budget takes here; training searches longer


def ask_network() -> tuple[dict[str, Any], dict[str, Any], DatasetFacts]:
    """The backbone, the data, and what the data feeds to the network."""
    st.subheader("Network and data")
    columns = st.columns([2, 1, 1, 1], vertical_alignment="bottom")
    with columns[0]:
        name = st.selectbox(
            "Backbone",
            BACKBONES,
            accept_new_options=True,
            help="Any name that timm knows may be typed in. small_mobilenetv2 is made for images of 8 to 32 pixels, "
            "m5 for sound.",
        )
    with columns[1]:
        width = field_input("backbone.width")
    with columns[2]:
        data = {"name": field_input("data.name")}
    facts = DATASET_FACTS[data["name"]]
    size = "data.samples" if facts.kind == "audio" else "data.image_size"
    with columns[3]:
        asked = field_input(size, placeholder=f"{facts.side}")
    data[size.removeprefix("data.")] = asked
    classes = facts.classes
    if facts.source == "files":
        left, right = st.columns(2)
        with left:
            data["root"] = text_or_none(field_input("data.root"))
        with right:
            classes = st.number_input("Classes", 2, 100_000, facts.classes, help="Classes in the data set.")
    elif facts.source == "download":
        data["download"] = field_input("data.download")
    return {"name": name, "width": width}, data, replace(facts, side=asked or facts.side, classes=classes)


def ask_budget() -> dict[str, Any] | None:
    """The compression asked for; None trains the dense network."""
    st.subheader("Budget")
    if st.toggle("Train the dense network instead", help="For comparison: nothing is compressed."):
        return None
    columns = st.columns(4, vertical_alignment="bottom")
    with columns[0]:
        madds = text_or_none(field_input("compression.madds", value="60%"))
    with columns[1]:
        params = text_or_none(field_input("compression.params", placeholder="no limit"))
    with columns[2]:
        routing = field_input("compression.routing")
    with columns[3]:
        scope = field_input("compression.scope")
    with st.expander("More: strategy, time, patches, rounding, layers"):
        left, middle, right = st.columns(3)
        with left:
            strategy = field_input("compression.strategy")
            patch_channels = field_input("compression.patch_channels")
            include = field_input("compression.include", value="", placeholder="all that can be")
            min_channels = field_input("compression.min_channels")
        with middle:
            latency_ms = text_or_none(field_input("compression.latency_ms", placeholder="no limit"))
            round_to = field_input("compression.round_to")
            exclude = field_input("compression.exclude", value="", placeholder="none")
        with right:
            boundary = field_input("compression.boundary")
            wiring = field_input("compression.wiring")
            overrides = text_or_none(field_input("compression.overrides", value="", placeholder="none"))
    return {
        "madds": madds,
        "params": params,
        "latency_ms": latency_ms,
        "strategy": strategy,
        "routing": routing,
        "scope": scope,
        "boundary": boundary,
        "patch_channels": patch_channels,
        "round_to": round_to,
        "wiring": wiring,
        "min_channels": min_channels,
        "include": split(include),
        "exclude": split(exclude),
    } | ({"overrides": overrides} if overrides else {})


def split(text: str) -> list[str]:
    """Names separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def plan_arguments(backbone: dict[str, Any], budget: dict[str, Any], facts: DatasetFacts) -> tuple[str, ...]:
    """The same question on the command line."""
    words = [str(backbone["name"]), "--width", str(backbone["width"]), "--classes", str(facts.classes)]
    words += ["--input", *map(str, facts.input_shape)]
    for name, value in budget.items():
        if isinstance(value, list):
            words.extend([f"--{name}", *value] if value else [])
        elif value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return (*words, "--seconds", SECONDS) if budget["latency_ms"] else tuple(words)


def show_plan(backbone: dict[str, Any], budget: dict[str, Any], facts: DatasetFacts) -> bool:
    """Draw the plan, or say why there is none; tells whether there is one."""
    st.subheader("Plan")
    answer = plan(plan_arguments(backbone, budget, facts))
    if not answer.ok:
        say_error(answer.text)
        if answer.details:
            with st.expander("Details"):
                st.code(answer.details, language=None, wrap_lines=True)
        return False
    found = json.loads(answer.text)
    dense, predicted = found["dense"], found["predicted"]
    columns = st.columns(4)
    for column, key, name in ((columns[0], "madds", "MAdds"), (columns[1], "params", "Params")):
        column.metric(name, format_number(predicted[key]), help=f"{predicted[key]:,} of {dense[key]:,}")
        column.caption(f"{format_share(predicted[key], dense[key])} of the dense {format_number(dense[key])}")
    columns[2].metric("Layers compressed", len(found["layers"]))
    columns[3].metric("Layers kept dense", len(found["kept_layers"]))
    for note in found["notes"]:
        st.text(note)
    bars, table = st.tabs(["Bars", "Table"])
    with bars:
        plot(layer_bars(found["rows"]), key="plan-bars")
    with table:
        shapes_table(found["rows"], key="plan-table")
        with st.expander("Why every layer is as it is"):
            reasons_table(found["rows"], key="plan-reasons")
    return True


def ask_training() -> tuple[dict[str, Any], dict[str, Any], int, str]:
    """How it is trained, and what the run is called."""
    st.subheader("Training")
    columns = st.columns(4)
    with columns[0]:
        epochs = field_input("training.epochs")
    with columns[1]:
        lr = field_input("training.lr")
    with columns[2]:
        batch_size = field_input("data.batch_size")
    with columns[3]:
        seed = field_input("seed")
    label = field_input("label", placeholder="to recognize the run by")
    return {"epochs": epochs, "lr": lr}, {"batch_size": batch_size}, seed, label


def start(config: dict[str, Any], label: str) -> str | None:
    """Check the configuration, make the run, start it; its id, or None after an error was shown."""
    try:
        checked = load_config(config)
        run_id = store().create(checked.to_dict(), label=label)
        launch(store(), run_id)
    except NesLabError as error:
        say_error(str(error))
        return None
    return run_id


st.title("Compress")
st.caption("Choose a network and a budget. The plan below follows at once; nothing is trained before you launch.")
backbone, data, facts = ask_network()
budget = ask_budget()
ready = True if budget is None else show_plan(backbone, budget, facts)
training, loading, seed, label = ask_training()
launches = st.session_state.setdefault("launches", 0)
if st.button("Launch", type="primary", icon=":material/rocket_launch:", key=f"launch-{launches}", disabled=not ready):
    st.session_state["launches"] = launches + 1  # a second click meets a button that is no longer there
    config = {
        "label": label,
        "seed": seed,
        "data": data | loading,
        "backbone": backbone,
        "compression": budget,
        "training": training,
    }
    run_id = start(config, label)
    if run_id is not None:
        st.switch_page("views/run.py", query_params={"run": run_id})
