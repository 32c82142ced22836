"""The sizes that layers shrink to, and their order."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab import Budget, CompressionPlan
from nes_lab.planning import ladder
from nes_lab.planning.layer_plans import plan_layer

X8 = torch.randn(1, 1, 8, 8)
SMALL = nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1)


def _check(model: nn.Module, plan: CompressionPlan, x: torch.Tensor) -> None:
    report = nes_lab.count(nes_lab.compress(model, plan), x)
    assert (report.params, report.madds) == (plan.predicted.params, plan.predicted.madds)


def test_layer_steps_never_add_params_or_multiply_adds():
    """A thin layer with one start per channel: its first steps down would add more starts than they save cells."""
    model, x = nn.Sequential(nn.Linear(8, 640), nn.Linear(640, 256), nn.Linear(256, 256)), torch.randn(1, 8)
    sizes = []
    for share in [0.95 + 0.005 * i for i in range(10)]:
        plan = nes_lab.plan_for_budget(model, Budget(params=share), x, routing="free", patch_channels=1, round_to=8)
        for layer in plan.layers.values():
            assert layer.predicted.params <= layer.dense.params and layer.predicted.madds <= layer.dense.madds
        sizes.append(plan.predicted.params)
    assert sizes == sorted(sizes)


def test_uniform_steps_shrink_all_axes_by_one_ratio():
    plan = nes_lab.plan_for_budget(SMALL, Budget(params="50%"), X8, round_to=1)
    ratios = [
        n / c
        for layer in plan.layers.values()
        for n, c in zip(layer.epitome_shape[:2], layer.weight_shape[:2], strict=True)
    ]
    assert len(ratios) > 20 and max(ratios) - min(ratios) < 2 / 16  # a rounding step of the shortest axis, either way


@pytest.mark.parametrize(
    ("wiring", "shapes"),
    [
        ("both_axes", None),
        ("input_axis", [(32, 32), (64, 16)]),
        ("output_axis", [(16, 64), (32, 32)]),
        ("narrow_axis", [(16, 64), (64, 16)]),
    ],
)
def test_shrinking_axes_of_each_wiring(wiring, shapes):
    """Half the multiply-adds of two layers between 64 and 32 channels; the narrow axis is the one of 32 both times."""
    model, x = nn.Sequential(nn.Conv2d(64, 32, 1), nn.Conv2d(32, 64, 1)), torch.zeros(1, 64, 4, 4)
    plan = nes_lab.plan_for_budget(model, Budget(madds="50%"), x, wiring=wiring)
    found = [layer.epitome_shape[:2] for layer in plan.layers.values()]
    if shapes is None:
        assert all(e[0] < w[0] and e[1] < w[1] for e, w in zip(found, [(32, 64), (64, 32)], strict=True))
    else:
        assert found == shapes
    assert plan.predicted.madds <= plan.dense.madds / 2
    _check(model, plan, x)


def test_equal_layers_share_their_steps_and_keep_their_own_seeds(monkeypatch):
    """A large transformer has hundreds of layers of six kinds: without sharing, a plan of it took 12 seconds."""
    planned = []
    monkeypatch.setattr(ladder, "plan_layer", lambda *args: planned.append(args) or plan_layer(*args))
    block = nn.Sequential(*(nn.Linear(64, 64) for _ in range(8)), nn.Linear(64, 64, bias=False))
    half = {"0": {"wiring": "input_axis"}}
    x = torch.randn(1, 64)
    plan = nes_lab.plan_for_budget(block, Budget(params="60%"), x, routing="random", overrides=half, seed=5)
    # seven sizes below 64 on each axis: for the equal layers, the one without bias and the overridden one
    assert len(planned) == 14 + 14 + 7
    assert [layer.seed for layer in plan.layers.values()] == list(range(5, 5 + 9))
    _check(block, plan, x)
