"""Ask for every setting that the form of the page Compress does not show elsewhere, folded and grouped by section."""

from collections.abc import Iterator
from typing import Any

import streamlit as st

from app.components.errors import show_error
from app.inputs import field_input
from nes_lab.config import Knob, knobs, load_config
from nes_lab.errors import NesLabError
from nes_lab.geometry.start_rules import ROUTING_MODES
from nes_lab.records.dataset_facts import DATASET_FACTS
from nes_lab.records.field_names import choice_of, choice_words, label_of

__all__ = ["ask_all_settings"]

SECTIONS = {"data": "Data", "backbone": "Network", "compression": "Compression", "training": "Training"}
OWN_CHOICE = {"data.class_order"}
"""Fields with choices that also take a text of the user's own."""
PLANNED = {"start", "compression.madds", "compression.params", "compression.latency_ms", "compression.stored_bytes"}
"""Fields that are checked elsewhere: beside their widget, or with the plan."""


def ask_all_settings(config: dict[str, Any]) -> None:
    """Draw a widget for every setting that a configuration does not hold yet, and add what differs from the defaults.

    Args:
        config: The configuration that the form describes. It gets the settings.
    """
    check_address()
    changed: list[Knob] = []
    with st.expander("All settings"):
        for section, title in SECTIONS.items():
            missing = list(rare_knobs(config, section))
            if missing:
                st.markdown(f"**{title}**")
            columns = st.columns(2, vertical_alignment="bottom")
            for place, knob in enumerate(missing):
                with columns[place % 2]:
                    value = ask(knob)
                if value is not None:
                    config[section][knob.path.rpartition(".")[2]] = value
                    changed.append(knob)
    if changed:
        st.caption("Also set:")
        st.text("\n".join(f"{label_of(knob.path)}: {value_in(config, knob.path)}" for knob in changed))
        st.button("Drop these settings", icon=":material/close:", on_click=drop, args=(changed,))


def rare_knobs(config: dict[str, Any], section: str) -> Iterator[Knob]:
    """Return the fields of a section that a configuration does not hold, and that its data set and its routing use."""
    values = config.get(section)
    if values is None:
        return
    facts = DATASET_FACTS.get(config["data"]["name"])
    unused = {f"data.{name}" for name in (facts.unused if facts else ())}
    routing = (config.get("compression") or {}).get("routing")
    for mode in ROUTING_MODES.values():
        unused |= {f"compression.{name}" for name in mode.options if mode.name != routing}
    for knob in knobs():
        parent, _, name = knob.path.rpartition(".")
        if parent == section and name not in values and knob.path not in unused:
            yield knob


def ask(knob: Knob) -> Any:
    """Draw the widget of a field. Return its value, or None if it is empty or the default."""
    more = {"accept_new_options": True} if knob.path in OWN_CHOICE else {}
    value = field_input(knob.path, **({"value": ""} if isinstance(knob.default, dict | tuple) else {}), **more)
    return None if value in ("", None, knob.default) else value


def value_in(config: dict[str, Any], path: str) -> Any:
    """Return the value of a field, as the form names it."""
    section, _, name = path.rpartition(".")
    value = config[section][name]
    return choice_words(path, value) if isinstance(value, str) else value


def check_address() -> None:
    """Show an error if the page's address holds a value that its field does not take. Streamlit leaves such a value out."""
    paths = [knob.path for knob in knobs() if knob.path in st.query_params and knob.path not in PLANNED]
    try:
        load_config(
            {
                "compression": {"preset": "both_axes", "initial_weights": "fit"}
            },  # as published weights are; the form has no field for it
            {path: choice_of(path, st.query_params[path]) for path in paths},
        )
    except NesLabError as error:
        show_error(str(error))


def drop(changed: list[Knob]) -> None:
    """Give fields of the form their defaults again."""
    for knob in changed:
        if isinstance(knob.default, dict | tuple) or (
            knob.default is None and isinstance(st.session_state[knob.path], str)
        ):
            st.session_state[knob.path] = ""
        else:
            st.session_state[knob.path] = knob.default
