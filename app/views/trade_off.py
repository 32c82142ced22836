"""Trade-off: accuracy against multiply-adds over all runs, the table first."""

import streamlit as st

from app.cached import store
from app.components.errors import say_error
from app.components.plot import plot
from app.components.tables import results_table
from nes_lab.errors import BudgetError
from nes_lab.figures.accuracy_vs_madds import accuracy_vs_madds
from nes_lab.figures.reported import IMAGENET
from nes_lab.records.budget import parse_quantity
from nes_lab.runs.query import run_table


def read_budget(text: str) -> float | None:
    """The budget line; a fraction has no meaning here, because the runs have different dense networks."""
    if not text.strip():
        return None
    try:
        madds = parse_quantity(text)
    except BudgetError as error:
        say_error(str(error))
        return None
    if madds is not None and madds <= 1:
        say_error(f"budget {text!r} is a fraction; a line across different networks needs a number, such as 1.2M")
        return None
    return madds


st.title("Trade-off")
runs = store().list()
finished = [info for info in runs if info.state == "finished"]
if not finished:
    st.info(
        "No run has finished yet, so there is nothing to compare. Launch one under **Compress**, or run `make demo`.",
        icon=":material/info:",
    )
    st.page_link("views/compress.py", label="Go to Compress", icon=":material/arrow_forward:")
groups = sorted({info.group for info in finished if info.group})
left, right = st.columns([2, 1], vertical_alignment="bottom")
chosen = left.multiselect("Groups", groups, placeholder="all runs", help="Empty shows every finished run.")
budget_text = right.text_input(
    "MAdds budget", placeholder="such as 1.2M", help="Draws a line and marks the best below it."
)
shown = [info for info in finished if not chosen or info.group in chosen]
if shown:
    results_table(shown, key="results")
reported = st.toggle(
    "Show published ImageNet numbers",
    help="Reported by others, gray and dashed: another task than digits, so compare shapes, not heights.",
)
if shown or reported:
    figure = accuracy_vs_madds(list(run_table(shown)), read_budget(budget_text), IMAGENET if reported else ())
    plot(figure, key="trade-off")
