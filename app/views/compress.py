"""Compress page: choose a network and a budget, see the compression plan, and start a training run."""

import streamlit as st

from app.components.all_settings import ask_all_settings
from app.components.backbone_picker import ask_backbone, ask_width
from app.components.compress_budget import ask_budget
from app.components.compress_card import launch_card
from app.components.compress_form import ask_data, ask_training
from app.components.compress_plan import show_plan
from app.remembered import set_form_experiment

st.title("Compress")
form, middle, right = st.columns([1.2, 2.2, 1], gap="medium")
problems: list[str] = []
with form:
    st.subheader("Network and data")
    name, known = ask_backbone()
    backbone = {"name": name, "width": ask_width(known)}
    data, facts = ask_data(known, problems)
    budget = ask_budget()
    training, loading, seed, label = ask_training(snap=bool(budget and budget["snap"]))
config = {
    "label": label,
    "seed": seed,
    "data": data | loading,
    "backbone": backbone,
    "compression": budget,
    "training": training,
}
with form:
    ask_all_settings(config)
set_form_experiment(config)
with middle:
    st.subheader("Plan")
    if budget is None:
        planned = None
        st.info("The dense network is trained, so there is nothing to plan.", icon=":material/info:")
    else:
        planned = show_plan(backbone, budget, facts)
with right, st.container(border=True, key="launch-card"):
    launch_card(config, planned, problems)
