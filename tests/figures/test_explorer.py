"""The explorer's own arithmetic in a browser equals the library's, and its panes agree."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

import nes_lab
from nes_lab.errors import OptionError
from nes_lab.figures.explorer_data import explorer_data, explorer_js
from nes_lab.figures.theme import plot_js
from tests.app.browser import browse

CONV = nes_lab.EpitomeConv2d
LAYERS = {
    "1x1": lambda: CONV(48, 32, 1, epitome_shape=(20, 12, 1, 1), patch_channels=(8, 5), routing="free"),
    "3x3": lambda: CONV(16, 24, 3, epitome_shape=(10, 9, 3, 3), patch_channels=(4, 7), routing="free"),
    "kernel axes": lambda: CONV(16, 24, 3, epitome_shape=(10, 9, 5, 4), patch_channels=(4, 7), routing="free"),
    "joint": lambda: CONV(16, 24, 3, epitome_shape=(9, 10, 4, 3), patch_channels=4, routing="free", scope="joint"),
    "circular": lambda: CONV(
        20, 24, 1, epitome_shape=(9, 10, 1, 1), patch_channels=6, routing="free", boundary="circular"
    ),
    "circular joint": lambda: CONV(
        20, 24, 3, epitome_shape=(9, 10, 3, 3), patch_channels=6, routing="free", boundary="circular", scope="joint"
    ),
    "grouped": lambda: CONV(16, 24, 3, groups=4, epitome_shape=(12, 3, 3, 3), patch_channels=(6, 2), routing="free"),
    "1-D": lambda: nes_lab.EpitomeConv1d(16, 24, 5, epitome_shape=(12, 9, 5), patch_channels=(8, 8), routing="free"),
    "Linear": lambda: nes_lab.EpitomeLinear(40, 30, epitome_shape=(17, 40), patch_channels=(7, 40), routing="free"),
    "tiled": lambda: nes_lab.EpitomeLinear(40, 30, epitome_shape=(17, 20)),
    "random": lambda: CONV(40, 30, 3, epitome_shape=(17, 20, 3, 3), patch_channels=5, routing="random"),
}


@pytest.fixture(scope="module")
def sampling() -> Iterator:
    """Run a function of the explorer's arithmetic in Chromium, on a layer and more arguments."""
    code = base64.b64encode(explorer_js().encode()).decode()
    with browse() as (page, faults):
        page.set_content("<p>sampling</p>")
        page.evaluate(
            "async code => { window.nes = await import('data:text/javascript;base64,' + code); "
            "window.nesLayer = data => ({...data, starts: data.starts.at(-1), "
            "epitome: nes.decodeCells(data.epitomes[data.steps.at(-1)], data.factors[data.steps.at(-1)])}) }",
            code,
        )
        yield lambda call, data, *more: page.evaluate(f"([data, more]) => {call}", [data, more])
        assert not faults


def _layer(kind: str) -> nes_lab.EpitomeLayer:
    torch.manual_seed(0)
    layer = LAYERS[kind]()
    with torch.no_grad():
        layer.epitome.normal_()
        for parameter in layer.routing.parameters():
            parameter.add_(torch.rand_like(parameter) * 3)  # between cells, and some beyond the end
    return layer.eval()


@pytest.mark.browser
@pytest.mark.parametrize("kind", LAYERS)
def test_browser_computes_the_weight_that_materialize_gives(kind: str, sampling):
    layer = _layer(kind)
    snapshot = layer.snapshot("layer")
    data = json.loads(json.dumps(explorer_data({0: snapshot})))
    weight = nes_lab.materialize(torch.nn.Sequential(layer))[0].weight.detach().numpy()
    kernels = list(np.ndindex(weight.shape[2:]))
    matrices = sampling(
        "more[0].map(kernel => Array.from(nes.weightMatrix(nesLayer(data), kernel).values))", data, kernels
    )
    for kernel, values in zip(kernels, matrices, strict=True):
        expected = weight[(slice(None), slice(None), *kernel)]
        assert np.abs(np.reshape(values, expected.shape) - expected).max() < 2e-6, kernel  # float32 rounding of a blend
    drawn = np.random.default_rng(0).integers(0, weight.shape, size=(50, weight.ndim))
    sums = sampling(
        "more[0].map(at => nes.terms(nesLayer(data), at).reduce((sum, term) => sum + term.factor * term.value, 0))",
        data,
        drawn.tolist(),
    )
    assert np.abs(np.array(sums) - weight[tuple(drawn.T)]).max() < 2e-6
    counts = sampling("Array.from(nes.readCounts(nesLayer(data)).values)", data)
    assert np.array_equal(np.reshape(counts, snapshot.epitome_shape[:2]), snapshot.coverage())


