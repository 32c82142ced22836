"""Let the user choose a backbone by typing a part of its name, or in a table that can be searched and sorted."""

from __future__ import annotations

import streamlit as st

from app.components.errors import plain_text
from app.components.tables import show
from app.inputs import field_input, imports_allowed, in_address
from nes_lab.import_spec import is_import_spec
from nes_lab.records.backbone_list import OWN_FAMILY, BackboneFacts, backbone_list, backbone_table
from nes_lab.records.table import Table
from nes_lab.text import list_some

__all__ = ["ask_backbone", "ask_width"]

FIELD = "backbone.name"
CHOSEN = "backbone-chosen"


def ask_backbone() -> tuple[str, BackboneFacts | None]:
    """Ask the user for a backbone, and show what it costs.

    Returns:
        The name, and what is known about the backbone; None if nothing is: it is a function of the user's own, or misspelled.
    """
    if CHOSEN in st.session_state:
        st.session_state[FIELD] = st.session_state.pop(CHOSEN)
    known = backbone_list()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        name = st.selectbox(
            "Backbone",
            list(known),
            accept_new_options=True,
            filter_mode="fuzzy",
            help="The network before compression. Type a part of its name. small_mobilenetv2 is made for images of 8 to 32 pixels, "
            "m5 for sound; the others are timm's."
            + (" Or your own function, as package.module:function." if imports_allowed() else ""),
            **in_address(FIELD),
        )
        if st.button(
            "", icon=":material/table_view:", help=f"Search and sort all {len(known):,} backbones", key="browse"
        ):
            browse()
    facts = known.get(name)
    if facts is not None:
        st.caption(plain_text(facts.summary))
    elif not is_import_spec(name or ""):
        st.caption(f"This name is not in the list of {len(known):,} backbones.")
    return name, facts


def ask_width(facts: BackboneFacts | None) -> float:
    """Ask for the width of a backbone, and return it. The networks of timm have one width, so there is nothing to ask."""
    return field_input("backbone.width") if facts is None or facts.family == OWN_FAMILY else 1.0


@st.dialog("Choose a backbone", width="large")
def browse() -> None:
    """Show the table of all backbones in a dialog. A click on a row chooses its backbone."""
    search = st.text_input("Search", placeholder="a part of a name or a family, such as resnet", key="backbone-search")
    table = backbone_table(search)
    st.caption(
        f"{len(table.rows):,} backbones. Click the title of a column to sort, and the box of a row to choose. Top-1 is on ImageNet, "
        f"as reported by timm at the input side; a dash: timm reports none for the default weights.{plain_text(_uncounted(table))}"
    )
    event = show(table, f"backbones-{search}", on_select="rerun", selection_mode="single-row", height=460)
    if event.selection.rows:
        st.session_state[CHOSEN] = table.rows[event.selection.rows[0]]["backbone"]
        st.rerun()


def _uncounted(table: Table) -> str:
    """Return a sentence about the backbones of a table whose params and multiply-adds are not known; empty if there is none."""
    why = [backbone_list()[row["backbone"]].uncounted for row in table.rows if row["params"] is None]
    return f" {len(why):,} have no params and MAdds: {list_some(sorted(set(why)), 2)}." if why else ""
