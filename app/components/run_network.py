"""The part of the Run page about the trained network: compare its forms, find the fastest, export it, and download the file."""

from pathlib import Path
from typing import Any

import streamlit as st

from app.cached import run_of
from app.components.errors import plain_text
from app.components.jobs import ask_about
from app.components.tables import show
from app.inputs import in_address
from nes_lab.experiment.kept_answers import exported_file, kept_answer
from nes_lab.records.network_forms import forms_finding, forms_table, forms_text
from nes_lab.records.optimize_report import OptimizeReport
from nes_lab.runs.info import RunInfo

__all__ = ["ask_weights", "show_network"]

WEIGHTS = {"Last": "last", "Best": "best"}
FILES = {"ONNX": "onnx", "PyTorch program": "torch", "Folder for Python": "folder"}
FORMS = {"Plain layers": "materialized", "Epitomes": "factored"}


def ask_weights() -> str:
    """Let the user choose between the last and the best weights of a run, and return the name of the choice."""
    return WEIGHTS[st.selectbox("Weights", list(WEIGHTS), **in_address("export.weights"))]


def show_network(info: RunInfo) -> None:
    """Let the user compare the forms of a run's network, and write the network into a file."""
    if info.state != "finished":
        st.info("A run's network can be measured and exported when the run has finished.", icon=":material/info:")
        return
    st.subheader("Before and after", divider="gray")
    st.caption(
        "Fusing folds batch norms into the layers before them. Tuning times every way to compute each epitome layer on this "
        "machine, and takes the fastest. Neither changes what the network computes, up to rounding."
    )
    columns = st.columns([1, 1, 1, 1], vertical_alignment="bottom")
    with columns[0]:
        weights = ask_weights()
    with columns[1]:
        batch = st.number_input("Images per call", 1, 1024, 1, **in_address("forms.batch"))
    with columns[2]:
        seconds = st.number_input(
            "Time for tuning (s)", 1, 600, 20, help="Longer is more certain.", **in_address("forms.seconds")
        )
    with columns[3]:
        pressed = st.button("Fuse, tune and measure", type="primary", icon=":material/speed:", width="stretch")
    if pressed:
        ask_about(
            info,
            "forms",
            "Fusing, tuning and timing",
            limit=1800,
            which=weights,
            batch=int(batch),
            seconds=float(seconds),
        )
    show_forms(kept_answer(run_of(info.id), "forms"))
    st.subheader("Fastest form here", divider="gray")
    ask_optimized(info, weights, int(batch), float(seconds))
    show_optimized(kept_answer(run_of(info.id), "optimize"))
    st.subheader("Export", divider="gray")
    ask_file(info, weights)


def show_forms(found: dict[str, Any] | None) -> None:
    """Draw the table of the forms of a network, and what it says."""
    if found is None:
        st.info("Press the button to see what fusing and tuning do to size and time.", icon=":material/info:")
        return
    show(forms_table(found), key="forms")
    st.markdown(plain_text(forms_finding(found)))
    st.caption(plain_text(forms_text(found)))


def ask_optimized(info: RunInfo, weights: str, batch: int, seconds: float) -> None:
    """Let the user find the fastest form of the network on this machine."""
    st.caption(
        "Tries PyTorch, torch.compile and ONNX Runtime, each with epitomes and with dense layers, and times all in turn. "
        "Compiling takes a minute or more. Every form is checked: it computes what the network computes."
    )
    columns = st.columns([3, 1], vertical_alignment="center")
    with columns[0]:
        keep = st.toggle(
            "Keep the planned MAdds",
            True,
            help="If off, a form may need more multiply-adds where that is faster.",
            **in_address("optimize.keep_madds"),
        )
    with columns[1]:
        pressed = st.button("Optimize", type="primary", icon=":material/bolt:", width="stretch")
    if pressed:
        about: dict[str, Any] = {"which": weights, "batch": batch, "seconds": seconds, "keep_madds": keep}
        ask_about(info, "optimize", "Making and timing all forms", limit=3600, **about)


def show_optimized(found: dict[str, Any] | None) -> None:
    """Draw the table of all forms in which the network can run, and what it says."""
    if found is None:
        st.info("Press the button to see in which form the network is fastest on this machine.", icon=":material/info:")
        return
    report = OptimizeReport.from_dict(found["report"])
    show(report.table(), key="optimized")
    first, *others = report.lines()
    st.markdown(plain_text(first))
    st.caption(plain_text("\n".join(others)))


def ask_file(info: RunInfo, weights: str) -> None:
    """Let the user export the network into a file, and download it."""
    columns = st.columns([1, 1, 2], vertical_alignment="bottom")
    with columns[0]:
        kind = st.selectbox(
            "File",
            list(FILES),
            help="ONNX runs on many devices. A PyTorch program runs without this library. A folder is loaded again with "
            "nes_lab.from_pretrained.",
            **in_address("export.file"),
        )
    with columns[1]:
        form = st.selectbox(
            "Layers",
            list(FORMS),
            help="Plain layers hold the weights that were read from the epitomes. With epitomes, the file is smaller.",
            disabled=FILES[kind] == "folder",
            **in_address("export.layers"),
        )
    with columns[2]:
        pressed = st.button("Export", type="primary", icon=":material/output:")
    if pressed:
        about: dict[str, Any] = {"which": weights, "format": FILES[kind], "form": FORMS[form]}
        ask_about(info, "export", "Exporting and checking", **about)
    run = run_of(info.id)
    done = kept_answer(run, "export")
    if done:
        show_export(done["text"], exported_file(run, done))


def show_export(text: str, path: Path) -> None:
    """Draw how an exported file was checked, and a button that downloads it."""
    if not path.is_file():
        st.info("The exported file was deleted. Export it again.", icon=":material/info:")
        return
    st.success(plain_text(text), icon=":material/check_circle:")
    st.download_button(
        f"Download {plain_text(path.name)}",
        path.read_bytes,
        path.name,
        "application/octet-stream",
        icon=":material/download:",
        on_click="ignore",
    )