def test_explorer_data_needs_an_epitome():
    layer = nes_lab.EpitomeLinear(16, 16, epitome_shape=(8, 8)).snapshot("fc")
    starts_only = replace(layer, epitome=None)
    with pytest.raises(OptionError, match="no snapshot with an epitome"):
        explorer_data({0: starts_only})
    data = explorer_data({0: layer, 5: starts_only})
    assert data["steps"] == [0, 5] and list(data["epitomes"]) == ["0"]
    text = data["epitomes"]["0"]
    assert np.array_equal(np.frombuffer(base64.b64decode(text), "<f4").reshape(8, 8), layer.epitome)


@pytest.mark.browser
def test_rounded_epitomes_and_gradients_travel_as_8_bit_integers(sampling):
    layer = _layer("Linear").snapshot("fc")
    factor = np.float32(np.abs(layer.epitome).max() / 127)
    rounded = np.rint(layer.epitome / factor).astype(np.int8) * factor
    data = explorer_data({5: replace(layer, epitome=rounded, is_rounded=True, gradient=-rounded)})
    assert len(base64.b64decode(data["epitomes"]["5"])) == rounded.size
    for kind, values in (("epitomes", rounded), ("gradients", -rounded)):
        factors = "factors" if kind == "epitomes" else "gradientFactors"
        seen = sampling(f"Array.from(nes.decodeCells(data.{kind}[5], data.{factors}[5]))", data)
        np.testing.assert_allclose(seen, values.ravel(), rtol=1e-5)


@pytest.mark.browser
@pytest.mark.parametrize("kind", ["3x3", "joint", "circular joint", "tiled"])
def test_the_readers_of_a_cell_are_counted_as_coverage_counts_them(kind: str, sampling):
    snapshot = _layer(kind).snapshot("layer")
    counts = snapshot.coverage()
    cells = [[0, 0], list(np.unravel_index(counts.argmax(), counts.shape))]
    call = "more[0].map(cell => nes.readersOf(nesLayer(data), cell).reduce((sum, reader) => sum + reader.count, 0))"
    found = sampling(call, explorer_data({0: snapshot}), [list(map(int, cell)) for cell in cells])
    assert found == [counts[tuple(cell)] for cell in cells]


@pytest.mark.browser
@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (
            [0, 4, 4, 4],
            [0, 4, 4, 4.1],
            "3 starts lie within half a cell of another since the first step; none came that close later.",
        ),
        ([0, 2, 4, 6], [0, 4, 4.1, 6], "Starts: 2 came that close later."),
    ],
)
def test_the_explorer_tells_starts_that_came_close_from_those_that_began_so(first, last, words, sampling):
    layer = _layer("1x1").snapshot("layer")
    data = explorer_data({0: layer, 5: layer})
    inputs = [0.7 * place for place in range(10)]
    data |= {"starts": [[first, inputs], [last, inputs]]}
    call = "(() => { const view = new nes.LayerView(data); view.compute(5, 0, 'value'); return nes.finding(view, 'value') })()"
    assert words in sampling(call, data)


def test_explorer_js_is_small_and_complete():
    text = explorer_js()
    assert len(text.encode()) < 150_000 and "import " not in text.split("class Explorer")[0].split("*/")[-1]
    assert "plotly" not in text.lower() and "http" not in text.replace("http://www.w3.org/2000/svg", "")
    text = plot_js()
    assert len(text.encode()) < 150_000 and "import {" not in text and "export function drawHandles" in text
