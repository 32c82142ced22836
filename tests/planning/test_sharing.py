"""Every way of sharing gives each layer an epitome, and the plan, the network and its file agree on what is stored."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.planning.sharing import SHARINGS, shared_names
from nes_lab.planning.survey import survey
from nes_lab.records.options import CHOICES, Share


class Mixed(nn.Module):
    """Convolutions of three kernels at two resolutions, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(8, 16, 3, padding=1)
        self.b = nn.Conv2d(16, 24, 1)
        self.c = nn.Conv2d(24, 24, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(24)
        self.d = nn.Conv2d(24, 20, (1, 5), padding=(0, 2))
        self.fc = nn.Linear(20, 40)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.b(self.a(x).relu()).relu()
        return self.fc(self.d(self.norm(self.c(x)).relu()).mean((2, 3)))


@pytest.fixture
def network() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return Mixed().eval(), torch.randn(2, 8, 12, 12)


def plan_of(model: nn.Module, x: torch.Tensor, budget: Any = "40%", **options: Any) -> nes_lab.CompressionPlan:
    return nes_lab.plan_for_budget(
        model, nes_lab.Budget(params=budget), x, **{"routing": "random", "windows": 2} | options
    )


def test_ways_of_sharing_are_the_names_of_the_option() -> None:
    assert tuple(SHARINGS) == get_args(Share) == tuple(CHOICES["share"])


@pytest.mark.parametrize("share", SHARINGS)
def test_plan_network_and_count_agree_exactly(share: Share, network: tuple[nn.Module, torch.Tensor]) -> None:
    model, x = network
    draw = np.random.default_rng(0)
    total = sum(p.numel() for p in model.parameters())
    for limit in (int(draw.integers(int(0.3 * total), total)) for _ in range(4)):
        plan = plan_of(model, x, limit, share=share)
        assert plan.predicted.params == limit
        small = nes_lab.compress(model, plan, initial_weights="reset")
        assert nes_lab.count(small, x).counts == plan.predicted
        assert plan.predicted.madds == plan.dense.madds
        assert sum(p.numel() for p in small.parameters()) == limit


@pytest.mark.parametrize("share", SHARINGS)
def test_layers_of_one_epitome_have_one_parameter(share: Share, network: tuple[nn.Module, torch.Tensor]) -> None:
    model, x = network
    plan = plan_of(model, x, share=share)
    small = nes_lab.compress(model, plan, initial_weights="reset")
    held = {name: small.get_submodule(name).epitome for name in plan.layers}
    groups = dict(plan.readers.items())
    assert len({id(e) for e in held.values()}) == len(groups)
    for epitome, readers in groups.items():
        assert len({id(held[name]) for name in readers}) == 1
        assert tuple(held[readers[0]].shape) == plan.epitomes[epitome].shape
    assert len([n for n, _ in small.named_parameters() if n.endswith(".epitome")]) == len(groups)


def test_stages_follow_the_resolution(network: tuple[nn.Module, torch.Tensor]) -> None:
    model, x = network
    layers = [layer for layer in survey(model, x).layers if not layer.reason]
    assert dict(zip([layer.name for layer in layers], shared_names("stage", layers), strict=True)) == {
        "a": "stage_1",
        "b": "stage_1",
        "c": "stage_2",
        "d": "stage_2",
        "fc": "stage_3",
    }


def test_layers_of_different_dtypes_do_not_share(network: tuple[nn.Module, torch.Tensor]) -> None:
    model, x = network
    model.fc.double()
    model.d.register_forward_hook(lambda module, args, output: output.double())
    plan = plan_of(model, x, share="network")
    assert plan.readers == {"network": ["a", "b", "c", "d"], "network_float64": ["fc"]}
    small = nes_lab.compress(model, plan, initial_weights="reset")
    assert nes_lab.count(small, x).counts == plan.predicted


def test_training_moves_one_epitome_by_the_sum_of_all_readers(network: tuple[nn.Module, torch.Tensor]) -> None:
    model, x = network
    small = nes_lab.compress(model, plan_of(model, x, share="network"), initial_weights="reset").double()
    small(x.double()).square().sum().backward()
    together = small.a.epitome.grad.clone()
    names = ("a", "b", "c", "d", "fc")
    for name in names:  # the same values, no longer tied
        layer = small.get_submodule(name)
        layer.epitome = nn.Parameter(layer.epitome.detach().clone())
    small.zero_grad()
    small(x.double()).square().sum().backward()
    parts = sum(small.get_submodule(name).epitome.grad for name in names)
    torch.testing.assert_close(together, parts)


def test_fit_gives_outputs_near_the_dense_ones(network: tuple[nn.Module, torch.Tensor]) -> None:
    model, x = network
    plan = plan_of(model, x, "85%", share="network")
    fitted, reset = (nes_lab.compress(model, plan, initial_weights=w) for w in ("fit", "reset"))
    errors = [((m(x) - model(x)).norm() / model(x).norm()).item() for m in (fitted, reset)]
    assert errors[0] < 0.3 < errors[1]
