"""The explorer's own arithmetic in a browser equals the library's, and its panes agree."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

import nes_lab
from nes_lab.errors import OptionError
from nes_lab.figures.explorer_data import explorer_data, explorer_js
from nes_lab.figures.theme import plot_js
from nes_lab.geometry.flat_reads import cell_readers
from nes_lab.nn.inspect import snapshot_layers
from tests.app.browser import browse
from tests.shared_epitomes import shared_net

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
def page() -> Iterator:
    """A page of Chromium that has the explorer's code as ``nes``."""
    code = base64.b64encode(explorer_js().encode()).decode()
    with browse() as (page, faults):
        page.set_content("<div id='place'></div>")
        page.evaluate(
            "async code => { window.nes = await import('data:text/javascript;base64,' + code); "
            "window.nesLayer = data => ({...data, starts: data.starts.at(-1), "
            "epitome: nes.decodeCells(data.epitomes[data.steps.at(-1)], data.factors[data.steps.at(-1)])}) }",
            code,
        )
        yield page
        assert not faults


@pytest.fixture(scope="module")
def sampling(page) -> Callable:
    """Run a function of the explorer's arithmetic in Chromium, on a layer and more arguments."""
    return lambda call, data, *more: page.evaluate(f"([data, more]) => {call}", [data, more])


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


FLAT = {
    "whole starts": {"routing": "random", "windows": 2},
    "between cells": {"routing": "free", "windows": 3, "patch_channels": 5},  # cropped along both axes
    "int8": {"routing": "free", "windows": 1, "epitome_dtype": "int8"},
}
FLAT_JS = """(() => {
    const [kernels, positions, patch, cell] = more, view = new nes.FlatView(data);
    view.compute(0, 0, "value");
    view.readers([cell]);
    const sum = (at) => nes.flatTerms(view.layer, at).reduce((total, term) => total + term.factor * term.value, 0);
    return {
        weight: kernels.map((kernel) => Array.from(view.weightOf(view.layer, kernel).values)),
        numbers: positions.map(sum),
        alphas: view.sums(patch).windows.map(({ alpha }) => alpha),
        starts: view.sums(patch).windows.map(({ start }) => start),
        patch: Array.from(view.sums(patch).values),
        counts: Array.from(view.countsBy(view.layersNow().find((reader) => reader.name === data.name))),
        reads: view.readersAt.all.flatMap(({ name, found }) => found.map((f) => [name, f.row, f.column, f.window, f.place])),
        hits: view.readers([cell]).every(({ rows, columns, kernel, window }) =>
            nes.flatTerms(view.layer, [rows[0], columns[0], ...view.kernels[kernel]]).some((t) => t.cell === cell && t.window === window)),
    };
})()"""


