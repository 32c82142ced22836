"""Start page: show what an epitome is, start a first run, and lead to the demo, the newest runs and the other pages."""

from collections.abc import Sequence

import streamlit as st

from app.cached import all_runs, demo_runs, run_of
from app.components.compress_card import start
from app.components.plot import plot
from app.components.small_example import draw_small_example
from app.components.tables import run_list
from app.inputs import FROM_WEIGHTS
from app.labels import FIRST_RUN_SECONDS
from app.listening import open_warning
from app.remembered import set_current_run, want_demo
from nes_lab.figures.trade_off import trade_off
from nes_lab.recipes.registry import recipe
from nes_lab.records.glossary import GLOSSARY
from nes_lab.runs.bundled import BUNDLED_GROUP
from nes_lab.runs.info import RunInfo
from nes_lab.runs.query import run_table

# Words that this page explains -> what they are in the example. (Streamlit would show a text after this as part of the page.)
HERE = {
    "Epitome": "Here it has 6 numbers.",
    "Patch": "Here it has 4 numbers.",
    "Starting index": "Here patch 1 starts at 1.4.",
    "Budget": "",
}

RECIPE = "digits"
NEWEST = 10
PYTHON = """\
import torch
import nes_lab

network = torch.nn.Sequential(torch.nn.Linear(512, 512), torch.nn.ReLU(), torch.nn.Linear(512, 10))
inputs = torch.randn(1, 512)
small = nes_lab.compress(network, params="50%", example_input=inputs)
print(nes_lab.count(small, inputs))
"""


def open_run(run_id: str) -> None:
    """Open the page of a run."""
    set_current_run(run_id)
    st.switch_page("views/run.py", query_params={"run": run_id})


def show_words() -> None:
    """Explain the four words that the example shows."""
    for word, here in HERE.items():
        st.markdown(f"**{word}**: {GLOSSARY[word]} {here}")


def show_first_steps() -> None:
    """Draw the buttons that launch the smallest run and open the finished demo."""
    tried = st.session_state.setdefault("tries", 0)
    with st.container(horizontal=True):
        # a new key after each launch, so that a second click does nothing
        pressed = st.button(
            f"Try it: {FIRST_RUN_SECONDS} seconds", key=f"try-{tried}", type="primary", icon=":material/play_arrow:"
        )
        opened = st.button("Open the finished demo", icon=":material/folder_open:")
    st.caption(
        f"It trains a small network on handwritten digits, on this computer. Nothing leaves it. {FIRST_RUN_SECONDS} seconds are "
        "for two free processor cores; a busy computer needs longer."
    )
    if pressed:
        st.session_state["tries"] = tried + 1
        run_id = start(recipe(RECIPE).tree() | {"label": "first try, learner"})
        if run_id is not None:
            open_run(run_id)
    if opened:
        want_demo(True)
        shown = [info for info in demo_runs() if run_of(info.id).snapshot_steps()]
        open_run(shown[0].id)


def show_cards() -> None:
    """Draw three ways to go on."""
    compress, pretrained, python = st.columns(3)
    with compress.container(border=True, height="stretch"):
        st.markdown("**Compress a network**")
        st.caption("Choose a network and a budget, and see the plan at once.")
        st.page_link("views/compress.py", label="Choose", icon=":material/compress:")
    with pretrained.container(border=True, height="stretch"):
        st.markdown("**From pretrained weights**")
        st.caption("Epitomes are fitted to weights that are trained already.")
        address = {"backbone.name": "mobilenetv2_100", "start-from": FROM_WEIGHTS}
        st.page_link("views/compress.py", label="Fit", icon=":material/download:", query_params=address)
    with python.container(border=True, height="stretch"):
        st.markdown("**Use it from Python**")
        st.caption("Compress any network of PyTorch in one call.")
        with st.popover("Code", icon=":material/code:", type="tertiary"):
            st.code(PYTHON, "python")


def show_demo(members: Sequence[RunInfo]) -> None:
    """Draw the results of a demo in one picture."""
    name = "The bundled demo" if members[0].group == BUNDLED_GROUP else "The newest demo"
    st.markdown(f"**{name} in one picture** · digits, every dot is a run. Click one to open it.")
    rows = list(run_table(members))
    clicked = plot(trade_off(rows), key="demo", clickable=True)
    if clicked in {info.id for info in members}:
        open_run(clicked)


def show_runs(runs: Sequence[RunInfo]) -> None:
    """Draw the newest runs. A click on a row opens the run."""
    own = [info for info in runs if info.group != BUNDLED_GROUP]
    if own:
        st.markdown("**Runs here** · newest first. Select a row to open the run.")
    else:
        st.markdown("**Runs here** · none of your own yet, so these are from the bundled demo. They can only be read.")
    chosen = run_list((own or list(runs))[:NEWEST], key="newest")
    if chosen is not None:
        open_run(chosen)
    st.page_link("views/runs.py", label="All runs", icon=":material/list_alt:")


runs = all_runs()
st.title("A large weight, read from a small tensor")
st.markdown(
    "Move along the weight: each patch is a window of the epitome. Windows overlap, so fewer numbers are stored."
)
left, right = st.columns([5, 4], gap="large")
with left, st.container(border=True):
    draw_small_example("example")
with right:
    show_words()
    show_first_steps()
show_cards()
group = next((info.group for info in runs if info.group.startswith("demo")), BUNDLED_GROUP)
members = [info for info in runs if info.group == group] or demo_runs()
picture, table = st.columns(2)
if members:
    with picture.container(border=True):
        show_demo(members)
if runs:
    with table.container(border=True, height="stretch"):
        show_runs(runs)
if open_warning() is None:
    st.caption("Only this computer can open the app, so there is no login.")
