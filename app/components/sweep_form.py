"""Draw the form of a sweep: a base experiment, what varies, and how its trials train."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import streamlit as st
import yaml

from app.components.errors import plain_text, show_error
from app.inputs import in_address, text_or_none
from app.remembered import form_experiment
from nes_lab.config import knobs
from nes_lab.config.written import given_fields
from nes_lab.errors import NesLabError, RunError
from nes_lab.recipes.registry import recipe_names
from nes_lab.runs.store import RunStore
from nes_lab.sweeps.form import sweep_tree
from nes_lab.sweeps.launch import check_sweep, launch_sweep, missing_package
from nes_lab.sweeps.overview import free_name

__all__ = ["sweep_form"]

SMALL, FORM, YAML = "Digits, three epochs", "The form on Compress", "My own settings"
SMALL_EXPERIMENT = {"compression": {"madds": "60%"}, "training": {"epochs": 3, "warmup_epochs": 0, "threads": 1}}
SAMPLERS = {
    "grid": "all combinations",
    "random": "random combinations",
    "tpe": "learns from finished trials (TPE)",
    "nsga2": "learns from finished trials (NSGA-II)",
}
EXECUTORS = {"local": "processes here", "ray": "Ray, started here"}
ROUTINGS = next(knob.choices for knob in knobs() if knob.path == "compression.routing")


def sweep_form(store: RunStore) -> str | None:
    """Draw the form. Return the name of the sweep that the user has just launched, or None.

    Args:
        store: The store of the runs.
    """
    st.subheader("New sweep")
    name = st.text_input(
        "Name",
        value=free_name(store),
        help="Small letters, digits and dashes. The runs are grouped by it.",
        **in_address("sweep-name"),
    )
    base = ask_base()
    varied = ask_varied()
    how = ask_how()
    if base is None:
        return None
    executor = how.pop("executor")
    jobs = how.pop("jobs")
    ready = False
    try:
        tree = sweep_tree(text_or_none(name) or "", base, **varied, **how)
        sweep = check_sweep(tree, store)
        count = sweep.space.planned
        st.caption(f"{count} {'trial' if count == 1 else 'trials'}, {jobs} at the same time")
        ready = True
    except RunError as error:
        st.info(plain_text(str(error)), icon=":material/info:")
    except NesLabError as error:
        show_error(str(error))
    missing = missing_package(executor)
    if missing:
        st.warning(missing, icon=":material/package:")
    if not st.button("Launch", type="primary", icon=":material/rocket_launch:", disabled=not ready or bool(missing)):
        return None
    try:
        return launch_sweep(tree, store, jobs, executor)
    except NesLabError as error:
        show_error(str(error))
        return None


def ask_base() -> str | Mapping[str, Any] | None:
    """Ask for the base experiment. Return its sections or the name of a recipe; None if an error or a hint is shown."""
    choice = st.selectbox(
        "Base experiment",
        [SMALL, FORM, *recipe_names(), YAML],
        help="Each trial is this experiment with a few settings changed.",
        **in_address("base"),
    )
    if choice == SMALL:
        return SMALL_EXPERIMENT
    if choice == FORM:
        return base_from_form()
    st.query_params.pop("form", None)
    if choice != YAML:
        return choice
    text = st.text_area(
        "Settings",
        placeholder="training:\n  epochs: 5",
        help="In YAML, as the card on Compress shows it.",
        **in_address("yaml"),
    )
    try:
        tree: Any = yaml.safe_load(text or "") or {}
    except yaml.YAMLError as error:
        show_error(f"Settings cannot be read as YAML: {error}")
        return None
    if not isinstance(tree, dict):
        show_error(f"Settings are {(text or '')[:60]!r}; give sections such as training: or compression:")
        return None
    return tree


def base_from_form() -> dict[str, Any] | None:
    """Return the experiment that the form on Compress describes. Without one, return that of the address; None if there is none.

    The address keeps it, so that a reload of the page does not lose it.
    """
    form = form_experiment()
    if form is not None:
        tree = {"compression": {}} | given_fields(form) | ({"compression": None} if not form["compression"] else {})
        st.query_params["form"] = json.dumps(tree, separators=(",", ":"))
        return tree
    with suppress(ValueError):
        tree = json.loads(st.query_params.get("form", "null"))
        if isinstance(tree, dict):
            return tree
    st.info("Fill in the form on the page Compress first; it is used as it is then.", icon=":material/info:")
    st.page_link("views/compress.py", label="Go to Compress", icon=":material/arrow_forward:")
    return None


def ask_varied() -> dict[str, Any]:
    """Ask for the settings in which the trials differ."""
    left, right = st.columns(2)
    with left:
        madds = st.text_input(
            "MAdds budgets", value="50%, 75%", help="With commas: shares or numbers.", **in_address("madds")
        )
        seeds = st.number_input(
            "Seeds", 1, 50, 1, help="Each setting is trained with so many seeds.", **in_address("seeds")
        )
    with right:
        params = st.text_input("Params budgets", placeholder="no limit", **in_address("params"))
        lr = st.text_input(
            "Learning rates",
            placeholder="as in the base",
            help="Values with commas, or a range such as 0.01 to 0.1.",
            **in_address("lr"),
        )
    routing = st.multiselect("Routing", ROUTINGS, placeholder="as in the base", **in_address("routing"))
    dense = st.toggle("Also the dense network", help="For comparison.", **in_address("dense"))
    return {"madds": madds, "params": params, "routing": routing, "dense": dense, "seeds": int(seeds), "lr": lr}


def ask_how() -> dict[str, Any]:
    """Ask how trials are chosen and where they train."""
    left, right = st.columns(2)
    with left:
        sampler = st.selectbox("Trials are", list(SAMPLERS), format_func=SAMPLERS.__getitem__, **in_address("sampler"))
        executor = st.selectbox(
            "Train in", list(EXECUTORS), format_func=EXECUTORS.__getitem__, **in_address("executor")
        )
    with right:
        trials = st.number_input(
            "Number of trials",
            1,
            1000,
            8,
            disabled=sampler == "grid",
            help="All combinations need no number.",
            **in_address("trials"),
        )
        jobs = st.number_input(
            "Parallel runs", 1, 64, 1, help="Trials that train at the same time.", **in_address("jobs")
        )
    return {"sampler": sampler, "trials": int(trials), "jobs": int(jobs), "executor": executor}
