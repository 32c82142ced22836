"""Figures take what the library returns: plans, reports, layers and runs; without plotly they say what to install."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.errors import OptionError
from nes_lab.figures.theme import figure_json
from nes_lab.runs import layout
from nes_lab.runs.handle import RunHandle
from nes_lab.runs.store import RunStore
from tests.figures.samples import write_run
from tests.house.tree import ROOT

X = torch.zeros(1, 64)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.Linear(64, 4))


@pytest.fixture(scope="module")
def plan(network):
    return nes_lab.plan_for_budget(network, nes_lab.Budget(params="60%"), X)


@pytest.fixture(scope="module")
def run(tmp_path_factory, plan):
    store = RunStore(tmp_path_factory.mktemp("runs"))
    run = RunHandle(store, write_run(store))
    (run.folder / layout.PLAN).write_text(plan.to_json())
    return run


def _same(one, other):
    assert figure_json(one) == figure_json(other)


def test_layer_bars_takes_plan_report_and_run(network, plan, run):
    _same(nes_lab.figures.layer_bars(plan), nes_lab.figures.layer_bars(plan.rows()))
    counted = nes_lab.figures.layer_bars(nes_lab.count(nes_lab.compress(network, plan), X))
    assert list(counted.layout.yaxis.ticktext) == ["0", "2"]  # a norm has no weight to share
    assert list(counted.data[0].x) == list(nes_lab.figures.layer_bars(plan).data[0].x)  # params of the dense layers
    _same(nes_lab.figures.layer_bars(run), nes_lab.figures.layer_bars(run.plan))


def test_layer_bars_refuses_a_run_without_a_plan(tmp_path):
    store = RunStore(tmp_path)
    with pytest.raises(OptionError, match="has no compression plan"):
        nes_lab.figures.layer_bars(RunHandle(store, store.create({"seed": 0})))


def test_fit_residuals_takes_a_report(network, plan):
    _, report = nes_lab.fit(network, plan)
    _same(nes_lab.figures.fit_residuals(report), nes_lab.figures.fit_residuals(report.rows()))


def test_live_run_takes_a_run(run):
    _same(nes_lab.figures.live_run(run), nes_lab.figures.live_run(run.metrics().rows, run.events()))


@pytest.mark.parametrize("name", ["epitome_atlas", "patches_on_epitome", "routing_map", "coverage"])
def test_figures_of_a_layer_take_the_layer(name):
    layer = nes_lab.EpitomeConv2d(8, 16, 3, epitome_shape=(8, 4, 3, 3), patch_channels=(4, 2), routing="free")
    draw = getattr(nes_lab.figures, name)
    _same(draw(layer), draw(layer.snapshot()))
    if name != "epitome_atlas":
        draw(layer.routing_map())
    with pytest.raises(OptionError, match="layer is a Linear"):
        draw(nn.Linear(2, 2))


def test_start_trajectories_takes_a_run_and_the_name_of_a_layer(run):
    snapshots = run.snapshots()
    name = next(iter(snapshots[max(snapshots)]))
    pairs = [(step, layers[name]) for step, layers in sorted(snapshots.items())]
    _same(nes_lab.figures.start_trajectories(run, name), nes_lab.figures.start_trajectories(pairs))
    _same(nes_lab.figures.start_trajectories(snapshots), nes_lab.figures.start_trajectories(run))
    with pytest.raises(OptionError, match=r"layer='nothing' is not in the snapshots"):
        nes_lab.figures.start_trajectories(run, "nothing")


def test_accuracy_vs_madds_takes_runs_and_their_infos(run):
    _same(nes_lab.figures.accuracy_vs_madds([run]), nes_lab.figures.accuracy_vs_madds([run.info]))


def test_accuracy_vs_madds_takes_plain_points_and_calls_none_dense():
    points = [{"name": "a", "madds": 10, "top1": 50.0, "error": 0.5}, {"name": "b", "madds": 20, "top1": 60.0}]
    figure = nes_lab.figures.accuracy_vs_madds(points)
    assert [trace.name for trace in figure.data] == ["a (measured)", "b (measured)"]
    assert np.asarray(figure.data[0].error_y.array).tolist() == [0.5]
    joined = nes_lab.figures.accuracy_vs_madds([point | {"series": "mine"} for point in points])
    assert [(trace.name, len(trace.x)) for trace in joined.data] == [("mine (measured)", 2)]
    given = nes_lab.figures.MeasuredPoint("mine", "a", 10, None, 50.0, 0.5, 3)
    assert nes_lab.figures.accuracy_vs_madds([given]).data[0].customdata[0][3] == 3


PAGE = (ROOT / "docs/figures.md").read_text(encoding="utf-8")


def test_figures_page_lists_every_figure_and_its_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/figures.md", "exec"), {"__name__": "page"})
    assert (tmp_path / "coverage.html").exists()
    functions = {name for name in nes_lab.figures.__all__ if inspect.isfunction(getattr(nes_lab.figures, name))}
    assert functions == {name for name in functions if f"`{name}" in PAGE}


CODE = """
import sys
import nes_lab
assert "plotly" not in sys.modules and "ipywidgets" not in sys.modules
assert "figures" in dir(nes_lab) and "figures" not in nes_lab.__all__
print(nes_lab.figures.layer_bars.__name__, callable(nes_lab.figures.coverage), nes_lab.widgets.StartExplorer.__name__)
assert "captum" not in sys.modules
print(nes_lab.attribution.attribute.__name__)
"""
MISSING = """
import sys
sys.modules["plotly"] = sys.modules["ipywidgets"] = sys.modules["captum"] = None
import nes_lab
for name in ("figures", "widgets", "attribution"):
    try:
        getattr(nes_lab, name)
    except ModuleNotFoundError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (CODE, "layer_bars True StartExplorer\nattribute"),
        (
            MISSING,
            "drawing figures needs plotly, which is not installed; install it with: pip install 'nes-lab[train]'\n"
            "showing widgets needs ipywidgets, which is not installed; install it with: pip install 'nes-lab[notebooks]'\n"
            "attributing answers to inputs needs captum, which is not installed; install it with: pip install 'nes-lab[explain]'",
        ),
    ],
)
def test_figures_are_a_namespace_that_loads_when_used(code, says):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == says, done.stderr
