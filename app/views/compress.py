"""Compress page: choose a network and a budget, see the compression plan, and start a training run."""

from typing import Any

import streamlit as st

from app.components.all_settings import ask_all_settings
from app.components.backbone_picker import ask_backbone, ask_width
from app.components.compress_budget import ask_budget
from app.components.compress_card import launch_card
from app.components.compress_chips import chips
from app.components.compress_form import ask_data, ask_training
from app.components.compress_layers import layer_card
from app.components.compress_plan import plan_question, show_plan
from app.components.compress_plane import ask_region, show_plane, show_sliders
from app.components.compress_start import ask_fit, ask_start, check_classes, check_weights
from app.components.data_check import data_check, show_samples
from app.inputs import FROM_WEIGHTS, use_names_in_address
from app.remembered import set_form_experiment
from nes_lab.records.backbone_list import backbone_list

use_names_in_address()
title, examples = st.columns([1.6, 4], vertical_alignment="center")
title.title("Compress")
with examples:
    chips()
form, middle, right = st.columns([1.2, 2.2, 1], gap="medium")
problems: list[str] = []
with form:
    network = st.container()
    kind, start, began = ask_start(problems)
    with network:
        if start is None:
            name, known = ask_backbone()
            backbone = {"name": name, "width": ask_width(known)}
        else:
            name = began.name if began else "small_mobilenetv2"
            known = backbone_list().get(name)
            backbone = {"name": name} | ({"width": began.width, "options": began.options} if began else {})
    if kind == FROM_WEIGHTS:
        backbone["pretrained"] = True
        check_weights(known, name, problems)
    about_fit = st.container()
    slots: dict[str, Any] = {}
    budget = None if began is not None and began.compressed else ask_budget(slots)  # it is trained as it is
    data, facts = ask_data(known, problems)
    about_data = st.container()
    if began is not None:
        backbone["new_head"] = check_classes(began, facts.classes, problems)
    if budget is not None and kind == FROM_WEIGHTS:
        with about_fit:
            budget |= ask_fit(budget["routing"])
    training, loading, seed, label = ask_training(snap=bool(budget and budget["snap"]))
config = {
    "label": label,
    "seed": seed,
    "start": start,
    "data": data | loading,
    "backbone": backbone,
    "compression": budget,
    "training": training,
}
with form:
    ask_all_settings(config)
with about_data:
    if reason := data_check(config["data"], facts.classes):
        problems.append(reason)
set_form_experiment(config)
question: dict[str, Any] | None = None
with middle:
    if budget is None:
        planned = None
        trained = "compressed network is trained as it is" if began and began.compressed else "dense network is trained"
        st.info(f"The {trained}, so there is nothing to plan.", icon=":material/info:")
    else:
        question = plan_question(backbone, budget, facts)
        planned = show_plan(question, slots)
if question is not None:
    show_sliders(slots, question, planned)
    if planned is not None:
        with slots["plane"]:
            show_plane(question, planned)
with right, st.container(key="launch-card"):
    with st.container(border=True):
        launch_card(config, planned, question, problems)
    if budget is not None:
        layer_card(planned)
if question is not None and planned is not None:
    ask_region(question)
with about_data:
    show_samples(config["data"])  # last, because the plan should not wait for it
