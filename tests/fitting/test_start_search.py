from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nes_lab.fitting.start_search import best_fractional_starts, best_integer_starts
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from tests.fitting.weights import random_weight, rule_map


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), boundary=st.sampled_from(["clamp", "circular"]), scaled=st.booleans())
def test_best_starts_are_those_of_a_plain_search(seed, boundary, scaled):
    geometry = EpitomeGeometry((7, 3), (5, 3), (3, 3), boundary=boundary)
    channels, cells = random_weight(7, 3, seed=seed), random_weight(5, 3, seed=seed + 1)
    ones, scale = torch.ones(7).double(), random_weight(7, seed=seed + 2) if scaled else None
    old = torch.zeros(3, dtype=torch.long)
    integer = best_integer_starts(channels, cells, False, old, geometry, 0)
    fractional = best_fractional_starts(channels, cells, scale, old, geometry, 0)
    for patch in range(3):
        in_patch = slice(3 * patch, min(3 * patch + 3, 7))
        length = in_patch.stop - in_patch.start
        last = 4 if boundary == "circular" else 5 - length

        def residual(start, factor, in_patch=in_patch, length=length):
            low, share = int(start // 1), float(start % 1)
            at = [(low + j) % 5 for j in range(length)]
            above = [(low + j + 1) % 5 for j in range(length)]
            sampled = (1 - share) * cells[at] + share * cells[above]
            return float((channels[in_patch] - factor[in_patch].unsqueeze(1) * sampled).square().sum())

        least = min(residual(start, ones) for start in range(last + 1))
        assert residual(integer[patch].item(), ones) == pytest.approx(least, abs=1e-9)
        factor = ones if scale is None else scale
        least = min(residual(s / 16, factor) for s in range(16 * last + (16 if boundary == "circular" else 1)))
        assert residual(fractional[patch].item(), factor) == pytest.approx(least, abs=1e-9)


@pytest.mark.parametrize("boundary", ["clamp", "circular"])
def test_best_integer_starts_recover_the_starts_a_weight_was_made_with(boundary):
    geometry = EpitomeGeometry((12, 12, 3), (8, 8, 3), (4, 4), boundary=boundary)
    epitome, hidden = random_weight(8, 8, 3), rule_map(geometry, "random", seed=3)
    weight, cells = hidden.materialize(epitome), epitome.index_select(1, hidden.taps(1).lower)
    old = rule_map(geometry).starts[0]
    starts = best_integer_starts(weight.flatten(1), cells.flatten(1), False, old, geometry, 0)
    assert torch.equal(starts, hidden.starts[0])
