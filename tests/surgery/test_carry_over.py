"""What users added to a layer is on the layer that takes its place, there and back."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.errors import PlanError
from nes_lab.export.graph import GraphLayer, prepare_for_export
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.own_attributes import own_attributes
from nes_lab.nn.registry import LAYERS
from nes_lab.records.budget import Budget
from nes_lab.surgery.carry_over import HOOKS, MEMBERS, SETTINGS, why_not_carried

X = torch.randn(2, 16, 6, 6)


def test_every_place_in_which_torch_keeps_things_is_classified():
    """A later torch with a new kind of hook fails here until HOOKS, MEMBERS or SETTINGS names it."""
    assert sorted((*HOOKS, *MEMBERS, *SETTINGS)) == sorted(vars(nn.Module()))
    assert set(vars(nn.Parameter(torch.ones(1)))) == set()


class Flagged(nn.Module):
    """Reads flags, buffers and a submodule of its layers, as detectors do."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)])
        for index, layer in enumerate(self.layers):
            layer.i, layer.f, layer.skip, layer.parent = index, -1, True, [self]
            layer.register_buffer("gate", torch.full((1,), 3.0 + index), persistent=index == 0)
            layer.extra = nn.Linear(6, 6)
            layer.factor = nn.Parameter(torch.ones(1))
            layer.weight._lr_mult, layer.bias._no_weight_decay = 0.5 + index, True
            layer.factor.kept = "yes"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            y = layer.extra(layer(x)) * layer.gate * layer.factor
            x = x + y if getattr(layer, "skip", False) and layer.f == -1 else y
        return x


def _compressed(network: nn.Module, x: torch.Tensor = X, **options: object) -> nn.Module:
    return nes_lab.compress(network, params="70%", example_input=x, **options)


def _same_additions(network: Flagged, weight: str) -> None:
    for index, layer in enumerate(network.layers):
        assert (layer.i, layer.f, layer.skip) == (index, -1, True) and layer.parent[0] is network
        assert layer.gate.item() == 3 + index and ("gate" in layer._non_persistent_buffers_set) == (index == 1)
        assert getattr(layer, weight)._lr_mult == 0.5 + index and layer.bias._no_weight_decay
        assert layer.factor.kept == "yes"


def test_flags_buffers_submodules_and_attributes_of_parameters_go_there_and_back(tmp_path):
    network = Flagged().eval()
    plan = nes_lab.plan_for_budget(network, Budget(params="50%"), X)
    small = nes_lab.compress(network, plan)
    assert all(isinstance(layer, EpitomeLayer) for layer in small.layers)
    assert nes_lab.count(small, X).params == plan.predicted.params
    assert nes_lab.count(small, X).madds == plan.predicted.madds
    _same_additions(small, "epitome")
    assert small.layers[0].gate is not network.layers[0].gate
    small.layers[0].extra.weight.data.mul_(2)  # what is trained afterwards comes back
    plain, fitted = nes_lab.materialize(small), nes_lab.fit(network, plan)[0]
    for back in (plain, nes_lab.fuse(plain)):
        _same_additions(back, "weight")
        assert type(back.layers[0]) is nn.Conv2d and torch.allclose(back(X), small(X), atol=1e-4)
    assert plain.state_dict().keys() == network.state_dict().keys()
    assert vars(plain.layers[0]).keys() == vars(network.layers[0]).keys()
    nes_lab.save_pretrained(small, tmp_path / "small")
    loaded = nes_lab.from_pretrained(tmp_path / "small", model=Flagged())
    for again in (fitted, nes_lab.fuse(small), loaded):
        _same_additions(again, "epitome")
    assert torch.equal(loaded(X), small(X))


def test_flags_are_there_for_the_exported_forward():
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16)
            self.conv.f = self.norm.f = 2
            self.conv.register_forward_hook(_double)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.conv(x) * self.conv.f) * self.norm.f + self.conv.stride[0]

    small = _compressed(Reads().eval())
    exported = prepare_for_export(small, "factored")
    assert type(exported.conv) is GraphLayer and torch.allclose(exported(X), small(X), atol=1e-5)


