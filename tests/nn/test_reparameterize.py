"""Networks made to be re-parameterized: plans say so, and a compressed one does not become dense without a word."""

from __future__ import annotations

import copy
import pickle

import pytest
import timm
import torch
from timm.utils import reparameterize_model
from torch import nn

import nes_lab
from nes_lab.errors import PlanError
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.reparameterize import refuse_folding_, reparameterize_first

X = torch.randn(1, 3, 64, 64)


class Block(nn.Module):
    """Two branches that fold into one convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))
        self.thin = nn.Sequential(nn.Conv2d(16, 16, 1, bias=False), nn.BatchNorm2d(16))
        self.folded: nn.Conv2d | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.folded(x) if self.folded is not None else self.wide(x) + self.thin(x)

    def reparameterize(self) -> None:
        if self.folded is not None:
            return
        weight = self.wide[0].weight + nn.functional.pad(self.thin[0].weight, [1, 1, 1, 1])
        self.folded = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.folded.weight.data = weight.detach()
        del self.wide, self.thin


def _net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 16, 3), Block(), Block(), nn.Conv2d(16, 16, 3)).eval()


def test_a_plan_says_reparameterize_first():
    network = _net()
    plan = nes_lab.plan_for_budget(network, nes_lab.Budget(params="60%"), X)
    (note,) = [note for note in plan.notes if note.startswith("re-parameterize first")]
    assert "2 modules (1, 2) fold branches and norms by their method reparameterize()" in note and note in str(plan)
    for block in network[1:3]:
        block.reparameterize()
    folded = nes_lab.plan_for_budget(network, nes_lab.Budget(params="60%"), X)
    assert not any("re-parameterize" in note for note in folded.notes)
    small = nes_lab.compress(network, folded)
    small[1].reparameterize()  # nothing is left to fold, so the method is not refused


def test_folding_a_compressed_network_is_refused_and_materialize_allows_it(tmp_path):
    network = _net()
    plan = nes_lab.plan_for_budget(network, nes_lab.Budget(params="60%"), X, include=["1.*", "2.*"])
    small = nes_lab.compress(network, plan)
    nes_lab.save_pretrained(small, tmp_path / "small")
    loaded = nes_lab.from_pretrained(tmp_path / "small", model=network)
    fitted, fused = nes_lab.fit(network, plan)[0], nes_lab.fuse(small)
    again = pickle.loads(pickle.dumps(copy.deepcopy(small)))  # noqa: S301 -- made here
    for made in (small, loaded, fitted, fused, again):
        count = sum(isinstance(m, EpitomeLayer) for m in made.modules())
        with pytest.raises(PlanError, match=r"module '1': reparameterize\(\) would replace its epitome layers"):
            reparameterize_model(made, inplace=True)
        assert sum(isinstance(m, EpitomeLayer) for m in made.modules()) == count
    plain = nes_lab.materialize(small)
    assert "reparameterize" not in vars(plain[1]) and "reparameterize" not in vars(network[1])
    plain[1].reparameterize()
    assert plain[1].folded is not None


def test_methods_that_do_something_else_are_left_alone():
    class Joins(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm = nn.Linear(32, 32), nn.BatchNorm1d(32)

        def fuse(self) -> torch.Tensor:
            return self.norm(self.a(self.x))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.x = x
            return self.fuse()

    class Takes(nn.Sequential):
        def fuse(self, other: torch.Tensor) -> torch.Tensor:
            return other

    network = nn.Sequential(Joins(), Takes(nn.BatchNorm1d(32)))
    assert reparameterize_first(network) == ""
    small = nes_lab.compress(network, params="70%", example_input=torch.randn(4, 32))
    refuse_folding_(small)
    assert small(torch.randn(4, 32)).shape == (4, 32)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobileone_s0", "repvgg_a0", "repvit_m0_9"])
def test_timms_networks_are_recognized(name):
    network = timm.create_model(name, num_classes=10).eval()
    assert reparameterize_first(network)
    folded = reparameterize_model(network)
    assert reparameterize_first(folded) == ""
    small = nes_lab.compress(network, params="80%", example_input=X)
    with pytest.raises(PlanError, match="would replace its epitome layers"):
        reparameterize_model(small)
    plain = reparameterize_model(nes_lab.materialize(small))
    with torch.no_grad():
        expected = small(X)
        assert (plain(X) - expected).norm() < 1e-3 * expected.norm()  # fresh weights let outputs grow to 1e13
    assert nes_lab.compress(folded, params="80%", example_input=X)(X).shape == (1, 10)
