"""What every picture must have, and that each shows the numbers it was given."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from nes_lab.config import load_config
from nes_lab.errors import OptionError
from nes_lab.experiment.open_runs import open_run
from nes_lab.figures.accuracy_vs_madds import ReportedPoint, accuracy_vs_madds, measured_points
from nes_lab.figures.compare_runs import compare_runs
from nes_lab.figures.coverage import coverage, gini
from nes_lab.figures.epitome_atlas import atlas_pages, epitome_atlas
from nes_lab.figures.layer_bars import layer_bars
from nes_lab.figures.live_run import MOST_POINTS, live_run
from nes_lab.figures.patches_on_epitome import MOST_TRACES, patches_on_epitome
from nes_lab.figures.reported import IMAGENET
from nes_lab.figures.routing_map import routing_map
from nes_lab.figures.sensitivity import sensitivity
from nes_lab.figures.setting_seeds import setting_seeds
from nes_lab.figures.start_trajectories import start_trajectories
from nes_lab.figures.theme import apply_theme, figure_json, method_style
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.counts import Counts
from nes_lab.records.layer_plan import KeptLayer, LayerPlan
from nes_lab.runs.compare_settings import compare_settings
from nes_lab.runs.info import RunInfo
from nes_lab.runs.query import run_table
from nes_lab.runs.store import RunStore
from tests.figures.samples import make_rows, make_sensitivity, make_snapshot, make_table, write_run

MEGABYTE = 1_000_000


def _metrics(count=40):
    train = [
        {"step": step, "split": "train", "loss": 2 / (1 + step), "top1": step, "lr": 0.1, "images_per_s": 100.0}
        for step in range(count)
    ]
    return [*train, {"step": 10, "split": "val", "loss": 1.0, "top1": 55.0}, {"step": 20, "split": "val", "top1": 60.5}]


def _big(**options):
    return make_snapshot(epitome=(1024, 1024, 1, 1), weight=(1280, 1280, 1, 1), patch=(16, 16), shift=0.4, **options)


def _history():
    return [(10 * step, make_snapshot(shift=0.1 * step)) for step in range(4)]


PICTURES = {
    "atlas": lambda: epitome_atlas(make_snapshot()),
    "atlas change": lambda: epitome_atlas(make_snapshot(shift=0.5), make_snapshot(), mode="change"),
    "atlas 3x3": lambda: epitome_atlas(make_snapshot((16, 24, 3, 3), (64, 48, 3, 3))),
    "atlas 1d": lambda: epitome_atlas(make_snapshot((16, 24, 5), (64, 48, 5))),
    "atlas big": lambda: epitome_atlas(_big()),
    "patches": lambda: patches_on_epitome(make_snapshot(shift=0.3)),
    "patches big": lambda: patches_on_epitome(_big(boundary="circular")),
    "routing": lambda: routing_map(make_snapshot(shift=0.3), make_snapshot()),
    "routing joint": lambda: routing_map(make_snapshot(scope="joint")),
    "trajectories": lambda: start_trajectories(_history()),
    "coverage": lambda: coverage(make_snapshot(shift=0.3)),
    "coverage big": lambda: coverage(_big()),
    "seeds": lambda: setting_seeds(compare_settings(make_table())),
    "bars": lambda: layer_bars(make_rows()),
    "sensitivity": lambda: sensitivity(make_sensitivity()),
    "sensitivity by loss": lambda: sensitivity(make_sensitivity(300, loss=True)),
    "accuracy": lambda: accuracy_vs_madds(make_table(), 1.5e6, [ReportedPoint("A", 1e6, 90.0, "paper", "A")]),
    "accuracy empty": lambda: accuracy_vs_madds([]),
    "compared": lambda: compare_runs({"<b>a</b>": _metrics(), "b": _metrics(10_000), "c": []}),
    "compared none": lambda: compare_runs({}),
    "live": lambda: live_run(_metrics(), [{"kind": "checkpoint", "step": 10}]),
    "live empty": lambda: live_run([]),
    "live long": lambda: live_run(_metrics(10_000)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_figures_have_size_units_theme_and_alt_text(name):
    figure = PICTURES[name]()
    spec = figure_json(figure)
    assert len(json.dumps(spec)) < 2 * MEGABYTE
    assert len(spec["layout"]["meta"]["alt"]) > 20
    assert spec["layout"]["title"]["text"]
    assert spec["layout"]["uirevision"] == "keep"
    titles = [axis.get("title", {}).get("text") for key, axis in spec["layout"].items() if key[1:].startswith("axis")]
    shown = [text for text in titles if text]
    assert len(shown) >= 2, "both axes need a title with its unit"


@pytest.mark.parametrize("dark", [False, True])
def test_template_follows_the_theme(snapshot, dark):
    paper = figure_json(apply_theme(epitome_atlas(snapshot), dark))["layout"]["template"]["layout"]["paper_bgcolor"]
    assert paper == ("#0E1117" if dark else "#FFFFFF")


def test_zero_is_not_bright_on_a_dark_page(snapshot):
    middles = [apply_theme(epitome_atlas(snapshot), dark).data[0].colorscale[n] for dark, n in ((True, 2), (False, 5))]
    assert middles == [(0.5, "#262A34"), (0.5, "rgb(247,247,247)")]


def test_atlas_shows_the_cells_around_zero(snapshot):
    heat = epitome_atlas(snapshot).data[0]
    np.testing.assert_array_equal(heat.z, snapshot.epitome[:, :, 0, 0])
    assert heat.zmin == -heat.zmax
    np.testing.assert_array_equal(np.asarray(heat.customdata)[..., 2], snapshot.coverage())


def test_atlas_puts_gutters_between_kernel_cells():
    layer = make_snapshot((4, 6, 2, 3), (8, 12, 2, 3), patch=(4, 6))
    canvas = np.asarray(epitome_atlas(layer).data[0].z)
    assert canvas.shape == (2 * 4 + 1, 3 * 6 + 2)
    assert np.isnan(canvas[4]).all()
    assert np.isnan(canvas[:, 6]).all()
    np.testing.assert_array_equal(canvas[5:, 7:13], layer.epitome[:, :, 1, 1])


def test_atlas_change_is_the_difference():
    before, after = make_snapshot(), make_snapshot(shift=0.5)
    heat = epitome_atlas(after, before, mode="change").data[0]
    np.testing.assert_allclose(heat.z, (after.epitome - before.epitome)[:, :, 0, 0])


def test_atlas_turns_pages_above_64_kernel_cells():
    layer = make_snapshot((4, 4, 9, 9), (8, 8, 9, 9), patch=(4, 4))
    assert atlas_pages(layer) == 2
    first, second = (np.asarray(epitome_atlas(layer, page=page).data[0].z) for page in (1, 2))
    np.testing.assert_array_equal(first[:4, :4], layer.epitome[:, :, 0, 0])
    np.testing.assert_array_equal(second[:4, :4], layer.epitome[:, :, 7, 0])


@pytest.mark.parametrize(("mode", "message"), [("chang", "Did you mean 'change'"), ("change", "initial epitome")])
def test_atlas_says_what_is_wrong(snapshot, mode, message):
    with pytest.raises(OptionError, match=message):
        epitome_atlas(snapshot, mode=mode)


def test_patches_on_epitome_draws_windows_between_cells(moved):
    figure = patches_on_epitome(moved)
    outline = next(trace for trace in figure.data if trace.name == "3")
    assert min(np.asarray(outline.y)[:5]) == pytest.approx(moved.starts[0][3] - 0.5)
    assert max(np.asarray(outline.x)[:5]) == pytest.approx(moved.starts[1][0] + 8 - 0.5)
    assert "48" in figure.layout.meta["alt"]


def test_patches_on_epitome_says_how_many_patches_it_draws():
    figure = patches_on_epitome(_big())
    assert len([trace for trace in figure.data if trace.type == "scatter"]) == MOST_TRACES
    assert f"{MOST_TRACES} of 80 drawn" in figure.layout.title.subtitle.text


def test_patches_on_epitome_continues_circular_windows():
    layer = make_snapshot((8, 8, 1, 1), (8, 8, 1, 1), patch=(8, 8), boundary="circular")
    layer.starts[0][:] = 3.0
    outline = next(trace for trace in patches_on_epitome(layer).data if trace.name == "0")
    tops = {float(value) for value in outline.y if np.isfinite(value)}
    assert tops == {2.5, 10.5, -5.5}


def test_routing_map_has_rows_of_output_patches(moved, snapshot):
    figure = routing_map(moved, snapshot)
    assert len(figure.data) == 4
    before, now = np.asarray(figure.data[0].z), np.asarray(figure.data[1].z)
    assert before.shape == (8, 6)
    np.testing.assert_allclose(now[:, 2], moved.starts[0])
    np.testing.assert_allclose(np.asarray(figure.data[3].z)[5], moved.starts[1])
    assert figure.data[0].zmax == figure.data[1].zmax


def test_routing_map_shows_a_tiny_move_as_tiny():
    layer = make_snapshot((8, 8, 1, 1), (16, 8, 1, 1), patch=(8, 8))
    layer.starts[0][:] = [0.0, 0.01]
    heat = routing_map(layer).data[0]
    assert heat.zmax - heat.zmin == 1.0


def test_routing_map_says_that_a_layer_has_no_starts():
    layer = make_snapshot()
    figure = routing_map(type(layer)(**{**layer.__dict__, "starts": (None, None, None, None)}))
    assert "has no starts" in figure.layout.annotations[0].text


def test_start_trajectories_marks_dead_starts():
    titles = [note.text for note in start_trajectories(_history()).layout.annotations]
    assert titles[0] == "output channels: 8 starts" and "none over" in titles[1]
    figure = start_trajectories(_history())
    place, move = (next(trace for trace in figure.data if trace.xaxis == axis) for axis in ("x", "x2"))
    np.testing.assert_allclose(np.asarray(move.y)[3], np.asarray(place.y)[3] - np.asarray(place.y)[0], atol=1e-6)
    still = start_trajectories([(0, make_snapshot()), (10, make_snapshot())])
    assert "none moved<br>8 close since the start, 0 later" in (still.layout.annotations[1].text)
    with pytest.raises(OptionError, match="history"):
        start_trajectories([])


def test_coverage_counts_what_is_read(snapshot):
    heat = next(trace for trace in coverage(snapshot).data if trace.type == "heatmap")
    np.testing.assert_array_equal(heat.z, snapshot.coverage())
    assert gini(np.array([0, 0, 0, 0])) == 0.0


def test_layer_bars_draws_every_layer_compressed_or_kept():
    rows = make_rows()
    figure = layer_bars(rows)
    kept = next(trace for trace in figure.data if trace.name == "kept dense")
    assert [value for value in kept.x if value is not None] == [1024]
    assert figure.layout.yaxis.ticktext[-1] == "classifier"
    for text in (figure.layout.title.subtitle.text, figure.layout.meta["alt"]):
        assert "in these layers: params " in text  # a network has more: norms are no rows
    with pytest.raises(OptionError, match="rows"):
        layer_bars([])


def test_measured_points_join_seeds_with_their_standard_error():
    points = measured_points(make_table())
    assert len(points) == 6
    dense = [point for point in points if point.series == "dense"]
    assert [point.n for point in dense] == [2, 2]
    assert dense[0].top1 == pytest.approx(92.85)
    assert dense[0].error == pytest.approx(0.25)  # stdev of (92.6, 93.1) is 0.3536; over sqrt(2)
    assert measured_points([{"madds": 5, "top1": None}, {"madds": float("nan"), "top1": 3.0}]) == []
    assert measured_points([{"madds": 5, "top1": 3.0}])[0].error is None


def _runs(*settings):
    """Rows of real runs, each (id, seed, top1, madds, what of the training differs)."""
    return list(
        run_table(
            RunInfo(
                name,
                label=name,
                state="finished",
                config=load_config({"seed": seed, "label": name, "training": training}).to_dict(),
                summary={"params": 10, "madds": madds, "top1": top1},
            )
            for name, seed, top1, madds, training in settings
        )
    )


def test_measured_points_of_other_trainings_are_apart_and_say_so():
    short, long = {"epochs": 2}, {"epochs": 9}
    rows = _runs(("a", 0, 50.0, 100, short), ("b", 0, 90.0, 100, long), ("c", 0, 95.0, 200, long))
    assert sorted((point.top1, point.n) for point in measured_points(rows)) == [(50.0, 1), (90.0, 1), (95.0, 1)]
    traces = accuracy_vs_madds(rows).data
    assert sorted(tuple(trace.y) for trace in traces) == [(50.0,), (90.0, 95.0)]
    assert [trace.showlegend for trace in traces] == [True, False]
    hovers = {trace.y[0]: trace.customdata[0][0] for trace in traces}
    assert "2 epochs" in hovers[50.0] and "9 epochs" in hovers[90.0]
    assert "lr" not in hovers[50.0]  # the same everywhere


def test_measured_points_name_the_setting_if_no_column_differs():
    rows = _runs(("a", 0, 50.0, 100, {}), ("b", 0, 90.0, 100, {"weight_decay": 0.01}))
    assert {point.detail for point in measured_points(rows)} == {f"setting {row['setting']}" for row in rows}


def test_measured_points_count_the_newest_run_of_a_repeated_seed():
    rows = _runs(("20260102", 0, 92.0, 100, {}), ("20260101", 0, 60.0, 100, {}), ("20260101-b", 1, 94.0, 100, {}))
    (point,) = measured_points(rows)
    assert (point.top1, point.n, point.error) == (93.0, 2, pytest.approx(1.0))
    text = accuracy_vs_madds(rows).layout.title.subtitle.text
    assert "2 runs; bars" in text and "left out: 1 older run with the same seed" in text


def test_accuracy_vs_madds_keeps_reported_points_apart_with_their_source():
    figure = accuracy_vs_madds(make_table(), 1.5e6, [ReportedPoint("<i>A</i>", 1e6, 90.0, "model card", "A")])
    reported = next(trace for trace in figure.data if "reported" in trace.name)
    assert "model card" in reported.name
    assert reported.line.dash == "dash"
    assert reported.marker.symbol == "circle-open"
    assert reported.customdata[0][0] == "&lt;i&gt;A&lt;/i&gt;"
    star = next(trace for trace in figure.data if trace.name == "best within the budget")
    assert star.x[0] == 900_000
    assert star.y[0] == pytest.approx(94.85)


@pytest.mark.parametrize("name", ["bars", "live", "accuracy"])
def test_legend_below_lies_below_the_plot(name):
    layout = PICTURES[name]().layout
    assert layout.legend.yref == "container"
    assert 0 < layout.legend.y * layout.height < layout.margin.b


def test_routing_map_titles_fit_side_by_side_on_a_phone(moved, snapshot):
    titles = [note.text for note in routing_map(moved, snapshot).layout.annotations]
    assert max(len(line) for title in titles for line in title.split("<br>")) <= 20


def test_accuracy_vs_madds_uses_a_logarithmic_axis_for_a_wide_range():
    far = accuracy_vs_madds(make_table(), 1e6, IMAGENET)
    assert far.layout.xaxis.type == "log"
    assert far.layout.annotations[0].x == pytest.approx(6.0)
    assert far.layout.shapes[0].x0 == 1e6
    assert accuracy_vs_madds(make_table(), 1e6).layout.xaxis.type == "linear"


def test_live_run_marks_the_best_and_thins_long_series():
    figure = live_run(_metrics(10_000))
    assert max(len(trace.x) for trace in figure.data) <= MOST_POINTS
    assert any("60.50" in (trace.name or "") for trace in figure.data)


def test_live_run_marks_checkpoints_and_resumes():
    rows = [{"step": step, "split": "train", "loss": 1.0, "attempt": 1 + (step > 4)} for step in range(8)]
    figure = live_run(rows, [{"kind": "checkpoint", "step": 3}, {"kind": "started"}])
    assert {(line.x0, line.line.dash) for line in figure.layout.shapes} == {(3, "dot"), (5, "dash")}


def test_figures_show_names_with_markup_as_text():
    figure = epitome_atlas(make_snapshot(name="<img src=x>"))
    assert "<img" not in figure.layout.title.text
    assert "&lt;img" in layer_bars([dict(make_rows()[0], name="<img src=x>")]).layout.yaxis.ticktext[0]


def _plan_of(report, layers):
    shapes = {"weight_shape": (64, 64), "epitome_shape": (32, 64), "patch_channels": (32, 64)}
    how = {"routing": "tiled", "scope": "separable", "boundary": "clamp", "execution": "auto", "seed": 0}
    counts = {"dense": Counts(4096, 4096), "predicted": Counts(2048, 2048)}
    kept = {
        x.name: KeptLayer("linear", (64, 64), "", Counts(4096, 4096)) for x in report.layers if x.name not in layers
    }
    plans = {name: LayerPlan("linear", **shapes, **how, **counts) for name in layers}
    return CompressionPlan(plans, kept, Counts(1, 1), Counts(1, 1), None, (1, 64))


def test_sensitivity_draws_costs_measured_points_and_what_was_chosen():
    report = make_sensitivity(3)
    figure = sensitivity(report, _plan_of(report, ["blocks.1.fc"]))
    heat, measured, chosen = figure.data
    z = np.asarray(heat.z)
    assert z.shape == (3, len(heat.x)) and (np.diff(z, axis=1) >= 0).all() and heat.x[0] == 100 and (z[:, 0] == 0).all()
    assert len(measured.x) == 6 and set(measured.x) == {50.0, 25.0}
    assert list(chosen.x) == [100.0, 50.0, 100.0] and list(chosen.y) == [0, 1, 2]
    assert "<img" not in json.dumps(figure_json(sensitivity(make_sensitivity(1, name="<img src=x>")))["data"])


def test_sensitivity_refuses_an_empty_report_and_another_model():
    report = make_sensitivity(2)
    with pytest.raises(OptionError, match="no layer"):
        sensitivity(replace(report, layers=()))
    with pytest.raises(OptionError, match=r"no layer 'blocks.1.fc'.*the same model"):
        sensitivity(report, _plan_of(make_sensitivity(1), []))


def test_accuracy_vs_madds_says_which_runs_have_no_top1():
    own = {"madds": 10, "top1": 90.0}
    figure = accuracy_vs_madds([{"routing": None, "madds": 10, "error": 0.1}, own])
    assert "left out: 1 run without top-1 accuracy" in figure.layout.title.subtitle.text
    assert figure.data[0].name == "own points (measured)"
    assert "without top-1 accuracy" in accuracy_vs_madds([{"routing": None, "madds": 10}]).layout.annotations[-1].text
    assert len(accuracy_vs_madds(own).data) == 1
    with pytest.raises(OptionError, match="runs has 'x' in it"):
        accuracy_vs_madds(["x"])


def test_compared_runs_have_the_color_of_their_method(tmp_path):
    store = RunStore(tmp_path)
    ids = [
        write_run(store, label=str(seed), routing=routing, seed=seed) for routing in ("free", None) for seed in (0, 1)
    ]
    drawn = compare_runs([open_run(run_id, root=store.root) for run_id in ids]).data[::2]
    colors, dashes = ([getattr(trace.line, name) for trace in drawn] for name in ("color", "dash"))
    assert colors == [method_style("free").color] * 2 + [method_style("dense").color] * 2
    assert dashes == ["solid", "dash"] * 2