def test_a_folded_norm_leaves_its_flags():
    network = nn.Sequential(nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16)).eval()
    network[1].f = -1
    network[0].weight.kept = True
    fused = nes_lab.fuse(network)
    assert type(fused[1]) is nn.Identity and fused[1].f == -1 and fused[0].weight.kept
    network[1].register_state_dict_post_hook(lambda *args: None)
    assert type(nes_lab.fuse(network)[1]) is nn.BatchNorm2d


CALLS: list[str] = []


def _double(module: nn.Module, args: object, output: torch.Tensor) -> torch.Tensor:
    return output * 2


def _say(word: str, *args: object, **kwargs: object) -> None:
    CALLS.append(word)


REGISTER = {
    "pre": lambda layer, f: layer.register_forward_pre_hook(f),
    "pre with kwargs": lambda layer, f: layer.register_forward_pre_hook(f, with_kwargs=True),
    "forward": lambda layer, f: layer.register_forward_hook(f),
    "forward with kwargs": lambda layer, f: layer.register_forward_hook(f, with_kwargs=True),
    "always": lambda layer, f: layer.register_forward_hook(f, always_call=True),
    "full backward": lambda layer, f: layer.register_full_backward_hook(f),
    "full backward pre": lambda layer, f: layer.register_full_backward_pre_hook(f),
    "backward": lambda layer, f: layer.register_backward_hook(f),
    "state dict": lambda layer, f: layer.register_state_dict_post_hook(f),
    "state dict pre": lambda layer, f: layer.register_state_dict_pre_hook(f),
    "load pre": lambda layer, f: layer.register_load_state_dict_pre_hook(f),
    "load post": lambda layer, f: layer.register_load_state_dict_post_hook(f),
    "gradient of weight": lambda layer, f: layer.weight.register_hook(f),
    "accumulated": lambda layer, f: layer.weight.register_post_accumulate_grad_hook(f),
}


def _calls(network: nn.Module) -> int:
    """Run everything that calls a hook, and count the calls."""
    CALLS.clear()
    network(torch.ones(2, 32, requires_grad=True)).sum().backward()
    network.load_state_dict(network.state_dict())
    return len(CALLS)


@pytest.mark.parametrize("name", REGISTER)
def test_hooks_of_every_kind_are_kept_and_called(name):
    network = nn.Sequential(nn.Linear(32, 32), nn.ReLU())
    REGISTER[name](network[0], partial(_say, name))
    expected = _calls(network)
    small = nes_lab.compress(network, params="50%", example_input=torch.ones(2, 32))
    plain = nes_lab.materialize(small)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **kwargs: None)  # torch warns about hooks of the old kind
        assert expected > 0 and [_calls(n) for n in (small, plain)] == [expected] * 2
    own = {kind: len(vars(nn.Linear(1, 1))[kind]) for kind in HOOKS}
    added = {kind: len(vars(network[0])[kind]) - own[kind] for kind in HOOKS}
    assert {kind: len(vars(plain[0])[kind]) - own[kind] for kind in HOOKS} == added


def test_a_handle_kept_in_the_network_removes_the_hook_of_the_copy():
    class Holds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(32, 32)
            self.handle = self.layer.register_forward_hook(_double)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)

    network = Holds()
    small = nes_lab.compress(network, params="50%", example_input=torch.ones(2, 32))
    small.handle.remove()
    assert not small.layer._forward_hooks and network.layer._forward_hooks


class Marked(nn.Conv2d):
    """A convolution with a flag of its class, a setting and a method."""

    skip = True

    def __init__(self) -> None:
        super().__init__(16, 16, 1)
        self.names = ["a"]

    def twice(self) -> int:
        return 2 * self.out_channels


class Scaled(Marked):
    @property
    def scale_of_class(self) -> int:
        return 2


class Trains(Marked):
    def train(self, mode: bool = True) -> nn.Module:
        return super().train(False)


def test_flags_and_methods_of_a_subclass_are_kept():
    network = nn.Sequential(Marked()).eval()
    small = copy.deepcopy(_compressed(network))
    assert isinstance(small[0], EpitomeLayer) and small[0].skip and small[0].twice() == 32
    small[0].names.append("b")
    plain = nes_lab.materialize(small)
    assert type(plain[0]) is Marked and plain[0].names == ["a", "b"] and network[0].names == ["a"]
    assert "twice" not in vars(plain[0])


