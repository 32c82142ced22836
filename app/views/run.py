"""Run page: watch a training run, cancel or resume it, and take its network away."""

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from app.cached import all_runs, choose_run, layers_at, run_of, run_title, starts_at
from app.components.errors import guarded, plain_text, show_error
from app.components.plot import plot
from app.components.tables import shapes_table
from app.inputs import form_address, imports_refused, in_address
from app.workers import ask_worker
from nes_lab.errors import NesLabError, RunError
from nes_lab.experiment.alarms import run_alarms
from nes_lab.experiment.run import Run
from nes_lab.figures.epitome_atlas import epitome_atlas
from nes_lab.figures.inputs import largest_layers
from nes_lab.figures.layer_bars import layer_bars
from nes_lab.figures.progress import event_lines, progress_text, queue_text, run_description
from nes_lab.figures.run_panels import ACROSS, RunCurves, run_panels
from nes_lab.figures.run_report import fit_comparison
from nes_lab.figures.start_moves import start_moves
from nes_lab.figures.theme import plain
from nes_lab.import_spec import own_names
from nes_lab.runs.info import RunInfo
from nes_lab.runs.launcher import start_waiting
from nes_lab.runs.layout import default_root
from nes_lab.runs.query import dense_reference
from nes_lab.runs.result_rows import result_rows
from nes_lab.runs.states import STATES
from nes_lab.runs.store import RunStore
from nes_lab.text import shorten_name
from nes_lab.worker.client import WorkerError

COLORS = {"waiting": "gray", "working": "blue", "warning": "orange", "good": "green", "bad": "red"}
VIEWS = ("Training", "Network", "Plan", "Settings")
WEIGHTS = {"Last": "last", "Best": "best"}
FILES = {"ONNX": "onnx", "PyTorch program": "torch", "Folder for Python": "folder"}
FORMS = {"Plain layers": "materialized", "Epitomes": "factored"}


def buttons(info: RunInfo) -> None:
    """Draw the buttons that fit the run's state: cancel it, resume it, change it, or take its results."""
    if info.state in ("queued", "running"):
        if st.button(
            "Cancel", icon=":material/stop_circle:", help="The run saves a checkpoint after the current step and stops."
        ):
            act(info, stop=True)
    elif info.is_resumable and not info.given and st.button("Resume", icon=":material/play_circle:", type="primary"):
        act(info, stop=False)
    if info.state in ("failed", "lost") and not info.given:
        st.page_link(
            "views/compress.py",
            label="Edit and launch again",
            icon=":material/edit:",
            query_params=form_address(info.config),
        )
    if info.state != "finished":
        return
    with st.popover("Train further", icon=":material/fast_forward:"):
        ask_extension(info)
    st.download_button(
        "Report",
        lambda: run_of(info.id).report().read_text(encoding="utf-8"),
        f"{info.id}.html",
        "text/html",
        icon=":material/download:",
        on_click="ignore",
        help="One HTML file with the results, curves, layers and settings.",
    )


def ask_extension(info: RunInfo) -> None:
    """Ask for a larger number of epochs, and train the run further when the user presses the button."""
    planned = info.config.get("training", {}).get("epochs", 1)
    epochs = st.number_input(
        "Epochs in total",
        planned + 1,
        value=2 * planned,
        help="The learning rate follows the longer schedule from here on, so it may rise.",
        key=f"extend-{info.id}",
    )
    if st.button("Train further", type="primary") and not imports_refused(info.config):
        try:
            run_of(info.id).extend(int(epochs), detach=True)
        except NesLabError as error:
            show_error(str(error))
            return
        st.rerun()


def act(info: RunInfo, stop: bool) -> None:
    """Cancel or resume a run, and reload the page. If the run cannot be cancelled or resumed, show the error instead."""
    try:
        if stop:
            run_of(info.id).cancel()
        elif imports_refused(info.config):
            return
        else:
            run_of(info.id).resume(detach=True)
    except NesLabError as error:
        show_error(str(error))
        return
    st.rerun()


def choose_other(info: RunInfo, runs: list[RunInfo]) -> str | None:
    """Let the user choose a second run to draw beside this one. The address holds its id."""
    titles = {other.id: run_title(other) for other in runs if other.id != info.id}
    wanted = st.query_params.get("with") or st.session_state.get("compared-run")
    options = [None, *titles]
    chosen = st.selectbox(
        "Compare with",
        options,
        index=options.index(wanted) if wanted in titles else 0,
        format_func=lambda run_id: titles.get(run_id, "no other run"),
    )
    st.session_state["compared-run"] = chosen
    if chosen is None:
        st.query_params.pop("with", None)
    else:
        st.query_params["with"] = chosen
    return chosen


