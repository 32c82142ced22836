"""Who reads a cell of a flat epitome: counted one weight at a time, and listed by patch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nes_lab.errors import OptionError
from nes_lab.geometry.flat_geometry import FlatGeometry
from nes_lab.geometry.flat_reads import cell_readers, flat_reads, sharing_layers
from nes_lab.geometry.layer_snapshot import LayerSnapshot
from nes_lab.records.cell_table import cell_table


def layer(name: str, weight: tuple[int, ...], seed: int, whole: bool = False, reads: str = "a") -> LayerSnapshot:
    draw = np.random.default_rng(seed)
    geometry = FlatGeometry(weight, (40,), (2, 3), windows=2)
    starts = draw.uniform(-10, 60, geometry.starts_shape(0))
    return LayerSnapshot(
        name,
        np.zeros(40, np.float32),
        (starts.round() if whole else starts,),
        weight,
        (40,),
        geometry.patch_shape,
        "flat",
        "circular",
        windows=2,
        alpha=np.ones(geometry.starts_shape(0)),
        reads=reads,
    )


def by_hand(one: LayerSnapshot) -> np.ndarray:
    counts, geometry = np.zeros(40, int), one.geometry
    starts = one.starts[0]
    assert starts is not None
    kernel = geometry.patch_shape[2:]
    for out, inner, *rest in np.ndindex(*one.weight_shape):
        place = np.ravel_multi_index((out % 2, inner % 3, *rest), (2, 3, *kernel))
        for window in range(2):
            at = starts[out // 2, inner // 3, window] + place
            counts[int(np.floor(at)) % 40] += 1
            if at != np.floor(at):
                counts[(int(np.floor(at)) + 1) % 40] += 1
    return counts


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("weight", [(5, 7), (3, 4, 3), (4, 5, 2, 2)])
def test_reads_are_those_counted_by_hand(weight: tuple[int, ...], whole: bool) -> None:
    one = layer("a", weight, 1, whole)
    assert one.coverage().tolist() == by_hand(one).tolist()


def test_readers_of_all_cells_are_all_reads() -> None:
    layers = {"a": layer("a", (5, 7), 1), "b": layer("b", (4, 5, 2), 2), "other": layer("other", (4, 4), 3, reads="")}
    shared = sharing_layers(layers, "b")
    assert list(shared) == ["a", "b"] and list(sharing_layers(layers, "other")) == ["other"]
    found = [cell_readers(shared, cell) for cell in range(40)]
    total = sum(one.coverage() for one in shared.values())
    assert [len(readers) for readers in found] == total.tolist()
    assert all(
        reader.output_channels[1] < layers[reader.layer].weight_shape[0] for readers in found for reader in readers
    )


def test_table_of_readers_names_channels() -> None:
    starts = np.array([[[3], [20]]])
    one = replace(layer("a", (2, 5), 0), starts=(starts,), windows=1, alpha=None)
    (row,) = cell_table({"a": one}, "a", 5).rows
    assert row | {"alpha": 0} == {
        "name": "a",
        "output_channels": "0 to 1",
        "input_channels": "0 to 2",
        "window": 0,
        "cell_in_window": 2,
        "alpha": 0,
    }
    assert cell_table({"a": one}, "a", 22).rows == []  # the third input channel of the second patch is cropped


def test_cells_and_layers_that_are_not_there_are_refused() -> None:
    with pytest.raises(OptionError, match="cells 0 to 39"):
        cell_readers({"a": layer("a", (5, 7), 1)}, 40)
    with pytest.raises(OptionError, match="flat epitome"):
        flat_reads(replace(layer("a", (5, 7), 1), scope="joint", epitome_shape=(5, 7), windows=1).geometry, None)
