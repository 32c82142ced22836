"""Ask for an experiment on the page Compress: the network, the data, the training, and the settings that the address adds."""

from dataclasses import replace
from typing import Any

import streamlit as st

from app.components.errors import show_error
from app.inputs import BACKBONES, field_input, imports_allowed, in_address, text_or_none
from nes_lab.config import knobs, load_config
from nes_lab.errors import NesLabError
from nes_lab.import_spec import is_import_spec
from nes_lab.records.dataset_facts import DATASET_FACTS, OWN_DATA_FACTS, DatasetFacts

__all__ = ["add_fields_of_address", "ask_network", "ask_training", "show_added"]


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