def _aliased() -> nn.Conv2d:
    layer = nn.Conv2d(16, 16, 1)
    layer.tied = layer.weight
    return layer


def _named(name: str) -> nn.Conv2d:
    layer = nn.Conv2d(16, 16, 1)
    setattr(layer, name, 3)
    return layer


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: _named("geometry"), "its attribute 'geometry' has the name of an attribute that epitome layers use"),
        (lambda: _named("kind"), "its attribute 'kind' has the name"),
        (_aliased, "its attribute 'tied' is its weight under another name"),
        (Scaled, "Scaled has a property 'scale_of_class' of its own"),
        (Trains, "Trains has a method train of its own in place of torch's"),
    ],
)
def test_what_cannot_be_carried_is_named_and_stays_dense(make, says):
    network = nn.Sequential(make(), nn.Conv2d(16, 16, 3))
    plan = nes_lab.plan_for_budget(network, Budget(params="90%"), X)
    assert says in plan.kept["0"] and list(plan.layers) == ["1"]
    ordinary = nn.Sequential(nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 3))
    with pytest.raises(PlanError, match="layer '0' cannot be replaced: " + says):
        nes_lab.compress(network, nes_lab.plan_for_budget(ordinary, Budget(params="95%"), X, include=["0"]))


def test_known_attributes_of_every_kind_of_layer():
    """A layer as it is made has nothing of a user's, so that nothing of its own is carried back to a dense layer."""
    for layer in LAYERS.values():
        spatial = getattr(layer, "spatial", 0)
        made = layer(8, 8, *([3] if spatial else []), epitome_shape=(4, 4, *[3] * spatial), routing="free")
        with torch.no_grad():
            made(torch.ones(1, 8, *[5] * spatial))
        made.eval().freeze().snap()
        assert vars(made).keys() <= own_attributes(type(made))
        dense = made.to_dense()
        assert not why_not_carried(dense) and vars(dense).keys() <= own_attributes(type(dense))


def test_memory_formats_are_kept():
    network = nn.Sequential(nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 3)).to(memory_format=torch.channels_last)
    small = _compressed(network)
    plain = nes_lab.materialize(small)
    for tensor in (small[0].epitome, plain[0].weight):
        assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(small(X), plain(X), atol=1e-5)


def test_a_weight_that_the_network_keeps_elsewhere_stays_dense():
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(32, 32), nn.Linear(32, 32)
            self.kept = {"weights": [self.a.weight]}

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x)) @ self.kept["weights"][0]

    network, x = Keeps(), torch.randn(2, 32)
    says = r"kept\['weights'\]\[0\] of the network refers to its weight"
    plan = nes_lab.plan_for_budget(network, Budget(params="80%"), x)
    assert list(plan.layers) == ["b"] and "refers to its weight" in plan.kept["a"]
    network.kept["weights"] = [torch.ones(32, 32)]
    plan = nes_lab.plan_for_budget(network, Budget(params="60%"), x)
    network.kept["weights"] = [network.a.weight]
    with pytest.raises(PlanError, match=f"layer 'a' cannot be replaced: {says}"):
        nes_lab.compress(network, plan)


def test_a_bias_that_layers_share_stays_shared():
    network = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 32), nn.LayerNorm(32))
    network[1].bias = network[2].bias = network[0].bias
    network.kept = [network[0].bias]
    plan = nes_lab.plan_for_budget(network, Budget(params="60%"), torch.randn(2, 32))
    small = nes_lab.compress(network, plan)
    for made in (small, nes_lab.materialize(small)):
        assert made[0].bias is made[1].bias is made[2].bias is made.kept[0] and made[0].bias is not network[0].bias
    assert nes_lab.count(small, torch.randn(2, 32)).params == plan.predicted.params


def test_a_warning_names_the_layers_that_were_compiled():
    network = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    network[1].compile(backend="eager")
    with pytest.warns(UserWarning, match=r"compile\(\) of '1' is not carried over; call compile\(\) again"):
        small = _compressed(network, torch.randn(2, 64))
    assert small[1]._compiled_call_impl is None and network[1]._compiled_call_impl is not None
