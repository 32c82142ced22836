"""Start: what this is, and the newest demo."""

import streamlit as st

from app.cached import store
from app.components.plot import plot
from app.components.tables import run_list
from nes_lab.figures.accuracy_vs_madds import accuracy_vs_madds
from nes_lab.runs.query import run_table

st.title("NES Lab")
st.markdown(
    "Make a network smaller and cheaper by **Neural Epitome Search**: every large weight is read, patch by patch, from "
    "a small learned tensor, the *epitome*. Where each patch is read, its *starting index*, can be learned too. You give "
    "a budget of params and multiply-adds (MAdds); NES Lab plans every layer to meet it, trains the network and "
    "measures it."
)
cards = st.columns(4)
for card, (view, name, text) in zip(
    cards,
    (
        ("compress", "Compress", "Give a budget, see every layer before any training, launch."),
        ("run", "Run", "Watch a training live; cancel and resume it."),
        ("epitomes", "Epitomes", "Look at what was learned: cells, patches, routing."),
        ("trade_off", "Trade-off", "Compare accuracy and multiply-adds of all runs."),
    ),
    strict=True,
):
    with card.container(border=True, height="stretch"):
        st.page_link(f"views/{view}.py", label=f"**{name}**", icon=":material/arrow_forward:")
        st.caption(text)

runs = store().list()
demo = next((info.group for info in runs if info.group.startswith("demo")), None)
if not runs:
    st.info(
        "There are no runs yet. Plan and launch one under **Compress**, or run `make demo` in a terminal: it trains "
        "dense and epitome networks on real digits in about six minutes, and they appear here.",
        icon=":material/info:",
    )
elif demo is None:
    st.subheader("Newest runs")
    run_list(runs[:5], key="newest")
    st.caption("`make demo` in a terminal trains dense and epitome networks side by side; its result appears here.")
else:
    members = [info for info in runs if info.group == demo]
    st.subheader("The newest demo")
    rows = run_table(members)
    plot(accuracy_vs_madds(list(rows)), key="demo")
    run_list(members, key="demo-runs")
st.caption(f"Runs are kept in `{store().root}`. The server listens on this computer only; there is no login.")
