"""Draw the card of the page Compress: what the planned network costs, a button that starts the training, and copies as text."""

from typing import Any

import streamlit as st

from app.components.compress_measure import measure_time, measure_training
from app.components.errors import plain_text, show_error, show_failure
from app.inputs import imports_refused
from app.labels import in_words
from app.workers import ask_worker
from nes_lab.config import load_config
from nes_lab.config.written import as_command, as_python, as_yaml, given_fields
from nes_lab.errors import NesLabError
from nes_lab.experiment.train import train
from nes_lab.import_spec import current_folder_importable
from nes_lab.records.plan_words import dense_words, quantity_words, what_binds
from nes_lab.runs.layout import default_root
from nes_lab.text import format_bytes, format_number, format_share
from nes_lab.worker.client import WorkerError

__all__ = ["launch_card", "start"]

COPIES = (
    ("command", as_command, "bash"),
    ("Python", as_python, "python"),
    ("YAML", as_yaml, "yaml"),
)


def launch_card(
    config: dict[str, Any], planned: dict[str, Any] | None, question: dict[str, Any] | None, problems: list[str]
) -> None:
    """Draw the totals of a plan, the button Launch, buttons that measure, and the experiment as text.

    Args:
        config: The configuration that the form describes.
        planned: The compression plan; None if there is none. Launch is then off, except for a dense network.
        question: The question for the plan; None for a dense network.
        problems: Reasons why a run cannot start. Launch is then off.
    """
    launches = st.session_state.setdefault("launches", 0)
    if planned is not None:
        show_totals(planned, config["compression"])
    name = f"launch-{launches}"
    add_problem(config, planned, problems)
    ready = not problems and (config["compression"] is None or planned is not None)
    options: dict[str, Any] = {"type": "primary", "icon": ":material/rocket_launch:", "width": "stretch"}
    with st.container(key="launch-bar"):
        with st.container(key="launch-words"):  # only a narrow page shows it: there, the button stays at the lower edge
            st.caption(plain_text(launch_words(planned, problems)))
        launched = st.button("Launch", key=name, disabled=not ready, **options)
    for reason in problems:
        st.caption(f":material/block: {plain_text(reason)}")
    if ready:
        measure_training(config)
    if planned is not None and question is not None and not planned.get("latency_ms") and planned.get("budget", True):
        measure_time(question)
    show_copies(config)
    if planned is not None:
        with st.expander("Notes of the plan"):
            for note in [*dense_words(planned, config["compression"] or {}), *planned["notes"]]:
                st.text(note)
            for sentence in planned.get("advice", ()):
                st.info(plain_text(sentence), icon=":material/lightbulb:")
    if launched:
        st.session_state["launches"] = launches + 1  # gives the button a new key, so that a second click does nothing
        run_id = start(config)
        if run_id is not None:
            st.switch_page("views/run.py", query_params={"run": run_id})


def launch_words(planned: dict[str, Any] | None, problems: list[str]) -> str:
    """Say in a few words what is launched, or why nothing can be."""
    if problems:
        return problems[0]
    if planned is None:
        return "There is no plan."
    dense, predicted = planned["dense"]["madds"], planned["predicted"]["madds"]
    return f"{format_number(predicted)} MAdds · {format_share(predicted, dense)} of dense"


def add_problem(config: dict[str, Any], planned: dict[str, Any] | None, problems: list[str]) -> None:
    """Add the reason why the settings cannot go together, in the words of the form, to the reasons why a run cannot start."""
    if config["compression"] is not None and planned is None:
        return  # the plan says why
    try:
        load_config(config)
    except NesLabError as error:
        problems.append(in_words(str(error)))


def show_totals(planned: dict[str, Any], budget: dict[str, Any]) -> None:
    """Draw what the planned network costs beside the dense one, and what keeps it from being smaller."""
    dense, predicted = planned["dense"], planned["predicted"]
    st.metric("MAdds", format_number(predicted["madds"]), help=f"{predicted['madds']:,} of {dense['madds']:,}")
    st.caption(plain_text(quantity_words("madds", planned, budget)))
    counts = {
        "Params": (format_number(predicted["params"]), quantity_words("params", planned, budget)),
        "File": (
            format_bytes(predicted["stored_bytes"]),
            quantity_words("stored_bytes", planned, budget),
        ),
        "Layers replaced": (f"{len(planned['layers'])}", f"of {len(planned['rows'])}"),
    }
    lines = [f"{name} **{plain_text(value)}** · {plain_text(words)}" for name, (value, words) in counts.items()]
    st.markdown("  \n".join(lines))
    with st.container(key="binds"):
        st.warning(f"**What binds:** {plain_text(what_binds(planned, budget))}")


def show_copies(config: dict[str, Any]) -> None:
    """Draw buttons that show the experiment as a command, as Python code and as a YAML file, to copy them."""
    st.caption("Copy the experiment as")
    with st.container(horizontal=True, gap="small", key="copies"):
        for name, written, language in COPIES:
            with st.popover(name, type="tertiary"):
                if name == "YAML":
                    st.caption("Save it as experiment.yaml, then: nes-lab train experiment.yaml")
                st.code(written(config), language, wrap_lines=True)


def start(config: dict[str, Any]) -> str | None:
    """Check the configuration, and start a training run with it. Return the run's id, or None if an error was shown."""
    try:
        checked = load_config(config)
        if imports_refused(checked.to_dict()):
            return None
        if checked.start is not None:  # reading the network to start from needs torch
            question = {"config": given_fields(config), "root": str(default_root().absolute())}
            return ask_worker("jobs", "launch", question, text="Checking the network to start from")["id"]
        with current_folder_importable():
            return train(checked, detach=True, check=False).id  # the check would load torch
    except WorkerError as error:
        show_failure(error)
    except NesLabError as error:
        show_error(str(error))
    return None
