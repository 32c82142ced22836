"""Compress page: choose a network and a budget, see the compression plan, and start a training run."""

from dataclasses import replace
from pprint import pformat
from textwrap import indent
from typing import Any

import streamlit as st
import yaml

from app.components.errors import show_error
from app.components.plot import plot
from app.components.tables import reasons_table, shapes_table
from app.inputs import BACKBONES, field_input, imports_allowed, imports_refused, in_address, text_or_none
from app.workers import ask_worker
from nes_lab.config import knobs, load_config
from nes_lab.errors import NesLabError
from nes_lab.experiment.train import train
from nes_lab.figures.layer_bars import layer_bars
from nes_lab.import_spec import current_folder_importable, is_import_spec
from nes_lab.records.dataset_facts import DATASET_FACTS, OWN_DATA_FACTS, DatasetFacts
from nes_lab.text import format_number, format_share
from nes_lab.worker.client import Refusal, WorkerError

SECONDS = 20  # limit on the search for a plan with a time budget on this page; a training run searches longer


def ask_network() -> tuple[dict[str, Any], dict[str, Any], DatasetFacts]:
    """Ask the user for the backbone and the data set.

    Returns:
        The ``backbone`` section of the configuration, its ``data`` section, and facts about the data set. Among the
        facts are the number of classes and the input size that the user chose.
    """
    st.subheader("Network and data")
    columns = [st.container(), *st.columns(2, vertical_alignment="bottom"), st.container()]
    with columns[0]:
        name = st.selectbox(
            "Backbone",
            BACKBONES,
            **in_address("backbone.name"),
            accept_new_options=True,
            help="Choose a network, or type any model name of timm. small_mobilenetv2 is made for images of 8 to 32 "
            "pixels, m5 for sound.",
        )
    with columns[1]:
        width = field_input("backbone.width")
    with columns[2]:
        more = {"accept_new_options": True} if imports_allowed() else {}
        data = {"name": field_input("data.name", **more)}
    if is_import_spec(data["name"]):
        with columns[3]:
            return {"name": name, "width": width}, data, ask_own_data()
    facts = DATASET_FACTS[data["name"]]
    size = "data.samples" if facts.kind == "audio" else "data.image_size"
    with columns[3]:
        side = field_input(size, placeholder=f"{facts.side}")
    data[size.removeprefix("data.")] = side
    classes = facts.classes
    if facts.source == "files":
        left, right = st.columns(2)
        with left:
            data["root"] = text_or_none(field_input("data.root"))
        with right:
            classes = st.number_input(
                "Classes", 2, 100_000, facts.classes, help="Number of classes in the data set.", **in_address("classes")
            )
    elif facts.source == "download":
        data["download"] = field_input("data.download")
    return {"name": name, "width": width}, data, replace(facts, side=side or facts.side, classes=classes)


def ask_own_data() -> DatasetFacts:
    """Ask the user for the classes, channels and image size of data from a function of their own. The plan uses them."""
    classes = st.number_input(
        "Classes", 2, 100_000, OWN_DATA_FACTS.classes, help="Classes in your data.", **in_address("own-classes")
    )
    channels = st.number_input(
        "Channels", 1, 1000, OWN_DATA_FACTS.channels, help="Channels of an image.", **in_address("channels")
    )
    side = st.number_input(
        "Image size", 4, 2048, OWN_DATA_FACTS.side, help="Height and width of an image in pixels.", **in_address("side")
    )
    return replace(OWN_DATA_FACTS, classes=classes, channels=channels, side=side)


def ask_budget() -> dict[str, Any] | None:
    """Ask the user for the budget and the options of compression.

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
    columns = [*st.columns(2, vertical_alignment="bottom"), *st.columns(2, vertical_alignment="bottom")]
    with columns[0]:
        madds = text_or_none(field_input("compression.madds", value="60%"))
    with columns[1]:
        params = text_or_none(field_input("compression.params", placeholder="no limit"))
    with columns[2]:
        routing = field_input("compression.routing")
    with columns[3]:
        scope = field_input("compression.scope")
    with st.expander("More options: strategy, time budget, patches, rounding, layers"):
        left, right = st.columns(2)
        middle = right
        with left:
            strategy = field_input("compression.strategy")
            patch_channels = text_or_none(field_input("compression.patch_channels", placeholder="automatic"))
            include = field_input("compression.include", value="", placeholder="all possible layers")
            min_channels = field_input("compression.min_channels")
        with middle:
            latency_ms = text_or_none(field_input("compression.latency_ms", placeholder="no limit"))
            round_to = field_input("compression.round_to")
            exclude = field_input("compression.exclude", value="", placeholder="none")
        with right:
            boundary = field_input("compression.boundary")
            wiring = field_input("compression.wiring")
            overrides = text_or_none(field_input("compression.overrides", value="", placeholder="none"))
            snap = field_input("compression.snap")
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
        "snap": snap,
        "include": split(include),
        "exclude": split(exclude),
    } | ({"overrides": overrides} if overrides else {})


def split(text: str) -> list[str]:
    """Split a text at its commas into names. Spaces around a name and empty names are dropped."""
    return [part.strip() for part in text.split(",") if part.strip()]


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
        show_error(str(error))
        offer_ways_out(error, budget)
    except WorkerError as error:
        show_error(str(error))
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


def show_totals(planned: dict[str, Any]) -> None:
    """Draw what the planned network costs beside the dense one."""
    dense, predicted = planned["dense"], planned["predicted"]
    for key, name in (("madds", "MAdds"), ("params", "Params")):
        st.metric(name, format_number(predicted[key]), help=f"{predicted[key]:,} of {dense[key]:,}")
        st.caption(f"{format_share(predicted[key], dense[key])} of the dense {format_number(dense[key])}")
    st.caption(f"{len(planned['layers'])} layers compressed, {len(planned['kept_layers'])} kept dense")
    for note in planned["notes"]:
        st.text(note)


def show_copies(config: dict[str, Any]) -> None:
    """Draw buttons that show the experiment as Python code and as a YAML file, to copy them."""
    given = without_defaults(config)
    with st.popover("Copy as Python", icon=":material/code:", width="stretch"):
        st.code(
            f"import nes_lab\n\nrun = nes_lab.train(\n{indent(pformat(given, sort_dicts=False), '    ')}\n)", "python"
        )
    with st.popover("Copy as YAML", icon=":material/description:", width="stretch"):
        st.caption("Save it as experiment.yaml, then: nes-lab train experiment.yaml")
        st.code(yaml.safe_dump(given, sort_keys=False), "yaml")


def without_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration without the values that stand for "not given", and without empty sections."""
    kept = {
        name: without_defaults(value) if isinstance(value, dict) else value
        for name, value in config.items()
        if value is not None and value not in ("", [])
    }
    return {name: value for name, value in kept.items() if value != {}}


