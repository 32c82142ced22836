"""The four panels of a run: axes, second run, dense reference, moves of the starts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nes_lab.figures.run_panels import RunCurves, run_panels
from nes_lab.figures.start_moves import start_moves
from nes_lab.runs.info import RunInfo
from tests.figures.samples import make_snapshot

CONFIG = {"compression": {"madds": "60%"}, "training": {"epochs": 4}}


def make_curves(run_id="a", loss=2.0, **options):
    rows = [
        {"step": s, "split": "train", "loss": loss / s, "top1": s, "lr": 0.1, "images_per_s": 9.0} for s in range(1, 9)
    ]
    rows.append({"step": 8, "split": "val", "loss": 0.5, "top1": 70.0})
    rows = [row | {"attempt": 1, "time": 1000.0 + 10 * row["step"]} for row in rows]
    info = RunInfo(run_id, label=options.pop("label", run_id), config=CONFIG, total=8, step=8)
    return RunCurves(info, rows, [{"kind": "start", "attempt": 1, "time": 1000.0}], **options)


def trace(figure, name):
    return next(item for item in figure.data if item.name == name)


@pytest.mark.parametrize(
    ("across", "last", "title"),
    [("step", 8, "training step"), ("epoch", 4, "epoch"), ("time", 80, "time of training (s)")],
)
def test_run_panels_draw_over_steps_epochs_or_time(across, last, title):
    figures = run_panels(make_curves(), across=across)
    assert trace(figures["loss"], "training").x[-1] == last
    assert {figure.layout.xaxis.title.text for figure in figures.values()} == {title}
    assert len({figure.layout.height for figure in figures.values()}) == 1


def test_time_of_training_leaves_out_the_pause_before_a_resume():
    curves = make_curves()
    later = {"step": 10, "split": "train", "loss": 0.1, "attempt": 2, "time": 99_010.0}
    events = [*curves.events, {"kind": "start", "attempt": 2, "time": 99_000.0}]
    resumed = dataclasses.replace(curves, metrics=[*curves.metrics, later], events=events)
    assert resumed.places([8, 10], "time").tolist() == [80.0, 90.0]


def test_run_panels_smooth_and_take_a_log_axis():
    figures = run_panels(make_curves(), smooth=True, log_loss=True)
    assert figures["loss"].layout.yaxis.type == "log"
    raw, smoothed = (item for item in figures["loss"].data if item.name == "training")
    assert raw.opacity < 1 and not raw.showlegend
    assert np.ptp(smoothed.y) < np.ptp(raw.y) and smoothed.y[0] == raw.y[0]
    plain = run_panels(make_curves())["loss"]
    assert plain.layout.yaxis.type is None
    assert plain.layout.uirevision != figures["loss"].layout.uirevision  # a zoom of one axis means nothing on the other


def test_run_panels_overlay_a_second_run_and_a_dense_reference():
    other = make_curves("b", label="<b>two</b>")
    dense = RunInfo("dense", state="finished", summary={"top1": 78.4})
    figures = run_panels(make_curves(), other, dense=dense)
    second = [item for item in figures["loss"].data if item.name == "&lt;b&gt;two&lt;/b&gt;"]
    assert [bool(item.showlegend) for item in second] == [True, False]  # one name for both curves
    smooth = run_panels(make_curves(), other, smooth=True)["loss"].data
    assert [bool(item.showlegend) for item in smooth if item.legendgroup == "other"] == [False, True, False]
    assert list(trace(figures["metric"], "dense 78.40 %").y) == [78.4, 78.4]
    assert figures["metric"].layout.title.subtitle.text == "best 70.00 % at step 8 · dense 78.40 % (dotted)"


def test_start_moves_measure_from_the_first_snapshot():
    history = [(step, {"fc": make_snapshot(name="fc", shift=shift)}) for step, shift in ((0, 0.0), (9, 0.5))]
    found = start_moves(history)
    before, after = (np.concatenate([s for s in item["fc"].starts if s is not None]) for _, item in history)
    away = np.abs(after - before)
    assert found.starts == len(away) and found.dead == (away < 1e-3).sum()
    assert found.moves[0] == (0, 0.0, 0.0)
    assert found.moves[1] == (9, pytest.approx(np.median(away)), pytest.approx(away.max()))
    figure = run_panels(make_curves(moves=found))["starts"]
    assert [item["name"] for item in figure.to_dict()["data"]] == ["median", "largest", "learning rate"]
    assert trace(figure, "learning rate").yaxis == "y2"


def test_start_moves_take_the_shorter_way_around_a_circular_epitome():
    layer = make_snapshot(epitome=(16, 16, 1, 1), boundary="circular")
    rows, columns, *rest = layer.starts
    assert rows is not None
    there = dataclasses.replace(layer, starts=(rows + 15, columns, *rest))
    assert start_moves([(0, {"fc": layer}), (1, {"fc": there})]).moves[-1][2] == 1.0


@pytest.mark.parametrize(
    ("config", "routing", "words"),
    [({}, None, "dense"), (CONFIG, "tiled", "fixes the starts"), (CONFIG, None, "No snapshot")],
)
def test_without_moves_the_panel_has_the_learning_rate_and_says_why(config, routing, words):
    history = [(0, {"fc": make_snapshot(routing=routing)})] if routing else []
    curves = dataclasses.replace(make_curves(), info=RunInfo("a", config=config), moves=start_moves(history))
    figure = run_panels(curves)["starts"]
    assert words in figure.layout.title.subtitle.text
    (only,) = figure.data
    assert (only.name, only.yaxis, only.y[0]) == ("learning rate", "y", pytest.approx(0.1))


def test_the_panel_of_speed_shows_the_machine_if_the_run_recorded_it():
    curves, machine = make_curves(), {"cpu_percent": 40.0, "memory_bytes": 2_000_000_000, "memory_percent": 12.5}
    old = run_panels(curves)["speed"]
    assert "CPU – · memory –" in old.layout.title.subtitle.text and [item.name for item in old.data] == ["images/s"]
    rows = [row | (machine if row["split"] == "train" else {}) for row in curves.metrics]
    new = run_panels(dataclasses.replace(curves, metrics=rows))["speed"]
    assert "CPU 40 % · memory 2.0 GB" in new.layout.title.subtitle.text
    assert trace(new, "memory %").y[-1] == 12.5 and trace(new, "memory %").yaxis == "y2"
    gpu = [row | machine | {"gpu_memory_bytes": 10**9, "gpu_memory_percent": 5.0} for row in curves.metrics]
    assert (
        "GPU memory 1.0 GB" in run_panels(dataclasses.replace(curves, metrics=gpu))["speed"].layout.title.subtitle.text
    )


def test_the_axes_of_the_panels_stand_below_each_other():
    figures = run_panels(make_curves()).values()
    margins = {(figure.layout.margin.l, figure.layout.margin.r) for figure in figures}
    assert len(margins) == 1 and not any(figure.layout.yaxis.automargin for figure in figures)
