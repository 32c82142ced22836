"""What a training step keeps for its backward pass: never a full weight or a sampling matrix, and no more than a dense layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nes_lab.nn.conv import EpitomeConv2d
from nes_lab.nn.layer import EpitomeLayer

C_IN, C_OUT, E_IN, E_OUT, SIDE = 32, 48, 16, 24, 20
INPUT, FOLDED, PRODUCTS = (2 * c * SIDE * SIDE for c in (C_IN, E_IN, E_OUT))  # entries of the tensors that matter


def _kept(layer: nn.Module) -> list[int]:
    """Entries of the activations that autograd saves in a forward, parameters and index tables apart, each storage once."""
    own = {p.data_ptr() for p in layer.parameters()}
    found: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_floating_point() and tensor.data_ptr() not in own and tensor.numel() > 4 * C_OUT:
            found[tensor.data_ptr()] = tensor.numel()
        return tensor

    x = torch.randn(2, C_IN, SIDE, SIDE, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(x)
    return sorted(found.values())


def _layer(routing: str) -> EpitomeLayer:
    shape = (E_OUT, E_IN, 3, 3)
    layer = EpitomeConv2d(
        C_IN, C_OUT, 3, padding=1, bias=False, epitome_shape=shape, patch_channels=(8, 8), routing=routing
    )
    layer.execution = "factored"
    return layer


@pytest.mark.parametrize("routing", ["tiled", "stride", "random"])
def test_fixed_starts_keep_the_folded_input_alone(routing):
    assert _kept(nn.Conv2d(C_IN, C_OUT, 3, padding=1, bias=False)) == [INPUT]
    assert _kept(_layer(routing)) == [FOLDED]


def test_frozen_starts_keep_the_folded_input_alone():
    assert _kept(_layer("free").freeze()) == [FOLDED]


@pytest.mark.parametrize("routing", ["free", "learner"])
def test_learned_starts_keep_the_input_and_one_tensor_more(routing):
    """The gradient of an output start needs the products before the expansion; that of an input start the input, as a dense layer does."""
    assert _kept(_layer(routing)) == sorted([FOLDED, PRODUCTS, INPUT])
