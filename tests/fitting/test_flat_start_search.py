"""The search of starts in a flat epitome finds starts that a weight was made with, and comes much closer to trained weights than a rule."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import nes_lab
from nes_lab.epitome.flat_windows import cut_patches, sum_windows
from nes_lab.epitome.routing_map import RoutingMap
from nes_lab.fitting import flat_start_search
from nes_lab.fitting.flat_start_search import best_flat_starts, search_flat_starts
from nes_lab.geometry.flat_geometry import FlatGeometry


def map_of(geometry: FlatGeometry, seed: int = 0) -> RoutingMap:
    draw = torch.Generator().manual_seed(seed)
    starts = torch.randint(geometry.epitome_shape[0], geometry.starts_shape(0), generator=draw)
    return RoutingMap(geometry, (starts,), "free", torch.randn(starts.shape, generator=draw, dtype=torch.float64))


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("cropped", [False, True])
def test_starts_and_factors_that_a_weight_was_made_with_are_found(cropped: bool) -> None:
    geometry = FlatGeometry((11 if cropped else 12, 7 if cropped else 8, 2), (50,), (3, 2))
    epitome, hidden = random(50), map_of(geometry, 1)
    weight = hidden.materialize(epitome)
    found = best_flat_starts(map_of(geometry), weight, epitome, torch.arange(50))
    starts, wanted = found.starts[0], hidden.starts[0]
    assert starts is not None and wanted is not None and torch.equal(starts, wanted)
    assert torch.allclose(found.materialize(epitome), weight, atol=1e-5)


def test_no_error_rises_with_several_windows_and_few_candidates() -> None:
    geometry = FlatGeometry((10, 9), (60,), (2, 4), windows=2)
    weight, epitome, old = random(10, 9, seed=3), random(60, seed=4), map_of(geometry)
    errors = []
    for candidates in (torch.tensor([7]), torch.arange(0, 60, 9), torch.arange(60)):
        old = best_flat_starts(old, weight, epitome, candidates)
        left = cut_patches(weight - old.materialize(epitome), geometry)
        errors.append(left.square().sum(-1))
    assert bool((errors[1] <= errors[0] + 1e-5).all()) and bool((errors[2] <= errors[1] + 1e-5).all())
    assert errors[2].sum() < 0.33 * errors[0].sum()  # 0.40 if the second window does not see the first


def test_a_large_epitome_is_searched_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat_start_search, "CANDIDATES", 16)
    geometry = FlatGeometry((32, 32), (256,), (2, 2))
    given = replace(map_of(geometry), alpha=torch.ones(16, 16, 1))
    maps, fitted = search_flat_starts([given], [random(32, 32)], random(256), [True])
    starts = maps[0].starts[0]
    assert starts is not None and starts.unique().numel() > 64  # more than one round can find
    assert fitted.residuals[0] < 0.2
    kept, unmoved = search_flat_starts([given], [random(32, 32)], random(256), [False])
    assert kept[0].starts[0] is given.starts[0] and unmoved.residuals[0] > 0.5


def test_patches_put_together_again_are_the_weight() -> None:
    geometry = FlatGeometry((5, 7, 3), (40,), (2, 3))
    weight = random(5, 7, 3)
    patches = cut_patches(weight, geometry)
    assert torch.equal(sum_windows(patches.unsqueeze(2), torch.ones(3, 3, 1), geometry), weight)


@pytest.mark.parametrize("snap", [False, True])
def test_fit_with_searched_starts_is_several_times_closer_and_costs_the_same(snap: bool) -> None:
    torch.manual_seed(0)
    dense = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 32)).eval()
    x, budget = torch.randn(4, 64), nes_lab.Budget(params="80%")
    options = {"scope": "flat", "patch_channels": 2, "routing": "free", "snap": snap}
    plan = nes_lab.plan_for_budget(dense, budget, x, overrides={"1": {"routing": "random"}}, **options)
    (_, without), (net, report) = (nes_lab.fit(dense, plan, search_starts=search) for search in (False, True))
    assert report.layers[0].starts == "searched" and "stores no starts" in report.layers[1].starts
    searched, planned = (layers[0].residual_after for layers in (report.layers, without.layers))
    assert searched < 0.1 and 5 * searched < planned
    assert report.layers[1].residual_after == pytest.approx(without.layers[1].residual_after)
    assert report.verified and nes_lab.count(net, x).counts == plan.predicted
    again = nes_lab.fit(dense, plan, search_starts=True)[0]
    assert torch.equal(again(x), net(x))
