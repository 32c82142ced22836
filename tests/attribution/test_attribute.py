"""Attributions add up, fit every kind of network and execution plan, and leave networks as they were."""

import numpy as np
import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.attribution import attribute
from nes_lab.attribution.methods import COMPLETE, METHODS


def network_of(kind):
    torch.manual_seed(0)
    if kind == "resnet":
        return nes_lab.create_backbone("cifar_resnet20").eval(), torch.randn(2, 3, 32, 32)
    if kind == "transformer":
        backbone = nes_lab.create_backbone("vit_tiny_patch16_224", num_classes=10, img_size=64, depth=2)
        return backbone.eval(), torch.randn(2, 3, 64, 64)
    return nes_lab.create_backbone("m5", num_classes=10, in_channels=1).eval(), torch.randn(2, 1, 2000)


def forms_of(network, inputs):
    """The network dense, compressed and fitted."""
    plan = nes_lab.plan_for_budget(network, nes_lab.Budget(params="60%"), inputs[:1], routing="free")
    return {
        "dense": network,
        "compressed": nes_lab.compress(network, plan).eval(),
        "fitted": nes_lab.fit(network, plan)[0].eval(),
    }


@pytest.fixture(scope="module", params=["resnet", "transformer", "one axis"])
def forms(request):
    network, inputs = network_of(request.param)
    return forms_of(network, inputs), inputs


def layer_of(network):
    """A layer that all of the answer flows through; the layers inside a residual block are not."""
    names = [name for name in ("layer2", "blocks.0", "blocks.1") if name in dict(network.named_modules())]
    return names[0]


@pytest.mark.parametrize("method", METHODS)
def test_attribute_gives_values_of_the_shape_it_says_for_every_form(forms, method):
    for network in forms[0].values():
        inputs = forms[1]
        layer = layer_of(network) if method == "layer_conductance" else None
        found = attribute(network, inputs, method, layer=layer, steps=8)
        assert np.isfinite(found.values).all() and len(found.values) == len(inputs)
        assert np.abs(found.values).sum() > 0
        if method != "layer_conductance":
            assert found.maps.shape == (len(inputs), *inputs.shape[2:])
        with torch.no_grad():
            expected = network(inputs).max(1)
        np.testing.assert_allclose(
            found.scores, expected.values.numpy(), rtol=1e-4, atol=1e-4
        )  # one forward of float32
        assert (found.target == expected.indices.numpy()).all()


@pytest.mark.parametrize("method", COMPLETE)
def test_attribute_is_complete(forms, method):
    for network in forms[0].values():
        layer = layer_of(network) if method == "layer_conductance" else None
        few, many = (attribute(network, forms[1], method, layer=layer, steps=steps) for steps in (8, 128))
        # the error of the sum over steps; ReLU networks have kinks, so it does not vanish with 128 steps
        scale = np.abs(many.scores - many.baseline_scores) + np.abs(many.values).reshape(len(many.values), -1).sum(1)
        assert (np.abs(many.missing) <= 0.02 * scale).all(), (many.missing, scale)
        assert np.abs(many.missing).sum() <= np.abs(few.missing).sum() + 1e-3


def test_attribute_is_the_same_in_every_execution():
    torch.manual_seed(0)
    layer = nes_lab.EpitomeConv2d(3, 8, 3, padding=1, epitome_shape=(4, 2, 3, 3), patch_channels=(4, 1), routing="free")
    network = nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.Linear(512, 4)).double()
    inputs = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    values = {}
    for name in layer.available_executions():
        layer.execution = name
        values[name] = [
            attribute(network, inputs, method).values for method in ("integrated_gradients", "gradcam", "occlusion")
        ]
    assert len(values) == 3
    dense = [
        attribute(nes_lab.materialize(network), inputs, m).values
        for m in ("integrated_gradients", "gradcam", "occlusion")
    ]
    for found in values.values():
        for one, other in zip(found, dense, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)  # results are returned in float32


def test_attribute_of_a_linear_network_is_weight_times_input():
    network = nn.Linear(6, 3)
    inputs = torch.randn(4, 6)
    found = attribute(network, inputs, target=[0, 1, 2, 0], steps=2)
    weight = network.weight.detach()[[0, 1, 2, 0]]
    np.testing.assert_allclose(found.values, (weight * inputs).numpy(), atol=1e-6)  # float32


def test_attribute_takes_another_baseline_and_window():
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2, bias=False))
    inputs = torch.ones(1, 1, 4, 4)
    assert np.abs(attribute(network, inputs, baseline=1.0).values).max() == 0
    found = attribute(network, inputs, "occlusion", target=0, window=1)
    np.testing.assert_allclose(found.values.ravel(), network[1].weight[0].detach().numpy(), atol=1e-6)  # float32


def test_attribute_leaves_the_network_as_it_was():
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(144, 3)
    ).train()
    network[0].weight.requires_grad_(False)
    network[4](torch.ones(1, 144)).sum().backward()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    inputs = torch.randn(2, 1, 8, 8)
    gradient, state = network[4].weight.grad.clone(), torch.get_rng_state()
    for method in METHODS:
        attribute(network, inputs, method, layer="0" if method == "layer_conductance" else None)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert network.training and not network[0].weight.requires_grad and not inputs.requires_grad
    assert torch.equal(network[4].weight.grad, gradient) and torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "saliency"}, "method='saliency'"),
        ({"target": 7}, "classes 0 to 2"),
        ({"target": [0, 1, 2]}, "each of the 2 inputs"),
        ({"target": 0.5}, "target=0.5"),
        ({"baseline": torch.zeros(5)}, r"baseline has shape \(5,\)"),
        ({"steps": 0}, "steps=0"),
        ({"method": "occlusion", "window": 0}, "window=0"),
        ({"method": "layer_conductance"}, "needs the name of a layer"),
        ({"method": "gradcam", "layer": "convv"}, "layer='convv'"),
        ({"method": "gradcam", "layer": "head"}, "pooled"),
    ],
)
def test_attribute_names_what_is_wrong(options, message):
    network = nn.Sequential()
    network.add_module("conv", nn.Conv2d(1, 2, 3))
    network.add_module("flat", nn.Flatten())
    network.add_module("head", nn.Linear(72, 3))
    with pytest.raises(nes_lab.OptionError, match=message):
        attribute(network, torch.randn(2, 1, 8, 8), **options)


@pytest.mark.parametrize("inputs", [torch.ones(2, 3, dtype=torch.long), torch.ones(0, 3), [1.0], torch.ones(3)])
def test_attribute_refuses_inputs_without_gradient_or_batch(inputs):
    with pytest.raises(nes_lab.OptionError, match="inputs="):
        attribute(nn.Linear(3, 2), inputs)


def test_attribute_refuses_networks_with_other_outputs():
    with pytest.raises(nes_lab.OptionError, match=r"output of shape \(2, 4, 6, 6\)"):
        attribute(nn.Conv2d(1, 4, 3), torch.randn(2, 1, 8, 8))
