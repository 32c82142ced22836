"""The start rules, by hand and by their laws; a new one needs no other file of the library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.errors import OptionError
from nes_lab.geometry.coverage import read_counts
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.geometry.start_rules import ROUTING_MODES, RuleAxis, is_identity, rule_starts, start_rule
from nes_lab.nn.starts import LEARNED_STARTS
from tests import oracles
from tests.geometries import random_case


def test_tiled_by_hand():
    clamp = EpitomeGeometry((20, 4), (8, 4), (3, 4))
    # r*b mod n = 0 3 6 1 4 7 2; the bound n - b_r is 5, and 6 for the last patch of length 2
    assert rule_starts(clamp, "tiled")[0].tolist() == [0, 3, 5, 1, 4, 5, 2]
    circular = EpitomeGeometry((20, 4), (8, 4), (3, 4), boundary="circular")
    assert rule_starts(circular, "tiled")[0].tolist() == [0, 3, 6, 1, 4, 7, 2]


def test_whole_axis_patches_all_start_at_zero():
    assert rule_starts(EpitomeGeometry((20, 4), (8, 4)), "tiled")[0].tolist() == [0, 0, 0]


def test_stride_by_hand():
    clamp = EpitomeGeometry((20, 4), (8, 4), (3, 4))
    # round(r * (8 - b_r) / 6)
    assert rule_starts(clamp, "stride")[0].tolist() == [0, 1, 2, 2, 3, 4, 6]
    circular = EpitomeGeometry((20, 4), (8, 4), (3, 4), boundary="circular")
    assert rule_starts(circular, "stride")[0].tolist() == [0, 1, 2, 3, 4, 5, 6]  # floor(r * 8 / 7)


def test_random_stays_inside_and_follows_its_seed():
    for boundary in ("clamp", "circular"):
        g = EpitomeGeometry((50, 4), (9, 4), (4, 4), boundary=boundary)
        starts = rule_starts(g, "random", 3)[0]
        assert starts.min() >= 0 and (starts <= (g.limits(0) if boundary == "clamp" else 8)).all()
        assert np.array_equal(starts, rule_starts(g, "random", 3)[0])
        assert not np.array_equal(starts, rule_starts(g, "random", 4)[0])


def test_kernel_starts_belong_to_the_output_patch():
    g = EpitomeGeometry((6, 2, 3), (2, 2, 5), (2, 2))
    assert rule_starts(g, "stride")[2].tolist() == [0, 1, 2]
    assert rule_starts(g, "tiled")[2].tolist() == [0, 2, 1]  # min(r*3 mod 5, 2)


@pytest.mark.parametrize(
    ("mode", "patch", "expected"),
    [("tiled", (4, 4), [True] * 4), ("free", (8, 4), [True] * 4), ("free", (4, 4), [False, True, True, True])],
)
def test_identity_axes(mode, patch, expected):
    g = EpitomeGeometry((8, 4, 3, 3), (8, 4, 3, 3), patch)
    assert [is_identity(g, a, mode) for a in range(4)] == expected


@pytest.mark.parametrize("seed", range(30))
def test_read_counts_against_counting_one_by_one(seed):
    layer = random_case(seed, small=True).layer
    starts = [None if s is None else s.numpy() for s in layer.routing_map().starts]
    counts = read_counts(layer.geometry, starts)
    assert np.array_equal(counts, oracles.read_counts(starts, layer.geometry))


def test_every_cell_is_read_equally_often_when_all_divides():
    g = EpitomeGeometry((32, 12), (8, 4), (4, 2))
    counts = read_counts(g, rule_starts(g, "tiled"))
    assert (counts == 32 * 12 // (8 * 4)).all()


@pytest.fixture
def reverse() -> Iterator[str]:
    """A rule that the library does not know: the tiling in mirrored order."""

    @start_rule("reverse", separable=True, help="the tiling in mirrored order")
    def _reverse(axis: RuleAxis) -> np.ndarray:
        return axis.inside(axis.patches[::-1] * axis.patch % axis.cells)

    yield "reverse"
    del ROUTING_MODES["reverse"]


def test_start_rule_registered_here_alone_goes_from_layer_to_saved_model(reverse: str, tmp_path: Path) -> None:
    layer = nes_lab.EpitomeLinear(3, 6, epitome_shape=(3, 3), patch_channels=(1, 3), routing=reverse)
    assert torch.equal(layer.weight, layer.epitome[[2, 1, 0, 2, 1, 0]])
    model, x = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16)), torch.randn(2, 16)
    plan = nes_lab.plan_for_budget(model, nes_lab.Budget(params="60%"), x, routing=reverse, round_to=4, min_channels=1)
    assert {layer.scope for layer in plan.layers.values()} == {"separable"}  # as a separable rule has it
    small = nes_lab.compress(model, nes_lab.CompressionPlan.from_json(plan.to_json()))
    report = nes_lab.count(small, x)
    assert (report.params, report.madds) == (plan.predicted.params, plan.predicted.madds)
    nes_lab.save_pretrained(small, tmp_path / "saved")
    again = nes_lab.from_pretrained(tmp_path / "saved", model=model)
    assert again[0].routing_mode == reverse and torch.equal(again(x), small.eval()(x))


def test_start_rule_refuses_a_name_twice_and_an_unknown_one_is_named(reverse: str) -> None:
    with pytest.raises(OptionError, match="routing 'reverse' is registered already"):
        start_rule(reverse, separable=True, help="")(lambda axis: axis.patches)
    with pytest.raises(OptionError, match="Did you mean 'reverse'"):
        nes_lab.EpitomeLinear(3, 6, epitome_shape=(3, 3), routing="revers")


def test_learned_starts_has_a_class_for_every_learned_routing() -> None:
    learned = {mode.name for mode in ROUTING_MODES.values() if mode.learned}
    assert learned == LEARNED_STARTS.keys() and all(kind.learned for kind in LEARNED_STARTS.values())
