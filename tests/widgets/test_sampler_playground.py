"""The playground: its weight, its slopes and its counts are the library's, and the window moves by pointer and by keys."""

from __future__ import annotations

import base64

import numpy as np
import pytest
import torch

import nes_lab
from nes_lab.errors import OptionError
from nes_lab.figures.explorer_data import static_js
from nes_lab.widgets.sampler_playground import SamplerPlayground
from tests.app.browser import browse

ROWS, COLUMNS = [0.0, 1.3, 2.0], [0.6, 2.0]


def layer_like(playground, routing="free"):
    out, into = playground.data["weightShape"]
    shape = playground.data["epitomeShape"]
    return nes_lab.EpitomeLinear(into, out, bias=False, epitome_shape=shape, patch_channels=4, routing=routing)


def test_its_weight_and_its_count_are_those_of_a_layer():
    playground = SamplerPlayground()
    layer = layer_like(playground)
    with torch.no_grad():
        layer.epitome.copy_(torch.tensor(playground.data["epitome"]).reshape(6, 6))
        for axis, starts in enumerate(playground.starts):
            layer.routing.set_starts_(axis, torch.tensor(starts))
    np.testing.assert_allclose(playground.weight, layer.weight.detach().numpy(), atol=1e-6)
    assert playground.madds["total"] == nes_lab.count(layer, torch.zeros(1, 8)).madds == 76
    playground.starts = [[0, 1, 2], [0, 2]]
    whole = nes_lab.count(layer_like(playground, routing="tiled"), torch.zeros(1, 8)).madds
    assert playground.madds["total"] == whole == 36
    playground.starts = [[0, 1.5, 2], [0, 2]]
    assert playground.madds == {"dense": 96, "cells": 36, "rows": 24, "columns": 0, "total": 60}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epitome": np.zeros((3, 6))}, r"epitome has shape \(3, 6\)"),
        ({"epitome": np.full((6, 6), np.nan)}, "finite"),
        ({"row_starts": [2.1]}, r"row_starts=\[2.1\]; give one to six numbers from 0 to 2"),
        ({"column_starts": []}, "column_starts"),
    ],
)
def test_it_names_what_is_wrong(given, message):
    with pytest.raises(OptionError, match=message):
        SamplerPlayground(**given)


def derivative(playground, axis, patch):
    """The patch's derivative with respect to one of its starts, by a small step inside the cell."""
    step = 1e-3
    before = playground.weight
    starts = [list(each) for each in playground.starts]
    starts[axis][patch[axis]] += step if starts[axis][patch[axis]] < 2 else -step
    moved = SamplerPlayground(None, *starts).weight
    rows, columns = (slice(4 * index, 4 * index + 4) for index in patch)
    return ((moved - before) / (starts[axis][patch[axis]] - playground.starts[axis][patch[axis]]))[rows, columns]


@pytest.mark.browser
def test_the_browser_computes_the_same_and_the_window_moves():
    playground = SamplerPlayground(None, ROWS, COLUMNS)
    data = {**playground.data, "starts": playground.starts, "patch": [1, 0]}
    code = base64.b64encode(static_js("sampling", "numbers", "colors", "playground").encode()).decode()
    with browse() as (page, faults):
        page.set_content("<div id=here style='width:900px'></div>")
        page.evaluate(
            "async ([code, data]) => { window.nes = await import('data:text/javascript;base64,' + code); window.told = []; "
            "nes.mount(here, data, { onChange: (all) => told.push(JSON.parse(JSON.stringify(all))) }) }",
            [code, data],
        )
        for patch in ([1, 0], [2, 1]):
            for axis in (0, 1):
                slopes = page.evaluate("([patch, axis]) => nes.slopes(here.nesPlay.layer, patch, axis)", [patch, axis])
                np.testing.assert_allclose(slopes, derivative(playground, axis, patch), atol=1e-5)
        assert page.evaluate("nes.counts(here.nesPlay.layer).total") == playground.madds["total"]
        epitome = page.locator("[data-part=epitome]")
        box = epitome.bounding_box()
        cell = box["width"] / 6
        page.mouse.move(box["x"] + 2 * cell, box["y"] + 3 * cell)
        page.mouse.down()
        page.mouse.move(box["x"] + 3 * cell, box["y"] + 2.5 * cell, steps=3)
        page.mouse.up()
        told = page.evaluate("told")
        assert len(told) == 1, "one answer per drag"
        assert told[0]["starts"][0] == [0, pytest.approx(0.8, abs=0.02), 2]
        assert told[0]["starts"][1] == [pytest.approx(1.6, abs=0.02), 2]
        epitome.press("Shift+ArrowRight")
        epitome.press("ArrowUp")
        last = page.evaluate("told.at(-1).starts")
        assert last[1][0] == 2 and last[0][1] == pytest.approx(told[0]["starts"][0][1] - 0.05, abs=0.001)
        page.click("text=Round all starts")
        assert page.locator("tr.sum").inner_text().split() == ["with", "the", "epitome", "36"]
        page.mouse.click(*[page.locator("[data-part=weight]").bounding_box()[side] + 5 for side in "xy"])
        assert page.evaluate("told.at(-1).patch") == [0, 0]
        assert not faults
