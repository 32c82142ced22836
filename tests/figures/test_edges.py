"""Figures of unusual inputs: very many starts, infinite cells, and series that come and go."""

from __future__ import annotations

import warnings

import numpy as np

import nes_lab
from nes_lab.figures import accuracy_vs_madds
from nes_lab.figures.grids import shrink
from nes_lab.figures.start_trajectories import NEAR, collapsed_starts, start_trajectories


def test_collapsed_starts_of_many_starts_need_little_memory_and_are_those_of_a_table() -> None:
    draw = np.random.default_rng(0)
    few = draw.uniform(0, 40, (2, 60)).round(1)
    counts = [(np.abs(row[:, None] - row[None, :]) < NEAR).sum(1) - 1 for row in few]
    assert collapsed_starts(few).tolist() == (counts[1] >= counts[0] + 2).tolist()
    many = np.arange(100_000, dtype=np.float32)  # a table of their distances would take 40 GB
    assert not collapsed_starts(np.stack([many, many])).any()


def test_start_trajectories_number_every_start() -> None:
    layer = nes_lab.EpitomeLinear(1, 40_000, epitome_shape=(8, 1), patch_channels=1, routing="free")
    figure = start_trajectories([(0, layer.snapshot("fc")), (1, layer.snapshot("fc"))])
    numbers = np.concatenate([trace.customdata for trace in figure.data if trace.customdata is not None])
    assert numbers.min() == 0 and numbers.max() == 39_999


def test_shrink_leaves_infinite_cells_out_of_the_means() -> None:
    values = np.ones((4, 4))
    values[0, 0], values[2:, 2:] = np.inf, -np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small, block = shrink(values, limit=2)
    assert block == (2, 2) and small[0].tolist() == [1.0, 1.0] and np.isnan(small[1, 1])


def test_accuracy_vs_madds_gives_a_series_the_same_color_whatever_else_is_drawn() -> None:
    rows = [
        {"routing": routing, "madds": 1e6, "top1": 50.0, "seed": 0} for routing in (None, "tiled", "free", "random")
    ]
    own = {"name": "mine", "madds": 2e6, "top1": 60.0}
    everything = accuracy_vs_madds([*rows, own]).data
    colors = {trace.name: trace.marker.color for trace in everything}
    assert len(set(colors.values())) == 5
    for row in rows:
        (trace,) = accuracy_vs_madds([row]).data
        assert colors[trace.name] == trace.marker.color
