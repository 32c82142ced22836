"""Every widget has a PNG picture for places where widgets cannot be shown, and the picture follows what the widget shows."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from nes_lab.runs.handle import RunHandle
from nes_lab.runs.store import RunStore
from nes_lab.runs.writer import RunWriter
from nes_lab.widgets import BudgetExplorer, EpitomeExplorer, SamplerPlayground, StartExplorer, watch
from nes_lab.widgets.figure_view import FigureView
from tests.widgets.test_epitome_explorer import network
from tests.widgets.test_figure_view import figure


def bundle_of(widget):
    bundle = widget._repr_mimebundle_()
    return bundle[0] if isinstance(bundle, tuple) else bundle


def picture(widget):
    data = base64.b64decode(bundle_of(widget)["image/png"], validate=True)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    return np.asarray(Image.open(io.BytesIO(data)))


def changed(before, after):
    """Share of the pixels that differ."""
    assert before.shape == after.shape
    return (before != after).any(axis=-1).mean()


def test_a_playground_draws_its_epitome_and_its_starts():
    usual, other = SamplerPlayground(), SamplerPlayground(epitome=np.eye(6))
    assert changed(picture(usual), picture(SamplerPlayground())) == 0
    assert changed(picture(usual), picture(other)) > 0.2, "another epitome"
    before = picture(usual)
    usual.starts = [[0, 1, 2], [0, 2]]
    assert 0 < changed(before, picture(usual)) < 0.2, "the windows move, the epitome stays"


def test_an_explorer_draws_the_epitome_of_its_layer():
    torch.manual_seed(0)
    layer = network()[0]
    before = picture(EpitomeExplorer(layer))
    with torch.no_grad():
        layer.epitome.neg_()
    assert changed(before, picture(EpitomeExplorer(layer))) > 0.2
    bundle = bundle_of(EpitomeExplorer(layer))
    assert f"data:image/png;base64,{bundle['image/png']}" in bundle["text/html"], "pages that prefer HTML show it too"


def test_a_budget_explorer_draws_its_plan():
    dense = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    widget = BudgetExplorer(dense, torch.zeros(1, 64), madds="90%")
    before = picture(widget)
    widget.choose(madds="40%")
    after = picture(widget)
    places = [np.argwhere((each == (213, 94, 0)).all(axis=-1)).mean(axis=0) for each in (before, after)]
    assert changed(before, after) > 0.01
    assert places[1][0] > places[0][0] and places[1][1] < places[0][1], "the point moves down and to the left"


def test_a_start_explorer_and_a_figure_draw_what_they_show():
    widget = StartExplorer([0.0, 1.0, 3.0, 2.0], length=2)
    before = picture(widget)
    widget.slider.value = 1.5
    assert changed(before, picture(widget)) > 0.01
    view = FigureView(figure())
    before = picture(view)
    view.figure = figure().update_traces(y=[3, 2, 1])
    assert changed(before, picture(view)) > 0.001


def test_a_figure_that_cannot_be_drawn_has_no_picture():
    view = FigureView(figure().add_pie(values=[1, 2]))
    assert "image/png" not in bundle_of(view) and "application/vnd.plotly.v1+json" in bundle_of(view)


@pytest.mark.parametrize("worse", [False, True])
def test_a_watched_run_draws_its_curves(tmp_path, worse):
    store = RunStore(tmp_path)
    run = RunHandle(store, store.create({}))
    with RunWriter(store, run.id) as writer:
        writer.status("running", step=0, total=60)
        assert "image/png" not in bundle_of(watch(run)), "there is no curve yet"
        for step in (10, 20, 30):
            writer.metric(step=step, epoch=1, split="train", loss=step if worse else 1 / step, images_per_s=100.0)
        writer.status("finished", step=60, total=60)
    shown = picture(watch(run))
    blue = np.argwhere(shown[..., 2] - shown[..., 0].astype(int) > 80)
    blue = blue[blue[:, 0] < shown.shape[0] * 0.3]  # the loss is at the top
    ends = [blue[blue[:, 1] == column, 0].mean() for column in (blue[:, 1].min(), blue[:, 1].max())]
    assert bool(ends[1] < ends[0]) == worse, "a loss that grows goes up"
