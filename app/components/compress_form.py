"""Ask for an experiment on the page Compress: the network, the data, the training, and the settings that the address adds."""

from dataclasses import replace
from typing import Any

import streamlit as st

from app.components.errors import plain_text
from app.inputs import field_input, imports_allowed, in_address, text_or_none, typed_value
from app.labels import in_words
from nes_lab.import_spec import is_import_spec
from nes_lab.records.backbone_list import BackboneFacts
from nes_lab.records.dataset_facts import DATASET_FACTS, OWN_DATA_FACTS, DatasetFacts

__all__ = ["ask_data", "ask_training", "problem"]


def ask_data(backbone: BackboneFacts | None, problems: list[str]) -> tuple[dict[str, Any], DatasetFacts]:
    """Ask the user for the data set.

    Args:
        backbone: What is known about the backbone, which may need images of a certain size. None: nothing is known.
        problems: Gets a sentence for each reason why a run cannot start.

    Returns:
        The ``data`` section of the configuration, and facts about the data set. Among the facts are the number of classes and
        the input size that the user chose, or that the backbone needs.
    """
    more = {"accept_new_options": True} if imports_allowed() else {}
    data = {"name": field_input("data.name", **more)}
    if is_import_spec(data["name"]):
        return data, ask_own_data()
    facts = DATASET_FACTS[data["name"]]
    size, needed = "samples", None
    if facts.kind == "image":
        size, needed = "image_size", backbone and backbone.needed_side(facts.side)
    columns = st.columns(2, vertical_alignment="bottom")
    with columns[0]:
        side = field_input(f"data.{size}", placeholder=f"{needed or facts.side:,}")
    data[size] = side or needed
    classes = facts.classes
    with columns[1]:
        if facts.source == "files":
            classes = st.number_input(
                "Classes", 2, 100_000, facts.classes, help="Number of classes in the data set.", **in_address("classes")
            )
        elif facts.source == "download":
            data["download"] = field_input("data.download")
    if facts.source == "files":
        data["root"] = text_or_none(field_input("data.root"))
    say_size(backbone, facts, side, needed, problems)
    return data, replace(facts, side=data[size] or facts.side, classes=classes)


def say_size(
    backbone: BackboneFacts | None, facts: DatasetFacts, side: int | None, needed: int | None, problems: list[str]
) -> None:
    """Say below the fields that the images are enlarged for the backbone, or that the backbone does not take the data.

    Args:
        backbone: What is known about the backbone; None: nothing is known.
        facts: Facts about the data set.
        side: Size of the images that the user gave, in pixels; None: none was given.
        needed: Size that the backbone needs if none was given; None: it takes the data set's own.
        problems: Gets a sentence if a run cannot start.
    """
    if backbone is None:
        return
    if backbone.is_audio != (facts.kind == "audio"):
        wants = "sound" if backbone.is_audio else "images"
        problem(f"{backbone.name} takes {wants}. Choose another backbone or other data.", problems)
    elif side and facts.kind == "image" and backbone.needed_side(side):
        least = f"takes images of {backbone.side} px only" if backbone.fixed else f"cannot take images of {side} px"
        problem(f"{backbone.name} {least}. Give {backbone.side}, or leave the image size empty.", problems)
    elif needed and not side:
        st.caption(f"{plain_text(backbone.name)} needs images of {needed} px. Those of {facts.side} px are resized.")


def problem(text: str, problems: list[str]) -> None:
    """Show beside a field why a run cannot start, and add the sentence to a list."""
    text = in_words(text)
    st.caption(f":red[:material/error: {plain_text(text)}]")
    problems.append(text)


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
    label = field_input("label", placeholder="a name to recognize the run by")
    with st.expander(training_title(), key="training"):
        columns = [*st.columns(2), *st.columns(2)]
        with columns[0]:
            epochs = field_input("training.epochs")
        with columns[1]:
            lr = field_input("training.lr")
        with columns[2]:
            batch_size = field_input("data.batch_size")
        with columns[3]:
            seed = field_input("seed")
        last = max(1, epochs - 1)
        rounding = {"starts_snap_epoch": field_input("training.starts_snap_epoch", value=last)} if snap else {}
    return {"epochs": epochs, "lr": lr} | rounding, {"batch_size": batch_size}, seed, label


def training_title() -> str:
    """Return the title of the folded training options: their values in a few words."""
    shown = {path: typed_value(path) for path in ("training.epochs", "data.batch_size", "training.lr")}
    epochs, batch, lr = shown.values()
    return f"Training: {epochs} epoch{'' if epochs == 1 else 's'}, batch {batch}, learning rate {lr:g}"
