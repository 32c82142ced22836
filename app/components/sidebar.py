"""Show the current run and the queue on the sidebar of every page, and whether the bundled demo is shown, and the glossary."""

import streamlit as st

from app.cached import is_bundled, run_of, shows_demo
from app.components.errors import guarded, plain_text
from app.remembered import current_run, demo_wanted, forget_runs, want_demo
from nes_lab.errors import RunError
from nes_lab.figures.progress import brief_progress
from nes_lab.records.glossary import GLOSSARY
from nes_lab.runs.kept_curve import read_curve
from nes_lab.runs.queue_order import waiting_ids, waiting_text
from nes_lab.runs.run_progress import times_left
from nes_lab.runs.store import RunStore

__all__ = ["sidebar_demo", "sidebar_run", "sidebar_words"]


@guarded
def sidebar_run() -> None:
    """Draw the run that the user looked at last, with a link to its page, and the runs that wait. Draw nothing if there are none."""
    run_id = current_run()
    if run_id is not None:
        show_run(run_id)
    show_queue()


def show_run(run_id: str) -> None:
    """Draw a run with its state, its progress, the time left and its accuracy."""
    try:
        run = run_of(run_id)
        info, curve = run.info, read_curve(run.folder)
    except RunError:  # it was deleted
        return
    with st.container(border=True, gap="small", key="sidebar-run"):
        st.caption("Current run")
        title = plain_text(info.label or info.id)
        st.page_link("views/run.py", label=f"**{title}**", query_params={"run": info.id})
        if info.is_active:
            st.progress(info.bar_progress)
        left = times_left(run.store, [info]).get(info.id)
        for line in brief_progress(info, curve, left):
            st.caption(plain_text(line))


def show_queue() -> None:
    """Draw how many runs wait and which are next. Draw nothing if none waits."""
    store = RunStore()
    order = waiting_ids(store)
    infos = []
    for run_id in order[:3]:
        try:
            infos.append(store.read(run_id))
        except RunError:  # it was deleted
            continue
    if not order:
        return
    with st.container(border=True, gap="small", key="sidebar-queue"):
        st.caption("Queue")
        st.page_link("views/runs.py", label=plain_text(waiting_text(infos, order)), query_params={"state": "queued"})


@guarded
def sidebar_demo() -> None:
    """Say that the pages show the bundled demo, and offer to hide it where there are other runs."""
    if not shows_demo():
        return
    if demo_wanted():
        st.caption("The bundled demo is shown beside your runs. It can only be read.")
        st.button("Hide the bundled demo", icon=":material/visibility_off:", on_click=hide_demo)
    else:
        st.caption("There are no runs of your own yet: the pages show the bundled demo, which can only be read.")


def hide_demo() -> None:
    """Hide the bundled demo, also where the address of a page names one of its runs."""
    want_demo(False)
    forget_runs(is_bundled)


def sidebar_words() -> None:
    """Draw the glossary, folded."""
    with st.expander("Words", icon=":material/help:"):
        for word, text in GLOSSARY.items():
            st.markdown(f"**{word}**: {text}")
