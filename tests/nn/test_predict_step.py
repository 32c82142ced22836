"""Pooled means are shared by the layers of one forward pass that read the same input, and never by others."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from nes_lab.nn import layer_forward
from nes_lab.nn.conv import EpitomeConv2d
from nes_lab.nn.predict_step import pooled_means, simple_learner


def _layer() -> EpitomeConv2d:
    layer = EpitomeConv2d(8, 12, 1, epitome_shape=(6, 5, 1, 1), patch_channels=(3, 2), routing="learner")
    nn.init.normal_(layer.routing.learner.body[2].weight)
    return layer


def test_layers_that_read_the_same_input_share_its_means():
    x = torch.randn(3, 8, 4, 4, requires_grad=True)
    activation = x * 2
    means = pooled_means(activation)
    assert pooled_means(activation) is means
    torch.testing.assert_close(means, activation.mean((2, 3)))
    layers = _layer(), _layer()
    sum(layer(activation).sin().sum() for layer in layers).backward()
    apart = torch.zeros_like(x)
    for layer in layers:
        for axis, table in layer.routing.tables():  # as before the first step
            table.copy_(layer.routing.previous_out if axis == 0 else layer.routing.previous_in)
        apart += torch.autograd.grad(layer(x * 2).sin().sum(), x)[0]
    torch.testing.assert_close(x.grad, apart)


def test_means_are_computed_again_where_they_could_be_old():
    leaf = torch.randn(3, 8, 4, 4)
    before = pooled_means(leaf)
    leaf.numpy()[...] += 1  # a loop that fills one batch again and again; torch does not count it
    torch.testing.assert_close(pooled_means(leaf), before + 1)
    x: Tensor = torch.randn(3, 8, 4, 4, requires_grad=True) * 2
    before = pooled_means(x)
    with torch.no_grad():
        x.add_(1)
    torch.testing.assert_close(pooled_means(x), before + 1)
    assert not pooled_means(x).requires_grad


def test_an_index_learner_that_was_changed_is_called_as_a_module():
    for change in (
        lambda learner: learner.body[1].register_forward_hook(lambda *given: None),
        lambda learner: setattr(learner, "forward", lambda x: x),
        lambda learner: learner.body.append(nn.ReLU()),
        lambda learner: learner.double(),
    ):
        learner = _layer().routing.learner
        assert simple_learner(learner, torch.float32) is not None
        change(learner)
        assert simple_learner(learner, torch.float32) is None


def test_gradients_pass_through_an_index_learner_that_is_not_trained(monkeypatch):
    layer, x = _layer(), torch.randn(3, 8, 4, 4, requires_grad=True)
    layer.routing.requires_grad_(False)
    other = copy.deepcopy(layer)
    found = torch.autograd.grad(layer(x).sin().sum(), x)[0]
    monkeypatch.setattr(layer_forward, "step_possible", lambda *given: False)
    torch.testing.assert_close(found, torch.autograd.grad(other(x).sin().sum(), x)[0])
    torch.testing.assert_close(layer.routing.starts_out, other.routing.starts_out)


def test_a_very_negative_prediction_gives_no_warning():
    layer = EpitomeConv2d(
        8, 12, 1, epitome_shape=(6, 5, 1, 1), patch_channels=(3, 2), routing="learner", squash="sigmoid", momentum=0.0
    )
    nn.init.constant_(layer.routing.learner.body[2].bias, -200)
    with np.errstate(over="raise"):
        layer(torch.randn(3, 8, 4, 4))
    assert not layer.routing.starts_out.any()
