from __future__ import annotations

import pytest
import torch

from nes_lab.fitting.joint_start_search import best_joint_starts
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from tests.fitting.weights import random_weight, rule_map


@pytest.mark.parametrize("boundary", ["clamp", "circular"])
def test_best_joint_starts_recover_the_starts_a_weight_was_made_with(boundary):
    geometry = EpitomeGeometry((12, 12, 3), (8, 8, 3), (4, 4), "joint", boundary)
    epitome, hidden = random_weight(8, 8, 3), rule_map(geometry, "random", seed=3)
    starts = best_joint_starts(rule_map(geometry), hidden.materialize(epitome), epitome).starts
    assert torch.equal(starts[0], hidden.starts[0]) and torch.equal(starts[1], hidden.starts[1])