@pytest.mark.browser
@pytest.mark.parametrize("kind", FLAT)
def test_browser_sums_the_windows_of_a_shared_epitome_as_materialize_does(kind: str, sampling):
    """A 3x3 convolution, a 1x1 convolution and a linear layer read one epitome; their last patches are cropped."""
    network = shared_net(**FLAT[kind], include=("*",)).eval()
    layers, plain = snapshot_layers(network), nes_lab.materialize(network)
    cell = int(np.argmax(sum(layer.coverage() for layer in layers.values())))
    reads = [
        [r.layer, r.output_channels[0] // tall, r.input_channels[0] // wide, r.window, r.place]
        for r in cell_readers(layers, cell)
        for tall, wide in [layers[r.layer].patch_shape[:2]]
    ]
    for name, layer in layers.items():
        weight = plain.get_submodule(name).weight.detach().numpy()
        kernels = list(np.ndindex(weight.shape[2:]))
        drawn = np.random.default_rng(0).integers(0, weight.shape, size=(30, weight.ndim))
        patch = [-(-size // step) - 1 for size, step in zip(weight.shape, layer.patch_shape[:2], strict=False)]
        data = json.loads(json.dumps(explorer_data({0: layer}, layers={0: layers})))
        seen = sampling(FLAT_JS, data, kernels, drawn.tolist(), patch, cell)
        shown = np.stack([np.reshape(values, weight.shape[:2]) for values in seen["weight"]], -1)
        np.testing.assert_allclose(shown.reshape(weight.shape), weight, atol=2e-6)
        np.testing.assert_allclose(seen["numbers"], weight[tuple(drawn.T)], atol=2e-6)
        last = weight[tuple(slice(at * step, None) for at, step in zip(patch, layer.patch_shape[:2], strict=True))]
        block = np.reshape(seen["patch"], layer.patch_shape)[: last.shape[0], : last.shape[1]]
        np.testing.assert_allclose(block, last, atol=2e-6)
        assert layer.alpha is not None and layer.starts[0] is not None
        np.testing.assert_allclose(seen["alphas"], layer.alpha[tuple(patch)], rtol=1e-6)
        np.testing.assert_allclose(seen["starts"], layer.starts[0][tuple(patch)] % layer.epitome_shape[0], atol=1e-3)
        assert seen["counts"] == layer.coverage().tolist()
        assert sorted(seen["reads"]) == sorted(reads) and seen["hits"]


@pytest.mark.browser
def test_the_panes_of_a_shared_epitome_follow_patches_and_cells(page):
    network = shared_net("free", include=("*",)).eval()
    layers = snapshot_layers(network)
    weight = nes_lab.materialize(network)[7].weight.detach().numpy()
    patches = {
        cell: min((r.output_channels[0], r.input_channels[0]) for r in cell_readers({"7": layers["7"]}, cell))
        for cell in range(9, 60)
    }
    cell, first = next((cell, first) for cell, first in patches.items() if first[1])
    start = "([data, view]) => nes.mount(document.getElementById('place'), data, {view, onView: view => (window.nesView = view)}) && 0"
    steps = {0: snapshot_layers(shared_net("free", include=("*",), seed=3)), 9: layers}
    data = explorer_data({step: each["7"] for step, each in steps.items()}, layers=steps)
    page.evaluate(start, [data, {"cell": str(cell)}])
    words, store = (page.locator(f'[data-part="{name}"]') for name in ("words", "epitome"))
    words.get_by_text(f"Cell {cell} of the epitome").wait_for()
    text = words.inner_text()
    counts = Counter(each.layer for each in cell_readers(layers, cell))
    assert all(f"{name} {count} time" in text for name, count in counts.items())
    rows = page.evaluate("document.getElementById('place').nesExplorer.panes.get('window').table()")
    block = weight[first[0] : first[0] + 4, first[1] : first[1] + 4]  # of the first patch that reads the cell
    np.testing.assert_allclose([row[-1] for row in rows[1:]][: block.size], block.ravel(), atol=2e-6)
    store.press("ArrowRight")
    words.get_by_text(f"Cell {cell + 1} of the epitome").wait_for()
    page.wait_for_function(f"window.nesView?.cell === '{cell + 1}'")
    store.press("Escape")
    page.locator('[data-part="weight"]').press("ArrowRight")
    words.get_by_text("Patch (0, 1)", exact=True).or_(
        words.get_by_role("heading", name="Patch (0, 1)")
    ).first.wait_for()
    assert f"factor {layers['7'].alpha[0, 1, 1]:.3f}".replace("-", "−") in words.inner_text()
    ruler = page.evaluate("document.getElementById('place').nesExplorer.views[0].ruler")
    store.click(position={"x": ruler["left"] + 3.5 * ruler["scale"], "y": ruler["top"] + 0.5 * ruler["scale"]})
    words.get_by_text("Cell 3 of the epitome").wait_for()
    for color in ("reuse", "change", "gradient", "value"):
        page.locator('[data-part="color"]').select_option(color)
    for pane in ("epitome", "window"):
        with page.expect_download() as download:
            page.locator(f'[data-file="svg"][data-pane="{pane}"]').click()
        assert ElementTree.parse(download.value.path()).getroot().tag.endswith("svg")


@pytest.mark.browser
def test_a_shared_epitome_is_compared_with_one_that_has_axes(page):
    layer = snapshot_layers(shared_net("free"))["7"]
    axes = nes_lab.EpitomeLinear(48, 10, epitome_shape=(6, 24), patch_channels=(4, 8)).snapshot("7")
    page.evaluate("document.body.innerHTML = '<div id=place></div>'")
    start = "([data, other]) => nes.mount(document.getElementById('place'), data, {others: [other]}) && 0"
    page.evaluate(start, [explorer_data({0: layer}, "shared"), explorer_data({0: axes}, "axes")])
    for pane, heads in (
        ("epitome", ("Cell 1 of the epitome", "Patch (0, 0)")),
        ("epitome-1", ("Patch (0, 0)", "Cell (0, 1) of the epitome")),
    ):
        for _ in range(2):
            page.locator(f'[data-part="{pane}"]').press("ArrowRight")
        for end, head in zip(("", "-1"), heads, strict=True):  # a cell of one epitome is not one of the other
            page.locator(f'[data-part="words{end}"] h3').get_by_text(head).wait_for()


def test_the_steps_of_a_flat_epitome_repeat_no_starts_and_name_its_readers():
    layers = snapshot_layers(shared_net("random"))
    moved = snapshot_layers(shared_net("random", seed=3))
    bare = {name: replace(layer, alpha=None) for name, layer in layers.items()}
    steps = {0: layers, 5: bare, 9: moved}
    data = explorer_data({step: each["7"] for step, each in steps.items()}, layers=steps)
    assert [reader["name"] for reader in data["readers"]] == ["0", "2", "7"]
    assert all(reader["starts"][1] is None and reader["starts"][2] for reader in data["readers"])
    assert list(data["alphas"]) == ["0", "9"]
    assert [reader["name"] for reader in explorer_data({0: layers["7"]})["readers"]] == ["7"]
    with pytest.raises(OptionError, match="no snapshot with the factors"):
        explorer_data({5: bare["7"]})


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
