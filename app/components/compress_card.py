"""Draw the card of the page Compress: what the planned network costs, a button that starts the training, and copies as text."""

from pprint import pformat
from textwrap import indent
from typing import Any

import streamlit as st
import yaml

from app.components.errors import plain_text, show_error
from app.inputs import imports_refused
from nes_lab.config import load_config
from nes_lab.errors import NesLabError
from nes_lab.experiment.train import train
from nes_lab.import_spec import current_folder_importable
from nes_lab.text import format_number, format_share

__all__ = ["launch_card", "start"]


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
    """Draw buttons that show the experiment as Python code and as a YAML file, to copy them."""
    given = without_defaults(config)
    with st.popover("Copy as Python", icon=":material/code:", width="stretch"):
        st.code(
            f"import nes_lab\n\nrun = nes_lab.train(\n{indent(pformat(given, sort_dicts=False), '    ')}\n)", "python"
        )
    with st.popover("Copy as YAML", icon=":material/description:", width="stretch"):
        st.caption("Save it as experiment.yaml, then: nes-lab train experiment.yaml")
        st.code(yaml.safe_dump(given, sort_keys=False), "yaml")


def without_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration without the values that stand for "not given", and without empty sections."""
    kept = {
        name: without_defaults(value) if isinstance(value, dict) else value
        for name, value in config.items()
        if value is not None and value not in ("", [])
    }
    return {name: value for name, value in kept.items() if value != {}}


def start(config: dict[str, Any]) -> str | None:
    """Check the configuration, and start a training run with it. Return the run's id, or None if an error was shown."""
    try:
        checked = load_config(config)
        if imports_refused(checked.to_dict()):
            return None
        with current_folder_importable():
            return train(checked, detach=True, check=False).id  # the check would load torch
    except NesLabError as error:
        show_error(str(error))
        return None