def curves_of(run: Run) -> RunCurves:
    """Read what the panels draw of a run."""
    info, root = run.info, str(default_root())
    history = []
    for step in run.snapshot_steps():
        with suppress(NesLabError):  # one damaged snapshot must not hide the curves
            history.append((step, starts_at(root, info.id, step, info.attempt)))
    return RunCurves(info, run.metrics().rows, run.events(), start_moves(history))


def show_state(run: Run, info: RunInfo, curves: RunCurves) -> None:
    """Draw the state of a run, its progress, and what the user can do."""
    if compared := fit_comparison(curves.events):
        st.caption(plain_text(compared))
    st.progress(info.bar_progress, text=progress_text(info, curves.metrics, curves.events))
    for alarm in run_alarms(info, curves.metrics, curves.events, curves.moves):
        st.markdown(f":orange[:material/warning: {plain_text(alarm)}]")
    if advice := info.needs_text() or STATES[info.state].advice:
        st.caption(advice)
    if info.state == "queued":
        st.caption(queue_text(run.runs_before()))


@guarded
def live(run_id: str, state_when_drawn: str, other_id: str | None, dense: RunInfo | None, **options: Any) -> None:
    """Draw the part of the run page that updates by itself: the run's progress, alarms, curves, epitome and log."""
    run = run_of(run_id)
    info = run.info
    if info.state != state_when_drawn:
        st.rerun(scope="app")
    if info.is_active:
        st.set_page_config(page_title=f"{info.progress:.0%} · {info.label or 'run'} · NES Lab")
    curves, other = curves_of(run), None
    if other_id is not None:
        with suppress(RunError):  # it was deleted a moment ago
            other = curves_of(run_of(other_id))
    show_state(run, info, curves)
    left, right = st.columns([3, 1], gap="medium")
    with left:
        show_panels(info, curves, other, dense, options)
    with right:
        show_epitome(run, info)
        st.markdown("**Log**")
        lines = event_lines(curves.metrics, curves.events)
        st.code("\n".join(lines) or "Nothing has happened yet.", language=None, wrap_lines=True)
    with st.expander("Output of the training process", expanded=STATES[info.state].tone == "bad"):
        st.code(run.log() or "The process has printed nothing.", language=None, wrap_lines=True, height=260)


def show_panels(
    info: RunInfo, curves: RunCurves, other: RunCurves | None, dense: RunInfo | None, options: dict[str, Any]
) -> None:
    """Draw the four panels. They have their own keys, so that each keeps its zoom."""
    if not curves.metrics:
        if info.is_final or info.state == "lost":
            st.info("The run ended before its first measurement.", icon=":material/info:")
        else:
            st.info(
                "There is no measurement yet. The first one comes a few seconds after the start.",
                icon=":material/hourglass:",
            )
        return
    figures = run_panels(curves, other, dense=dense, **options)
    for names in (("loss", "metric"), ("starts", "speed")):
        for place, name in zip(st.columns(2, gap="small"), names, strict=True):
            with place, st.container(border=True):
                plot(figures[name], key=f"{name}-{info.id}")


def show_epitome(run: Run, info: RunInfo) -> None:
    """Draw the largest epitome of the newest snapshot, with a link to the explorer."""
    steps = run.snapshot_steps()
    if not steps:
        dense = info.config.get("compression") is None
        st.caption("This network is dense: it has no epitomes." if dense else "There is no epitome yet.")
        return
    layers = layers_at(str(default_root()), info.id, steps[-1], steps[-1])
    drawn = [layers[name] for name in largest_layers(layers, most=1) if layers[name].epitome is not None]
    for layer in drawn:
        figure = epitome_atlas(layer)
        figure.update_layout(height=300, margin={"l": 36, "r": 10, "t": 62, "b": 40}, title_font_size=15)
        figure.update_layout(title_text=plain(shorten_name(layer.name, 24)))
        figure.update_xaxes(title_text="")
        figure.update_yaxes(title_text="")
        figure.update_traces(showscale=False)
        with st.container(border=True):
            plot(figure, key=f"epitome-{info.id}")
            st.page_link(
                "views/epitomes.py",
                label="Open the explorer",
                icon=":material/grid_on:",
                query_params={"run": info.id},
            )


def show_results(info: RunInfo) -> None:
    """Draw the results of a run with names and units."""
    if info.summary:
        st.subheader("Results")
        st.dataframe(result_rows(info.summary), hide_index=True, width=560, height="content")


