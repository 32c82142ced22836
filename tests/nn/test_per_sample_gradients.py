"""Gradients of each sample by ``vmap`` of ``grad``: those that a batch of this one sample gives."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from nes_lab.epitome import constants
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.registry import LAYERS

SPATIAL = {kind: {"linear": 0, "conv1d": 1, "conv3d": 3}.get(kind, 2) for kind in LAYERS}
DOUBLE = {"dtype": torch.float64}
ROUTINGS = ("tiled", "stride", "random", "free", "learner")


def layer(kind: str, window: int = 3, **options) -> EpitomeLayer:
    torch.manual_seed(0)
    kernel, cells = ([3], (window,) * SPATIAL[kind]) if SPATIAL[kind] else ([], ())
    made = LAYERS[kind](8, 12, *kernel, epitome_shape=(6, 5, *cells), patch_channels=(3, 2), **DOUBLE, **options)
    for name, parameter in made.named_parameters():
        if name.startswith("routing"):  # an index learner begins with zeros
            nn.init.normal_(parameter, std=0.3)
    return made


def images(kind: str, number: int = 3) -> Tensor:
    return torch.randn(number, 8, *(5,) * SPATIAL[kind], generator=torch.Generator().manual_seed(1), **DOUBLE)


def of_each(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    def loss(params: dict[str, Tensor], sample: Tensor) -> Tensor:
        return functional_call(net, params, (sample[None],)).sin().sum()

    params = {name: parameter.detach() for name, parameter in net.named_parameters()}
    return vmap(grad(loss), in_dims=(None, 0))(params, x)


def one_by_one(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    rows = []
    for sample in x:
        fresh = copy.deepcopy(net)
        fresh(sample[None]).sin().sum().backward()
        rows.append({n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in fresh.named_parameters()})
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("kind", LAYERS)
def test_per_sample_gradients_are_those_of_single_samples(kind, routing):
    for options in ({}, {"scope": "joint"}, {"boundary": "circular"}, {"window": 4} if SPATIAL[kind] else {}):
        net = layer(kind, routing=routing, **options)
        for name in net.available_executions():
            net.execution = name
            for training in (True, False):
                net.train(training)
                expected = one_by_one(net, images(kind))
                found = of_each(net, images(kind))
                assert found.keys() == expected.keys()
                for key, value in expected.items():  # other orders of summation
                    torch.testing.assert_close(found[key], value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("routing", ["free", "learner"])
def test_per_sample_gradients_stop_at_a_bound_as_gradients_do(routing):
    net = layer("linear", routing=routing, **({"squash": "sigmoid"} if routing == "learner" else {})).eval()
    with torch.no_grad():
        for axis, table in net.routing.tables():
            net.routing.set_starts_(axis, torch.tensor([0.0, 99.0, -3.0, 1.5], **DOUBLE)[: table.numel()])
    expected, found = one_by_one(net, images("linear", 8)), of_each(net, images("linear", 8))
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-9, atol=1e-9)
        if "start" in key:
            assert (value == 0).any() and (value != 0).any()


def test_per_sample_gradients_store_the_mean_of_predicted_starts():
    net, x = layer("conv2d", routing="learner"), images("conv2d")
    singles = []
    for sample in x:
        fresh = copy.deepcopy(net)
        fresh(sample[None])
        singles.append(fresh.routing.starts_out)
    before = net.routing.starts_out.clone()
    of_each(net, x)
    assert not torch.equal(net.routing.starts_out, before)
    torch.testing.assert_close(net.routing.starts_out, torch.stack(singles).mean(0))
    grad(lambda p: functional_call(net, p, (x,)).sum())(dict(net.named_parameters()))  # without vmap, as usual
    again = copy.deepcopy(net)
    assert not torch.equal(again.routing.starts_out, torch.stack(singles).mean(0))


def test_per_sample_gradients_of_copies_store_starts_of_each_copy():
    layers, x = [layer("linear", routing="learner") for _ in range(2)], images("linear")
    with torch.no_grad():
        layers[1].routing.learner.body[2].bias.add_(1)
    params, buffers = torch.func.stack_module_state(layers)
    base = layer("linear", routing="learner")
    vmap(lambda p, b: functional_call(base, (p, b), (x,)))(params, buffers)
    for i, one in enumerate(layers):
        one(x)
        torch.testing.assert_close(buffers["routing.starts_out"][i], one.routing.starts_out)


@pytest.mark.parametrize("routing", ROUTINGS)
def test_per_sample_gradients_leave_nothing_behind(routing, monkeypatch):
    """What is kept for later calls must not hold the wrappers of a transform that has ended."""
    kept: dict = {}
    monkeypatch.setattr(constants, "_kept", kept)
    net, x = layer("conv2d", window=4, routing=routing).eval(), images("conv2d")
    of_each(net, x)
    tensors = [*kept.values(), *(t.lower for t in net._taps.current(net.routing) if t is not None)]
    assert not [t for t in tensors if torch._C._functorch.is_functorch_wrapped_tensor(t)]
    with torch.no_grad():
        expected: Callable = nn.functional.conv2d
        torch.testing.assert_close(net(x), expected(x, net.weight, net.bias), rtol=1e-9, atol=1e-9)
