"""Let the user choose the images that the page Explain explains: the worst disagreements, chosen examples, or uploaded files."""

import base64
from collections.abc import Callable
from typing import Any

import streamlit as st

from app.components.errors import plain_text
from app.components.plot import plot
from app.inputs import in_address
from nes_lab.datasets.uploads.limits import UploadLimits
from nes_lab.figures.predictions import prediction_sheet
from nes_lab.text import format_bytes, format_share

__all__ = ["ask_images", "same_text"]

WORST, CHOSEN, UPLOADED = "Disagreements", "Chosen", "My images"
MOST = 12

Candidates = dict[str, Any]
"""Answer of the worker to the question for disagreements."""


def ask_images(known: Candidates | None, ask: Callable[[], Candidates | None]) -> dict[str, Any] | None:
    """Draw the choice of images, and return the part of the question that names them; None if none is chosen yet.

    Args:
        known: On which validation examples the two networks disagree; None if this was not asked yet.
        ask: Asks the worker for it, and returns the answer; None if there is none.
    """
    kind = st.segmented_control(
        "Images",
        (WORST, CHOSEN, UPLOADED),
        default=WORST,
        required=True,
        help="The validation examples on which the two networks disagree most, chosen ones, or images of your own.",
        **in_address("images"),
    )
    if kind == UPLOADED:
        return ask_uploads()
    if kind == WORST:
        count = st.slider("Number of images", 1, MOST, 6, **in_address("number"))
        return {"worst": count}
    if known is None:
        st.caption("Show the examples first, and then choose some.")
        if st.button("Show examples", icon=":material/grid_view:"):
            known = ask()
        if known is None:
            return None
    return ask_examples(known)


def ask_examples(known: Candidates) -> dict[str, Any] | None:
    """Draw the examples as a sheet, and return those that the user chooses."""
    rows = {str(row["index"]): row for row in [*known["worst"], *known["spaced"]]}
    names = known["classes"]

    def title(index: str) -> str:
        first, second = (names[answer] for answer in rows[index]["answers"])
        return f"{index}: {first}" if first == second else f"{index}: {first} or {second}"

    named = [index for index in st.query_params.get("chosen", "").split(",") if index in rows]
    chosen = st.multiselect(
        "Examples",
        list(rows),
        default=named[:MOST],
        max_selections=MOST,
        format_func=title,
        help="The number of the example, and what the two networks answer. The largest disagreements come first.",
    )
    if chosen != named:
        st.query_params["chosen"] = ",".join(chosen)
    with st.expander("See the examples", expanded=not chosen):
        shown = [row | {"predicted": row["answers"][1], "loss": row["disagreement"]} for row in rows.values()]
        plot(prediction_sheet(shown, names, "Validation examples", columns=8), key="explain-sheet")
        st.caption(
            "The first ones are the largest disagreements, the others are evenly spaced. The number in the hover text is the example."
        )
    return {"indices": [int(index) for index in chosen if index in rows]} if chosen else None


def ask_uploads() -> dict[str, Any] | None:
    """Draw the field for image files, and return them as a part of the question."""
    limits = UploadLimits()
    files = st.file_uploader(
        "Image files",
        type=["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif"],
        accept_multiple_files=True,
        key="explain-files",
        help="They are resized, cut and normalized like the validation images of the run. They are not kept.",
    )
    st.caption(
        f"At most {limits.shown} images of {format_bytes(limits.image_bytes)} and {limits.pixels:,} pixels each. The networks answer one "
        "of their classes, whatever the image shows."
    )
    if not files:
        return None
    marks = [f"{file.name} {file.size} {file.file_id}" for file in files]
    data = [
        {
            "name": file.name,
            "data": base64.b64encode(file.getvalue()).decode() if file.size <= limits.image_bytes else "",
        }
        for file in files
    ]
    too_large = [file.name for file in files if file.size > limits.image_bytes]
    if too_large:
        st.error(
            plain_text(f"{too_large[0]} has more than {format_bytes(limits.image_bytes)}. Make it smaller."),
            icon=":material/error:",
        )
        return None
    return {"uploads": data, "marks": marks}


def same_text(known: Candidates) -> str:
    """Return in a sentence on how many validation examples the two networks give the same answer."""
    return f"Both networks give the same answer on {format_share(known['same'], digits=1)} of {known['total']:,} validation examples."
