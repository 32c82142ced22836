"""Trade-off page: compare accuracy and multiply-adds of all finished runs, in a table and a figure."""

import streamlit as st

from app.cached import all_runs
from app.components.errors import show_error
from app.components.plot import plot
from app.components.tables import results_table
from nes_lab.errors import BudgetError
from nes_lab.figures.accuracy_vs_madds import accuracy_vs_madds
from nes_lab.figures.reported import IMAGENET
from nes_lab.records.budget import parse_quantity
from nes_lab.runs.query import run_table


def read_budget(text: str) -> float | None:
    """Return the number of multiply-adds that the user entered, or None if the field is empty or its text is wrong.

    The figure marks this number with a line. A percentage such as 60% is refused. The runs may have different dense
    networks, so a percentage would have no clear meaning.
    """
    if not text.strip():
        return None
    try:
        madds = parse_quantity(text)
    except BudgetError as error:
        show_error(str(error))
        return None
    if madds is not None and madds <= 1:
        show_error(
            f"budget {text!r} is a share; give a number such as 1.2M, because the runs have different dense networks"
        )
        return None
    return madds


st.title("Trade-off")
runs = all_runs()
finished = [info for info in runs if info.state == "finished"]
if not finished:
    st.info(
        "No run has finished yet, so there is nothing to compare. Start one on the page **Compress**, or run "
        "`make demo` in a terminal.",
        icon=":material/info:",
    )
    st.page_link("views/compress.py", label="Go to Compress", icon=":material/arrow_forward:")
groups = sorted({info.group for info in finished if info.group})
left, right = st.columns([2, 1], vertical_alignment="bottom")
chosen = left.multiselect("Groups", groups, placeholder="all runs", help="Show only the runs of these groups.")
budget_text = right.text_input(
    "MAdds budget", placeholder="such as 1.2M", help="Draw a line at this many MAdds, and mark the best run below it."
)
shown = [info for info in finished if not chosen or info.group in chosen]
if shown:
    results_table(shown, key="results")
reported = st.toggle(
    "Show published ImageNet results",
    help="Results that papers report on ImageNet, in gray with dashes. If your runs use other data, compare the shapes "
    "of the curves, not their heights.",
)
if shown or reported:
    figure = accuracy_vs_madds(list(run_table(shown)), read_budget(budget_text), IMAGENET if reported else ())
    plot(figure, key="trade-off")
