from __future__ import annotations

import pytest
import torch

from nes_lab.fitting import joint_start_search
from nes_lab.fitting.joint_start_search import best_joint_starts
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.nn.init import relative_residual
from tests.fitting.weights import random_weight, rule_map


@pytest.mark.parametrize("boundary", ["clamp", "circular"])
def test_best_joint_starts_recover_the_starts_a_weight_was_made_with(boundary):
    geometry = EpitomeGeometry((12, 12, 3), (8, 8, 3), (4, 4), "joint", boundary)
    epitome, hidden = random_weight(8, 8, 3), rule_map(geometry, "random", seed=3)
    starts = best_joint_starts(rule_map(geometry), hidden.materialize(epitome), epitome).starts
    assert torch.equal(starts[0], hidden.starts[0]) and torch.equal(starts[1], hidden.starts[1])


def test_best_joint_starts_on_a_lattice_keep_better_starts_off_it(monkeypatch):
    geometry = EpitomeGeometry((12, 12), (8, 8), (4, 4), "joint")
    weight, epitome = random_weight(12, 12, seed=1), random_weight(8, 8)
    best = best_joint_starts(rule_map(geometry), weight, epitome)
    monkeypatch.setattr(joint_start_search, "MAX_MADDS_PER_SEARCH", 2_500)  # a search of all places takes 9,216
    on_lattice = best_joint_starts(rule_map(geometry), weight, epitome)
    assert relative_residual(best, weight, epitome) < relative_residual(on_lattice, weight, epitome)
    kept = best_joint_starts(best, weight, epitome)
    assert torch.equal(kept.starts[0], best.starts[0]) and torch.equal(kept.starts[1], best.starts[1])