def show_plan(backbone: dict[str, Any], budget: dict[str, Any], facts: DatasetFacts) -> dict[str, Any] | None:
    """Make a compression plan, draw it and return it. If no plan can be made, show the reason and return None."""
    if imports_refused({"backbone": backbone}):
        return None
    if not any(budget[limit] for limit in ("madds", "params", "latency_ms")):
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


def ask_training(snap: bool) -> tuple[dict[str, Any], dict[str, Any], int, str]:
    """Ask the user for the training options, the seed and the label of the run.

    Args:
        snap: Whether the plan counts integer starts. The user is then asked after which epoch the starts are rounded.

    Returns:
        Fields of the configuration's ``training`` section, fields of its ``data`` section, the seed, and the label.
    """
    st.subheader("Training")
    columns = [*st.columns(2), *st.columns(2)]
    with columns[0]:
        epochs = field_input("training.epochs")
    with columns[1]:
        lr = field_input("training.lr")
    with columns[2]:
        batch_size = field_input("data.batch_size")
    with columns[3]:
        seed = field_input("seed")
    label = field_input("label", placeholder="a name to recognize the run by")
    rounding = (
        {"starts_snap_epoch": field_input("training.starts_snap_epoch", value=max(1, epochs - 1))} if snap else {}
    )
    return {"epochs": epochs, "lr": lr} | rounding, {"batch_size": batch_size}, seed, label


def add_fields_of_address(config: dict[str, Any]) -> dict[str, str]:
    """Add to a configuration the fields that the page's address sets and that the form does not show.

    The page Runs opens this page with the settings of a run, also those that are rarely changed.

    Args:
        config: The configuration that the form describes. It gets the fields.

    Returns:
        The added fields: dotted path and value.
    """
    sections = {name: section for name, section in config.items() if isinstance(section, dict)}
    paths = [knob.path.rpartition(".") for knob in knobs() if knob.path in st.query_params]
    hidden = [(name, field) for name, _, field in paths if name in sections and field not in sections[name]]
    added = {f"{name}.{field}": st.query_params[f"{name}.{field}"] for name, field in hidden}
    try:
        checked = load_config({"compression": {"madds": "60%"}}, added).to_dict()  # the budget is checked with the plan
    except NesLabError as error:
        show_error(str(error))
        return {}
    for name, field in hidden:
        sections[name][field] = checked[name][field]
    return added


def show_added(fields: dict[str, str]) -> None:
    """List the settings that the page's address adds to the form, with a button that drops them."""
    st.caption("Also set, as in the run that was opened here:")
    st.text("\n".join(f"{path}: {text or '–'}" for path, text in fields.items()))
    st.button("Drop these settings", icon=":material/close:", on_click=drop, args=(list(fields),))


def drop(fields: list[str]) -> None:
    """Take fields out of the page's address."""
    for path in fields:
        if path in st.query_params:
            del st.query_params[path]


def start(config: dict[str, Any]) -> str | None:
    """Check the configuration, and start a training run with it. Return the run's id, or None if an error was shown."""
    try:
        checked = load_config(config)
        if imports_refused(checked.to_dict()):
            return None
        with current_folder_importable():
            return train(checked, detach=True, check=False).id  # the check would load torch
    except NesLabError as error:
        show_error(str(error))
        return None


st.title("Compress")
form, middle, right = st.columns([1.2, 2.2, 1], gap="medium")
with form:
    backbone, data, facts = ask_network()
    budget = ask_budget()
    training, loading, seed, label = ask_training(snap=bool(budget and budget["snap"]))
config = {
    "label": label,
    "seed": seed,
    "data": data | loading,
    "backbone": backbone,
    "compression": budget,
    "training": training,
}
added = add_fields_of_address(config)
if added:
    with form:
        show_added(added)
with middle:
    st.subheader("Plan")
    if budget is None:
        planned = None
        st.info("The dense network is trained, so there is nothing to plan.", icon=":material/info:")
    else:
        planned = show_plan(backbone, budget, facts)
launches = st.session_state.setdefault("launches", 0)
with right, st.container(border=True, key="launch-card"):
    if planned is not None:
        show_totals(planned)
    name = f"launch-{launches}"
    ready = budget is None or planned is not None
    options: dict[str, Any] = {"type": "primary", "icon": ":material/rocket_launch:", "width": "stretch"}
    launched = st.button("Launch", key=name, disabled=not ready, **options)
    show_copies(config)
    if launched:
        st.session_state["launches"] = launches + 1  # gives the button a new key, so that a second click does nothing
        run_id = start(config)
        if run_id is not None:
            st.switch_page("views/run.py", query_params={"run": run_id})
