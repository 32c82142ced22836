"""Check the chosen data beside the form on the page Compress, and show a few images of it."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app.components.errors import guarded, plain_text
from app.data_answers import about_data
from nes_lab.datasets.check.ready import Ready, ready_to_train
from nes_lab.import_spec import is_import_spec
from nes_lab.worker.client import Refusal, WorkerError

__all__ = ["data_check", "show_samples"]


def data_check(data: Mapping[str, Any], classes: int) -> str | None:
    """Show what the chosen data set holds, and whether a training could begin.

    Args:
        data: The ``data`` section of the configuration.
        classes: Number of classes in the form.

    Returns:
        Why the training cannot be launched, in a sentence; None if nothing speaks against it.
    """
    found = ready_to_train(data)
    if found.reason is not None:
        st.warning(plain_text(found.reason), icon=":material/folder_off:")
        return found.reason
    if found.classes is not None and found.classes != classes:
        reason = f"The data has {found.classes:,} classes, and the form says {classes:,}."
        st.warning(reason, icon=":material/rule:")
        st.button(f"Set classes to {found.classes:,}", on_click=set_classes, args=(found.classes,))
        return reason
    ready = "" if is_import_spec(str(data["name"])) else " · ready"
    st.caption(f":material/check: {plain_text(found.text)}{ready}")
    return None


def set_classes(classes: int) -> None:
    """Enter the number of classes into the form."""
    st.session_state["classes"] = classes


def show_samples(data: Mapping[str, Any]) -> None:
    """Show eight images of the chosen data set in a row. The page does not wait for them."""
    found = ready_to_train(data)
    if found.reason is None and not is_import_spec(str(data["name"])):
        _samples({"source": data["name"], "root": data.get("root")}, found)


@st.fragment
@guarded
def _samples(source: dict[str, Any], found: Ready) -> None:
    if found.folder is None and source["source"] != "digits":
        return  # it is downloaded when the run starts
    try:
        samples = about_data("samples", source, text="Reading samples", seconds=120)
    except (Refusal, WorkerError) as error:
        st.caption(f":material/image_not_supported: {plain_text(str(error))}")
        return
    if samples:
        with st.container(horizontal=True, gap="xxsmall"):
            for _, url in samples:
                st.image(url, width=27)
        st.caption(plain_text("Samples of " + ", ".join(dict.fromkeys(name for name, _ in samples)) + "."))
