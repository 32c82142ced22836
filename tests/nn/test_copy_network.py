"""Copies of networks hold everything; what cannot be copied is named."""

from __future__ import annotations

import math
import re
import threading
import weakref
from functools import partial
from pathlib import Path
from types import MethodType

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.errors import OptionError
from nes_lab.nn.copy_network import copy_network, held_values


class Keeping(nn.Module):
    """Keeps the feature of its last call, alone and in a list, and a running mean that autograd reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 8))
        self.features: list[torch.Tensor] = []
        self.register_buffer("mean", torch.zeros(64))
        self.math = math

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.last = self.body[:2](x)
        self.features = [self.last]
        self.mean = 0.5 * self.mean + 0.5 * self.last.mean(0)
        return self.body[2](self.last)


X = torch.randn(4, 32)


def _kept() -> Keeping:
    network = Keeping()
    network(X)
    return network


def test_kept_features_are_copied_without_their_history():
    network = _kept()
    copied = copy_network(network)
    assert torch.equal(copied.last, network.last) and copied.last.grad_fn is None
    assert copied.features[0] is copied.last and copied.mean.grad_fn is None and copied.math is math
    assert network.last.grad_fn is not None  # the network itself is as it was


def test_every_call_that_copies_takes_a_network_that_keeps_features(tmp_path):
    network = _kept()
    plan = nes_lab.plan_for_budget(network, nes_lab.Budget(params="60%"), X)
    network(X)
    small, _ = nes_lab.fit(network, plan)
    small(X)
    expected = small.eval()(X)
    fused, plain = nes_lab.fuse(small), nes_lab.materialize(small)
    nes_lab.save_pretrained(small, tmp_path / "small")
    loaded = nes_lab.from_pretrained(tmp_path / "small", model=_kept())
    for made in (fused, plain, loaded):
        assert torch.allclose(made(X), expected, atol=1e-5)


@pytest.mark.parametrize("attribute", [threading.Lock(), (i for i in range(3))])
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: {"all": [v]}, lambda v: partial(print, v)])
def test_what_cannot_be_copied_is_named(attribute, wrap):
    network = nn.Sequential(nn.Sequential(nn.Linear(32, 32)))
    plan = nes_lab.plan_for_budget(network, nes_lab.Budget(params="60%"), X)
    small = nes_lab.compress(network, plan)
    network[0].guard, small[0].guard = wrap(attribute), wrap(attribute)
    kind = type(attribute).__name__
    calls = (
        lambda: nes_lab.compress(network, plan),
        lambda: nes_lab.fit(network, plan),
        lambda: nes_lab.materialize(small),
        lambda: nes_lab.fuse(small),
        lambda: nes_lab.save_pretrained(small, "never", keep_learner=False),
        lambda: nes_lab.export_onnx(small, X, "never.onnx"),
    )
    for call in calls:
        with pytest.raises(
            OptionError, match=f"module '0' holds a {kind}, which cannot be copied, as its attribute guard"
        ) as error:
            call()
        assert "delete the attribute first" in str(error.value)


def test_what_cannot_be_copied_is_named_before_any_layer_is_built(monkeypatch):
    network = nn.Sequential(nn.Linear(32, 32))
    plan = nes_lab.plan_for_budget(network, nes_lab.Budget(params="60%"), X)
    network.lock = threading.Lock()
    monkeypatch.setattr("nes_lab.surgery.replace.epitome_layer_for", lambda *a, **k: pytest.fail("a layer was built"))
    with pytest.raises(OptionError, match="the network itself holds a lock"):
        nes_lab.compress(network, plan)


def test_a_weak_reference_within_the_network_is_named():
    network = nn.Sequential(nn.Linear(32, 32))
    network[0].parent = weakref.ref(network)
    with pytest.raises(OptionError, match="module '0' holds a weak reference to another of its modules"):
        copy_network(network)


def test_what_users_attach_to_parameters_is_copied_and_stays_shared():
    network = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    seen: list[str] = []
    weight = network[1].weight
    weight.factor, weight.partner = 0.5, network[0].weight
    weight.register_hook(lambda grad: grad * 3)
    weight.register_post_accumulate_grad_hook(lambda p: seen.append("accumulated"))
    network[0].bias.register_hook(lambda grad: grad * 0)
    network[0].bias.requires_grad_(False)
    copied = copy_network(network)
    assert copied[1].weight.factor == 0.5 and copied[1].weight.partner is copied[0].weight
    assert not copied[0].bias.requires_grad
    copied[0].bias.requires_grad_(True)
    for each in (network, copied):
        each(torch.ones(2, 4)).square().sum().backward()
    assert torch.equal(copied[1].weight.grad, network[1].weight.grad)
    assert not copied[0].bias.grad.any() and seen == ["accumulated", "accumulated"]


def test_objects_that_copy_themselves_are_left_to_do_so():
    bound = nn.Linear(2, 2)
    bound.extra_repr = MethodType(partial(print), bound)  # as torchao's; pickle cannot take it apart
    assert copy_network(bound).extra_repr.__self__ is not bound

    class Pool:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def __deepcopy__(self, memo: dict) -> Pool:
            return Pool()

    network = nn.Linear(2, 2)
    network.pool = Pool()
    assert copy_network(network).pool is not network.pool


def test_every_place_of_a_tensor_is_listed():
    network = nn.Sequential(nn.Linear(2, 2, bias=False))
    network.kept = {"w": [network[0].weight]}
    places = [held.place for held in held_values(network) if held.value is network[0].weight]
    assert places == ["0.weight", "kept['w'][0]"]


def test_no_other_file_copies_networks_in_its_own_way():
    """Recipes copy plain data; surgery copies single attributes, with the memo of copy_network; a compiled network copies its source."""
    files = Path(nes_lab.__file__).parent.rglob("*.py")
    copying = {file.stem for file in files if "copy.deepcopy(" in re.sub(r'"[^"\n]*"', "", file.read_text("utf-8"))}
    assert copying == {"copy_network", "carry_over", "compiled", "registry"}
