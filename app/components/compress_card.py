"""Draw the card of the page Compress: what the planned network costs, a button that starts the training, and copies as text."""

from typing import Any

import streamlit as st

from app.components.errors import plain_text, show_error
from app.inputs import imports_refused
from app.labels import in_words
from nes_lab.config import load_config
from nes_lab.config.written import as_command, as_python, as_yaml
from nes_lab.errors import NesLabError
from nes_lab.experiment.train import train
from nes_lab.import_spec import current_folder_importable
from nes_lab.text import format_number, format_share

__all__ = ["launch_card", "start"]

COPIES = (
    ("command", "terminal", as_command, "bash"),
    ("Python", "code", as_python, "python"),
    ("YAML", "description", as_yaml, "yaml"),
)


def launch_card(config: dict[str, Any], planned: dict[str, Any] | None, problems: list[str]) -> None:
    """Draw the totals of a plan, the button Launch, and the experiment as text.

    Args:
        config: The configuration that the form describes.
        planned: The compression plan; None if there is none. Launch is then off, except for a dense network.
        problems: Reasons why a run cannot start. Launch is then off.
    """
    launches = st.session_state.setdefault("launches", 0)
    if planned is not None:
        show_totals(planned)
    name = f"launch-{launches}"
    add_problem(config, planned, problems)
    ready = not problems and (config["compression"] is None or planned is not None)
    options: dict[str, Any] = {"type": "primary", "icon": ":material/rocket_launch:", "width": "stretch"}
    launched = st.button("Launch", key=name, disabled=not ready, **options)
    for reason in problems:
        st.caption(plain_text(reason))
    show_copies(config)
    if launched:
        st.session_state["launches"] = launches + 1  # gives the button a new key, so that a second click does nothing
        run_id = start(config)
        if run_id is not None:
            st.switch_page("views/run.py", query_params={"run": run_id})


def add_problem(config: dict[str, Any], planned: dict[str, Any] | None, problems: list[str]) -> None:
    """Add the reason why the settings cannot go together, in the words of the form, to the reasons why a run cannot start."""
    if config["compression"] is not None and planned is None:
        return  # the plan says why
    try:
        load_config(config)
    except NesLabError as error:
        problems.append(in_words(str(error)))


def show_totals(planned: dict[str, Any]) -> None:
    """Draw what the planned network costs beside the dense one."""
    dense, predicted = planned["dense"], planned["predicted"]
    for key, name in (("madds", "MAdds"), ("params", "Params")):
        st.metric(name, format_number(predicted[key]), help=f"{predicted[key]:,} of {dense[key]:,}")
        st.caption(f"{format_share(predicted[key], dense[key])} of the dense {format_number(dense[key])}")
    st.caption(f"{len(planned['layers'])} layers compressed, {len(planned['kept_layers'])} kept dense")
    for note in planned["notes"]:
        st.text(note)


def show_copies(config: dict[str, Any]) -> None:
    """Draw buttons that show the experiment as a command, as Python code and as a YAML file, to copy them."""
    for name, icon, written, language in COPIES:
        with st.popover(f"Copy as {name}", icon=f":material/{icon}:", width="stretch"):
            if name == "YAML":
                st.caption("Save it as experiment.yaml, then: nes-lab train experiment.yaml")
            st.code(written(config), language, wrap_lines=True)


def start(config: dict[str, Any]) -> str | None:
    """Check the configuration, and start a training run with it. Return the run's id, or None if an error was shown."""
    try:
        checked = load_config(config)
        if imports_refused(checked.to_dict()):
            return None
        with current_folder_importable():
            return train(checked, detach=True, check=False).id  # the check would load torch
    except NesLabError as error:
        show_error(in_words(str(error)))
        return None
