"""Ask what a run starts from, on the page Compress: fresh weights, published weights, a saved network, or a run."""

from pathlib import Path
from typing import Any

import streamlit as st

from app.cached import run_title
from app.components.compress_form import problem
from app.components.errors import plain_text
from app.inputs import FROM_FOLDER, FROM_RUN, FROM_WEIGHTS, SCRATCH, field_input, in_address, text_or_none
from nes_lab.errors import NesLabError
from nes_lab.experiment.start_facts import StartFacts, folder_facts, run_facts
from nes_lab.records.backbone_list import BackboneFacts
from nes_lab.runs.layout import default_root
from nes_lab.runs.store import RunStore

__all__ = ["ask_fit", "ask_start", "check_classes", "check_weights"]

WEIGHTS_OF_RUN = ("last", "best", "averaged")


def ask_start(problems: list[str]) -> tuple[str, str | None, StartFacts | None]:
    """Ask the user what the run starts from.

    Args:
        problems: Gets a sentence for each reason why a run cannot start.

    Returns:
        The kind of start; the text that names the network to start from, or None; and what is known about that network.
    """
    kinds = [SCRATCH, FROM_WEIGHTS, FROM_FOLDER, FROM_RUN]
    kind = st.pills("Start from", kinds, default=SCRATCH, required=True, wrap=True, **in_address("start-from"))
    try:
        if kind == FROM_FOLDER:
            return kind, *ask_folder(problems)
        if kind == FROM_RUN:
            return kind, *ask_run(problems)
    except NesLabError as error:
        problem(str(error), problems)
        return kind, "", None
    return kind, None, None


def ask_folder(problems: list[str]) -> tuple[str, StartFacts | None]:
    """Ask for the folder of a saved network, and check it."""
    folder = text_or_none(
        st.text_input(
            "Folder of the network", help="A folder that an export or a fit wrote.", **in_address("start-folder")
        )
    )
    if folder is None:
        problem("Give the folder of a saved network.", problems)
        return "", None
    return str(Path(folder).expanduser().absolute()), folder_facts(folder)


def ask_run(problems: list[str]) -> tuple[str, StartFacts | None]:
    """Ask for a run and for its weights, and check that a run can start from it."""
    runs = {info.id: info for info in RunStore(default_root()).list()}  # those of the bundled demo can only be read
    if not runs:
        problem("There is no run yet. Choose another start.", problems)
        return "", None
    run_id = st.selectbox("Run", list(runs), **in_address("start-run"))
    st.caption(plain_text(run_title(runs[run_id])))
    which = st.selectbox("Weights", WEIGHTS_OF_RUN, **in_address("start-weights"))
    facts = run_facts(run_id, RunStore(default_root()))
    return run_id if which == "last" else f"{run_id}:{which}", facts


def check_weights(known: BackboneFacts | None, name: str, problems: list[str]) -> None:
    """Say that the weights are downloaded and fitted, or why there are none for a backbone."""
    if known is None or not known.pretrained:
        problem(f"No weights are published for {name}. Start from scratch, or choose another backbone.", problems)
    else:
        st.caption("The weights are downloaded when the run begins, and each epitome is fitted to its layer's weight.")


def ask_fit(routing: str) -> dict[str, Any]:
    """Ask how epitomes are fitted to published weights, and return fields of the configuration's ``compression`` section.

    A field is shown when the one that it needs is filled in.

    Args:
        routing: Who sets the starts. Only starts that are parameters (``free``) can be searched.
    """
    search = field_input("compression.search_starts")
    if search and routing != "free":
        st.caption(
            plain_text(f"Only starts set by free are searched. With {routing}, the fit keeps the starts of the plan.")
        )
    images = field_input("compression.calibration") or 0 if search else 0
    in_turn = field_input("compression.sequential") if images else False
    return {"initial_weights": "fit", "search_starts": search, "calibration": images, "sequential": in_turn}


def check_classes(start: StartFacts, classes: int, problems: list[str]) -> bool:
    """Say which network the run starts from. Ask whether to draw a new classifier, and return the answer.

    Args:
        start: What is known about the network to start from.
        classes: Number of classes of the data.
        problems: Gets a sentence if the classes differ and no new classifier is wanted.
    """
    kind = "compressed; it is trained as it is" if start.compressed else "dense"
    st.caption(plain_text(f"The network is {start.name}, {kind}."))
    new_head = field_input("backbone.new_head")
    if start.classes is not None and start.classes != classes and not new_head:
        problem(
            f"The network tells {start.classes:,} classes apart, and the data has {classes:,}. Switch on the new classifier.",
            problems,
        )
    return new_head
