"""The opponents of the accuracy study without epitomes: weights in int8 or generated from random bases, and split convolutions."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch.nn.utils import parametrize

import nes_lab
from benchmarks.accuracy_parts import generated, int8, lowrank
from benchmarks.accuracy_parts.generated import Generated, generating_madds
from benchmarks.accuracy_parts.narrow import narrow_widths
from nes_lab.errors import BudgetError, OptionError

X = torch.zeros(1, 3, 8, 8)
TINY: dict[str, Any] = {"widths": (8, 12, 16)}


def part(network: Any, path: str) -> Any:
    """Return a submodule; ``Any``, because type checkers do not know the attributes of parametrized layers."""
    return network.get_submodule(path)


def test_rounded_weights_count_one_byte_each_and_two_per_scale() -> None:
    floats, rounded = (
        nes_lab.create_backbone("cifar_resnet14", **TINY),
        int8.network("cifar_resnet14", widths=TINY["widths"]),
    )
    layers = [m for m in floats.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    fewer = sum(3 * layer.weight.numel() - 2 * len(layer.weight) for layer in layers)
    assert int8.saved_bytes(rounded) == fewer and int8.saved_bytes(floats) == 0
    assert nes_lab.count(rounded, X).stored_bytes == nes_lab.count(floats, X).stored_bytes


def test_rounded_weights_have_at_most_255_values_per_channel_and_learn() -> None:
    network = int8.network("cifar_resnet14", widths=TINY["widths"])
    layer = part(network, "layer3.0.conv1")
    scales = layer.weight.detach().abs().amax((1, 2, 3), keepdim=True) / 127
    torch.testing.assert_close(layer.weight / scales, (layer.weight / scales).round(), rtol=0, atol=1e-3)
    network(torch.randn(2, 3, 8, 8)).square().sum().backward()
    assert layer.parametrizations.weight.original.grad.count_nonzero() > 0.5 * layer.weight.numel()  # rounding alone: 0


def test_a_network_in_int8_of_equal_bytes_is_wider_and_uses_its_budget() -> None:
    rounded = narrow_widths("cifar_resnet14", "stored_bytes", 0.05, (3, 32, 32), 10, rounded=True)
    assert rounded == (6, 14, 27)  # with floats: (3, 7, 14)
    made = int8.network("cifar_resnet14", widths=rounded)
    dense = nes_lab.count(nes_lab.create_backbone("cifar_resnet14"), X).stored_bytes
    assert 0.0495 * dense <= nes_lab.count(made, X).stored_bytes - int8.saved_bytes(made) <= 0.05 * dense


@pytest.mark.parametrize("budget", ["30%", "60%"])
def test_coefficients_use_the_budget_to_within_a_percent(budget: str) -> None:
    dense, small = (
        nes_lab.create_backbone("cifar_resnet14", **TINY),
        generated.network("cifar_resnet14", budget, options=TINY),
    )
    share = nes_lab.count(small, X).stored_bytes / nes_lab.count(dense, X).stored_bytes
    assert 0.99 * float(budget[:-1]) / 100 <= share <= float(budget[:-1]) / 100
    assert nes_lab.count(small, X).madds - generating_madds(small) == nes_lab.count(dense, X).madds
    assert not any("base" in name for name in small.state_dict())


def test_a_budget_that_what_stays_dense_exceeds_is_refused_and_so_is_a_number_of_bytes() -> None:
    with pytest.raises(BudgetError, match="what stays dense takes"):
        generated.network("cifar_resnet14", "3%", options=TINY)
    with pytest.raises(OptionError, match="give a share of the dense network"):
        generated.network("cifar_resnet14", "20k", options=TINY)


def test_gradients_reach_the_coefficients_and_equal_those_by_hand() -> None:
    layer: Any = torch.nn.Linear(6, 4, bias=False)
    parametrize.register_parametrization(layer, "weight", Generated((4, 6), 5, seed=0))
    coefficients, base = layer.parametrizations.weight.original, layer.parametrizations.weight[0].base
    x = torch.randn(3, 6)
    layer(x).sum().backward()
    by_hand = base @ x.sum(0).repeat(4)  # the sum of outputs has the gradient sum(x) for each row of the weight
    torch.testing.assert_close(coefficients.grad, by_hand[None])


def test_generated_weights_begin_with_the_variance_of_dense_ones_and_bases_follow_from_the_seed() -> None:
    one, other, same = (generated.network("cifar_resnet14", "10%", base_seed=seed) for seed in (0, 1, 0))
    layers = [part(network, "layer3.1.conv2").parametrizations.weight[0] for network in (one, other, same)]
    assert torch.equal(layers[0].base, layers[2].base) and not torch.equal(layers[0].base, layers[1].base)
    usual = math.sqrt(2 / (64 * 9))
    assert part(one, "layer3.1.conv2").weight.std().item() == pytest.approx(usual, rel=0.15)
    copied = part(copy.deepcopy(one), "layer3.1.conv2").weight  # as averages of weights need
    assert torch.equal(copied, part(one, "layer3.1.conv2").weight)


@pytest.mark.parametrize("budget", ["25%", "70%"])
def test_split_convolutions_use_the_budget_to_within_a_percent(budget: str) -> None:
    dense, small = (
        nes_lab.create_backbone("cifar_resnet14"),
        lowrank.network("cifar_resnet14", budget, (3, 32, 32)),
    )
    x = torch.zeros(1, 3, 32, 32)
    share = nes_lab.count(small, x).madds / nes_lab.count(dense, x).madds
    assert 0.99 * float(budget[:-1]) / 100 <= share <= float(budget[:-1]) / 100
    assert small(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_split_convolutions_begin_with_the_variance_of_dense_ones() -> None:
    dense, small = nes_lab.create_backbone("cifar_resnet14"), lowrank.network("cifar_resnet14", "50%", (3, 32, 32))
    x = torch.randn(4, 64, 16, 16)
    outputs = [part(network, "layer3.1.conv2")(x).var().item() for network in (dense, small)]
    assert outputs[1] == pytest.approx(outputs[0], rel=0.35)


def test_a_budget_below_one_channel_in_each_layer_is_refused() -> None:
    with pytest.raises(BudgetError, match="too many multiply-adds are left"):
        lowrank.network("cifar_resnet14", "1%", (3, 32, 32))
    with pytest.raises(OptionError, match="give a share of the dense network"):
        lowrank.network("cifar_resnet14", "1M", (3, 32, 32))
