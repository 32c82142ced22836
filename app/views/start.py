"""Start page: say what NES Lab is, and show the runs of the newest demo. If there was no demo, show the newest runs."""

import streamlit as st

from app.cached import all_runs
from app.components.plot import plot
from app.components.tables import run_list
from nes_lab.figures.accuracy_vs_madds import accuracy_vs_madds
from nes_lab.runs.bundled import BUNDLED_GROUP
from nes_lab.runs.layout import default_root
from nes_lab.runs.query import run_table


def open_chosen(run_id: str | None) -> None:
    """Open the page of the run that the user selected in a table."""
    if run_id is not None:
        st.switch_page("views/run.py", query_params={"run": run_id})


st.title("NES Lab")
st.markdown(
    "NES Lab makes neural networks smaller and cheaper by **Neural Epitome Search**. Each large weight is sampled, patch "
    "by patch, from a small learned tensor, the *epitome*. The position where a patch is read, its *starting index*, can "
    "be learned too. You give a budget of parameters (params) and multiply-adds (MAdds). NES Lab plans every layer to "
    "meet it, trains the network, and measures the result."
)
cards = st.columns(5)
for card, (view, name, text) in zip(
    cards,
    (
        ("compress", "Compress", "Choose a budget, see the plan for every layer, and start a training run."),
        ("runs", "Runs", "Find, compare, rename and delete runs."),
        ("run", "Run", "Watch a run while it trains. Cancel or resume it."),
        ("epitomes", "Epitomes", "Look at what a run has learned: cells, patches and routing."),
        ("trade_off", "Trade-off", "Compare the accuracy and the multiply-adds of all runs."),
    ),
    strict=True,
):
    with card.container(border=True, height="stretch"):
        st.page_link(f"views/{view}.py", label=f"**{name}**", icon=":material/arrow_forward:")
        st.caption(text)

runs = all_runs()
demo = next((info.group for info in runs if info.group.startswith(("demo", BUNDLED_GROUP))), None)
if not runs:
    st.info(
        "There are no runs yet. Start one on the page **Compress**, or run `make demo` in a terminal. The demo trains "
        "dense and compressed networks on handwritten digits in about four minutes; they then appear here.",
        icon=":material/info:",
    )
elif demo is None:
    st.subheader("Newest runs")
    open_chosen(run_list(runs[:5], key="newest"))
    st.caption("Run `make demo` in a terminal to train dense and compressed networks for comparison. They appear here.")
else:
    members = [info for info in runs if info.group == demo]
    st.subheader("Newest demo")
    rows = run_table(members)
    plot(accuracy_vs_madds(list(rows)), key="demo")
    open_chosen(run_list(members, key="demo-runs"))
st.caption(f"Runs are stored in `{default_root()}`. Only this computer can open the app, so there is no login.")
