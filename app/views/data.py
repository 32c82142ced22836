"""Data page: what a data set holds, what is wrong with it, and the upload of a new one."""

from typing import Any

import streamlit as st

from app.components.errors import plain_text, show_error, show_failure
from app.components.plot import plot
from app.components.tables import show
from app.components.uploads import upload_form, upload_list
from app.data_answers import about_data, forget_data, known_about_data
from app.inputs import in_address, text_or_none
from nes_lab.datasets.check.local import local_data
from nes_lab.datasets.check.report import DataReport
from nes_lab.figures.theme import figure_from_json
from nes_lab.worker.client import Refusal, WorkerError

FOLDER = "a folder by its path"
MOST_SHOWN = 12  # problems


def choose_data() -> dict[str, Any] | None:
    """Let the user choose a data set. Return what the worker is asked, and the fields of the form on Compress; None: nothing chosen."""
    found = {item.title: item for item in local_data()}
    title = st.selectbox(
        "Data set",
        [*found, FOLDER],
        help="What is on this computer: in the folder of the app's data, and what was uploaded.",
        **in_address("set"),
    )
    if title == FOLDER:
        folder = text_or_none(
            st.text_input(
                "Folder",
                placeholder="/path/to/images",
                help="Its kind is recognized: train and val with one folder per class, tar archives, sounds, or an unpacked download.",
                **in_address("folder"),
            )
        )
        return None if folder is None else {"source": folder, "root": None}
    item = found[title]
    return {"source": item.name, "root": None if item.root is None else str(item.root)}


def check(source: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a check of the data set found. If there is nothing, say why and return None."""
    stopped = st.session_state.get("data-stopped") == source
    if stopped and not known_about_data("data", source):
        st.info("The check was stopped.", icon=":material/info:")
        st.button("Check it", on_click=stop, args=(None,))
        return None
    place = st.empty()
    if not known_about_data("data", source):
        place.button("Stop", icon=":material/stop_circle:", on_click=stop, args=(source,))
    try:
        return about_data("data", source, text="Checking the images")
    except Refusal as error:
        show_error(str(error))
    except WorkerError as error:
        show_failure(error)
    finally:
        place.empty()
    return None


def stop(source: dict[str, Any] | None) -> None:
    """Remember that the check of this data set should not be made; None: of none."""
    st.session_state["data-stopped"] = source


def show_problems(report: DataReport) -> None:
    """List what is wrong with a data set, and what is good to know."""
    if report.usable:
        st.success("Ready: a network can be trained on it.", icon=":material/check_circle:")
    else:
        count = len(report.problems)
        st.error(f"A training would fail: {count} problem{'s' if count > 1 else ''}.", icon=":material/error:")
        for problem in report.problems[:MOST_SHOWN]:
            st.text(f"• {problem}")
        if count > MOST_SHOWN:
            st.caption(f"The first {MOST_SHOWN} of {count:,} problems are shown.")
    if report.shared == 0:
        st.caption("No validation image is also in the training split.")
    for note in report.notes:
        st.caption(plain_text(note))


def show_report(answer: dict[str, Any]) -> None:
    """Draw the result of a check: one line, problems, counts, and figures."""
    report = DataReport.from_dict(answer["report"])
    st.subheader(plain_text(answer["summary"]), anchor=False)
    with st.container(horizontal=True, vertical_alignment="center"):
        fields = {"data.name": report.name} | ({"data.root": report.root} if report.root else {})
        if report.root and report.image_side:
            fields["data.image_size"] = str(report.image_side)
        st.page_link(
            "views/compress.py",
            label="Use it on Compress",
            icon=":material/compress:",
            query_params=fields | {"classes": str(max(2, len(report.classes)))},
        )
        st.button("Check again", icon=":material/refresh:", on_click=forget_data, type="tertiary")
    st.caption(plain_text(report.root or "It comes with scikit-learn."))
    show_problems(report)
    sheet, figures = st.columns([1.1, 1], gap="medium")
    if answer["sheet"] is not None:
        with sheet:
            plot(figure_from_json(answer["sheet"]), key="data-sheet")
    if answer["statistics"] is not None:
        with figures:
            plot(figure_from_json(answer["statistics"]), key="data-statistics")
    if report.splits:
        show(report.table(), key="data-table")


st.title("Data")
left, right = st.columns([1, 3], gap="medium")
with left:
    source = choose_data()
    st.subheader("Upload")
    upload_form()
    upload_list()
with right:
    if source is None:
        st.info(
            "Type the path of a folder on this computer, or upload a zip file. The page then shows samples of every class, how many "
            "images each class has, their sizes, and what is wrong.",
            icon=":material/info:",
        )
    else:
        answer = check(source)
        if answer is not None:
            show_report(answer)
