"""Pictures of flat epitomes show every cell and every reader."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import nes_lab
from nes_lab import figures
from nes_lab.errors import OptionError
from nes_lab.nn.inspect import snapshot_layers
from tests.shared_epitomes import shared_net

LAYERS = snapshot_layers(shared_net("free"))


def test_shared_epitome_shows_all_cells_and_all_layers() -> None:
    figure = figures.shared_epitome(LAYERS, "2", cell=5)
    cells, reads = figure.data[:2]
    values = np.asarray(cells.z).ravel()
    assert np.array_equal(values[~np.isnan(values)], LAYERS["0"].epitome)
    assert list(reads.y) == ["0", "2", "7"]
    means = np.asarray(reads.z).mean(1)
    for mean, layer in zip(means, LAYERS.values(), strict=True):
        assert mean == pytest.approx(layer.coverage().mean(), rel=0.05)
    assert "Cell 5 is read" in figure.layout.title.subtitle.text
    marked = figure.data[2]
    assert np.asarray(cells.customdata)[marked.y[0], marked.x[0], 0] == 5


def test_every_picture_of_a_layer_draws_a_flat_one() -> None:
    layer = LAYERS["7"]
    moved = dict(snapshot_layers(shared_net("free", seed=3)).items())
    assert np.nansum(figures.coverage(layer).data[0].z) == pytest.approx(layer.coverage().sum())
    change = figures.epitome_atlas(layer, moved["7"], "change")
    assert "change since the first step" in change.layout.title.subtitle.text
    lines = figures.patches_on_epitome(layer).data
    assert len(lines) == 12 and all(max(x for x in line.x if x is not None) < layer.epitome_shape[0] for line in lines)
    starts = np.asarray(figures.routing_map(layer).data[0].z)
    assert starts.shape == (3, 24)
    assert "the epitome: 72 starts" in figures.start_trajectories([(0, layer), (5, layer)]).layout.annotations[0].text
    assert figures.start_moves([(0, LAYERS), (5, LAYERS)]).starts == sum(s.starts[0].size for s in LAYERS.values())


def test_large_epitomes_are_drawn_as_means() -> None:
    layer = nes_lab.EpitomeLinear(400, 400, epitome_shape=(150_000,), scope="flat", routing="random")
    z = np.asarray(figures.epitome_atlas(layer).data[0].z)
    assert max(z.shape) <= 256
    assert np.nanmean(z) == pytest.approx(layer.epitome.mean().item(), abs=1e-3)


def test_patch_chooser_marks_the_cells_of_all_windows() -> None:
    layer = snapshot_layers(shared_net("random"))["7"]
    assert layer.alpha is not None and layer.starts[0] is not None
    figure = figures.patch_chooser(layer)
    width = np.asarray(figure.data[0].z).shape[1]
    steps = figure.layout.sliders[0].steps
    wrapping = 0
    for (row, column), step in zip(np.ndindex(3, 12), steps, strict=False):
        xs, ys = (np.array(step.args[0][axis][1], float).reshape(-1, 6) for axis in "xy")
        marked = [int(y[0] + 0.5) * width + np.arange(x[0] + 0.5, x[1] + 0.5) for x, y in zip(xs, ys, strict=True)]
        starts = layer.starts[0][row, column]
        read = (starts[:, None] + np.arange(16)) % layer.epitome_shape[0]
        assert sorted(np.concatenate(marked)) == sorted(read.ravel())
        wrapping += len(xs) > 2
        assert (
            step.label.startswith(f"({row}, {column}): ")
            and f"{layer.alpha[row, column, 1]:.2g} × cells from {starts[1]:g}" in step.label
        )
    assert wrapping  # a window continues on the next line or at the first cell


def test_pictures_that_cannot_draw_it_say_which_can() -> None:
    with pytest.raises(OptionError, match="patches_on_epitome draws it"):
        figures.patch_chooser(replace(LAYERS["0"], epitome=None))
    plain = nes_lab.EpitomeLinear(8, 8, epitome_shape=(4, 4)).snapshot("fc")
    with pytest.raises(OptionError, match="scope='separable'"):
        figures.shared_epitome({"fc": plain}, "fc")


def test_snapshots_of_layers_that_share_hold_one_array() -> None:
    assert {layer.reads for layer in LAYERS.values()} == {"0"}
    assert len({id(layer.epitome) for layer in LAYERS.values()}) == 1
    alone = snapshot_layers(torch.nn.Sequential(nes_lab.EpitomeLinear(8, 8, epitome_shape=(4, 4))))
    assert alone["0"].reads == ""
