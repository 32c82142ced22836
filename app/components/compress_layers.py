"""Draw the layers of a plan as bars on the page Compress, and a card about the layer that the user has clicked."""

from collections.abc import Iterable
from typing import Any, get_args

import streamlit as st

from app.components.errors import plain_text, show_error
from app.components.plot import plot
from app.inputs import in_address
from nes_lab.errors import OptionError
from nes_lab.figures.plan_bars import plan_bars
from nes_lab.records.fold_rows import MOST_BARS, Bar, bars_of
from nes_lab.records.options import Routing
from nes_lab.records.overrides_text import read_overrides, with_overrides, without_override
from nes_lab.records.plan_words import layer_words, settings_words, stage_words

__all__ = ["enter", "layer_card", "show_layers", "undo_button"]

_FIELD, _CHOSEN, _BEFORE = "compression.overrides", "chosen-layer", "overrides-before"
_QUANTITIES = {"MAdds": "madds", "Params": "params"}


def enter(field: str, value: str) -> None:
    """Enter a value into a field of the form, as if the user had typed it."""
    st.session_state[field] = value


def show_layers(planned: dict[str, Any]) -> None:
    """Draw one bar for each layer or stage of a plan. A click on a bar chooses it for the card."""
    rows = planned["rows"]
    left, right = st.columns([2, 1.4], vertical_alignment="center")
    with left:
        st.markdown("**Layer by layer**, dense against planned. Click a bar to see why.")
    with right, st.container(horizontal=True, horizontal_alignment="right"):
        shown = st.segmented_control(
            "Bars show", list(_QUANTITIES), default="MAdds", label_visibility="collapsed", **in_address("bars")
        )
        every = len(rows) > MOST_BARS and st.toggle(f"All {len(rows)} layers", **in_address("all-layers"))
    bars = bars_of(rows, fold=not every)
    chosen = st.session_state.get(_CHOSEN)
    clicked = plot(plan_bars(bars, _QUANTITIES[shown or "MAdds"], chosen), key="plan-bars", clickable=True)
    if clicked and clicked != chosen:
        st.session_state[_CHOSEN] = clicked
        st.rerun()


def layer_card(planned: dict[str, Any] | None) -> None:
    """Say why the chosen layer or stage has its size, and let the user set it. The settings of all layers are listed below."""
    chosen = st.session_state.get(_CHOSEN)
    bars = {bar.name: bar for fold in (False, True) for bar in bars_of(planned["rows"], fold)} if planned else {}
    if chosen in bars:
        show_bar(bars[chosen])
    list_overrides()


def show_bar(bar: Bar) -> None:
    """Say why a layer or a stage has its size, and let the user set it."""
    with st.container(border=True):
        st.markdown(f"**{plain_text(bar.name)}** clicked")
        st.text(stage_words(bar.layers) if bar.is_stage else layer_words(bar.layers[0]))
        show_settings(bar)
        if bar.is_stage:
            names = [str(row["name"]) for row in bar.layers]
            st.pills("Its layers", names, key="layers-of-stage", on_change=choose_in_stage)


def choose_in_stage() -> None:
    """Choose the layer of a stage that the user has clicked in the card."""
    if st.session_state.get("layers-of-stage"):
        st.session_state[_CHOSEN] = st.session_state["layers-of-stage"]


def show_settings(bar: Bar) -> None:
    """Draw buttons that set a layer, or the compressed layers of a stage."""
    names = bar.compressed if bar.is_stage else [bar.name]
    with st.container(horizontal=True):
        st.button("Keep dense", key="keep-dense", on_click=set_layers, args=([bar.pattern], {"keep": True}))
        with st.popover("Set ratio"):
            share = st.slider("Epitome cells of 100 weights", 1, 100, 50, format="%d%%", key="layer-ratio")
            st.button("Set", key="set-ratio", on_click=set_ratio, args=(names, share), disabled=not names)
        with st.popover("Other routing"):
            for routing in get_args(Routing):
                st.button(routing, key=f"routing-{routing}", on_click=set_layers, args=(names, {"routing": routing}))


def set_ratio(names: list[str], percent: int) -> None:
    """Set the ratio of layers: epitome cells / weights."""
    set_layers(names, {"ratio": float(f"{percent}e-2")})


def set_layers(patterns: Iterable[str], settings: dict[str, Any]) -> None:
    """Write settings for layers into the form, and remember what stood there before."""
    before = st.session_state.get(_FIELD) or ""
    try:
        change_overrides(before, with_overrides(before, patterns, settings))
    except OptionError as error:
        show_error(str(error))


def change_overrides(before: str, after: str) -> None:
    """Write the settings of layers into the form, so that they can be undone."""
    st.session_state.setdefault(_BEFORE, []).append(before)
    st.session_state[_FIELD] = after


def undo() -> None:
    """Take back the last change of the settings of layers."""
    st.session_state[_FIELD] = st.session_state[_BEFORE].pop()


def undo_button(key: str) -> None:
    """Draw a button that takes back the last change of the settings of layers, if there is one."""
    if st.session_state.get(_BEFORE):
        st.button("Undo the last setting of a layer", key=key, icon=":material/undo:", on_click=undo)


def list_overrides() -> None:
    """List the layers that the user has set, with a button that drops each setting."""
    text = st.session_state.get(_FIELD) or ""
    try:
        overrides = read_overrides(text)
    except OptionError:  # the plan says what is wrong
        return
    if overrides:
        st.caption("You have set")
    for pattern, settings in overrides.items():
        words = plain_text(f"{pattern}: {settings_words(settings)}")
        after = without_override(text, pattern)
        st.button(
            words,
            key=f"drop-{pattern}",
            icon=":material/close:",
            on_click=change_overrides,
            args=(text, after),
            help="Drop this setting",
        )
    undo_button("undo-override")