def show_network(info: RunInfo) -> None:
    """Let the user export the network of a run, and download the file."""
    if info.state != "finished":
        st.info("A run's network can be exported when the run has finished.", icon=":material/info:")
        return
    columns = st.columns([1, 1, 1, 1], vertical_alignment="bottom")
    with columns[0]:
        weights = st.selectbox("Weights", list(WEIGHTS), **in_address("export.weights"))
    with columns[1]:
        kind = st.selectbox(
            "File",
            list(FILES),
            help="ONNX runs on many devices. A PyTorch program runs without this library. A folder is loaded again with "
            "nes_lab.from_pretrained.",
            **in_address("export.file"),
        )
    with columns[2]:
        form = st.selectbox(
            "Layers",
            list(FORMS),
            help="Plain layers hold the weights that were read from the epitomes. With epitomes, the file is smaller.",
            disabled=FILES[kind] == "folder",
            **in_address("export.layers"),
        )
    place = f"export-{info.id}"
    with columns[3]:
        pressed = st.button("Export", type="primary", icon=":material/output:", width="stretch")
    if pressed and not imports_refused(info.config):
        st.session_state.pop(place, None)
        question = {
            "root": str(default_root()),
            "run": info.id,
            "which": WEIGHTS[weights],
            "format": FILES[kind],
            "form": FORMS[form],
        }
        st.session_state[place] = ask_export(info, question)
    done = st.session_state.get(place)
    if done:
        show_export(done)


def ask_export(info: RunInfo, question: dict[str, Any]) -> dict[str, Any] | None:
    """Ask the worker to export a network. If it cannot, show why and return None."""
    try:
        own_code = bool(own_names(info.config))
        return ask_worker("jobs", "export", question, text="Exporting and checking", seconds=900, own_code=own_code)
    except WorkerError as error:
        show_error(str(error))
        if error.details:
            with st.expander("Details"):
                st.code(error.details, language=None, wrap_lines=True)
    except NesLabError as error:
        show_error(str(error))
    return None


def show_export(done: dict[str, Any]) -> None:
    """Draw how an exported file was checked, and a button that downloads it."""
    path = Path(done["path"])
    if not path.is_file():
        st.info("The exported file was deleted. Export it again.", icon=":material/info:")
        return
    st.success(plain_text(done["text"]), icon=":material/check_circle:")
    st.download_button(
        f"Download {plain_text(path.name)}",
        path.read_bytes,
        path.name,
        "application/octet-stream",
        icon=":material/download:",
        on_click="ignore",
    )


def show_plan(info: RunInfo) -> None:
    """Draw the layers of a run's compression plan."""
    plan = run_of(info.id).plan
    layers = plan.rows() if plan is not None else []
    if not layers:
        dense = info.config.get("compression") is None
        st.info("The network is dense: it has no plan." if dense else "There is no plan yet.", icon=":material/info:")
        return
    plot(layer_bars(layers), key="layers")
    shapes_table(layers, key="layer-table")


def show_training(info: RunInfo, runs: list[RunInfo], other: str | None) -> None:
    """Draw the choices for the panels, and the part of the page that updates by itself."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        across = st.segmented_control("Across", ACROSS, default="step", required=True, **in_address("across"))
        log_loss = st.toggle("Log axis for the loss", **in_address("log"))
        smooth = st.toggle("Smooth the training curves", **in_address("smooth"))
    every = 2 if info.is_active or info.state == "queued" else None
    draw = partial(live, across=across or "step", log_loss=log_loss, smooth=smooth)
    st.fragment(draw, run_every=every)(info.id, info.state, other, dense_reference(info, runs))
    show_results(info)


start_waiting(RunStore())
runs = all_runs()
if not runs:
    st.title("Run")
    st.info(
        "There are no runs yet. Start one on the page **Compress**, or run `make demo` in a terminal.",
        icon=":material/info:",
    )
    st.page_link("views/compress.py", label="Go to Compress", icon=":material/arrow_forward:")
else:
    heading, actions = st.columns([3, 2], vertical_alignment="bottom")
    views, chooser, second = st.columns([1.4, 1, 1], vertical_alignment="bottom")
    with chooser:
        run = choose_run(runs)
    with second:
        other = choose_other(run, runs)
    with heading:
        st.title(plain_text(run.label or run.id))
        tone = COLORS[STATES[run.state].tone]
        st.markdown(f":{tone}-badge[{run.state}] {plain_text(run_description(run))}")
    with actions, st.container(horizontal=True, horizontal_alignment="right"):
        buttons(run)
    with views:
        view = st.segmented_control("View", VIEWS, default="Training", required=True, **in_address("view"))
    for note in run.notes:
        st.text(note)
    if view == "Network":
        show_network(run)
    elif view == "Plan":
        show_plan(run)
    elif view == "Settings":
        st.caption(f"id {plain_text(run.id)}")
        st.json(run.config, expanded=2)
    else:
        show_training(run, runs, other)
