"""Draw the experiments to begin with, on top of the page Compress. A click fills the form."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app.inputs import form_address, shown_value
from nes_lab.config import knobs, load_config
from nes_lab.recipes.chips import CHIPS, Chip

__all__ = ["chips", "fill_form"]


def chips() -> None:
    """Draw one button per experiment to begin with."""
    with st.container(horizontal=True, gap="small", key="chips"):
        for chip in CHIPS:
            st.button(chip.name, help=chip.about, key=f"chip-{chip.name}", on_click=fill_form, args=(chip,))


def fill_form(chip: Chip) -> None:
    """Enter an experiment into the form, as if the user had typed it. All other fields get their defaults."""
    fields: Mapping[str, str] = form_address(load_config(chip.make()).to_dict())
    values: dict[str, Any] = {knob.path: shown_value(knob.path, fields.get(knob.path)) for knob in knobs()}
    values["dense"] = "dense" in fields
    values["start-from"] = fields.get("start-from", "scratch")
    for name, value in values.items():
        if name not in ("schema_version", "start"):
            st.session_state[name] = value
