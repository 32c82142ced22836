"""Layers that read their epitome in slices, as a rule says, are computed by prepared steps; these end when the layer changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

import nes_lab
from nes_lab.epitome.sampling import sampling_matrix
from nes_lab.epitome.slices import slice_pieces
from nes_lab.epitome.taps import AxisTaps
from nes_lab.nn.layer import EpitomeLayer

SLICES = {
    "copies": (((0, 0, 4), (4, 0, 4), (8, 0, 4)), 4),
    "rest": (((0, 0, 4), (4, 0, 2)), 4),
    "overlap": (((0, 0, 4), (4, 2, 4), (8, 3, 3)), 6),
    "unread cells": (((0, 1, 2), (2, 4, 1)), 6),
}


def taps(name: str) -> AxisTaps:
    slices, cells = SLICES[name]
    return AxisTaps(torch.cat([torch.arange(cell, cell + length) for _, cell, length in slices]), cells, slices=slices)


@pytest.mark.parametrize("name", SLICES)
def test_pieces_multiply_with_the_sampling_matrix_and_so_do_their_gradients(name):
    axis = taps(name)
    pieces, matrix = slice_pieces(axis.slices, axis.cells), sampling_matrix(axis)
    assert pieces is not None
    x = torch.randn(2, axis.cells, 3, dtype=torch.float64, requires_grad=True)
    y = torch.randn(2, len(axis.lower), 3, dtype=torch.float64, requires_grad=True)
    matrix = matrix.double()
    torch.testing.assert_close(pieces.expand(x, 1), torch.einsum("oc,ncp->nop", matrix, x))
    torch.testing.assert_close(pieces.fold(y, 1), torch.einsum("oc,nop->ncp", matrix, y))
    assert torch.autograd.gradgradcheck(lambda t: pieces.expand(t, 1).square(), x)
    assert torch.autograd.gradgradcheck(lambda t: pieces.fold(t, 1).square(), y)


def layer(epitome: tuple[int, int] = (12, 7), kernel: int = 3, **options: Any) -> EpitomeLayer:
    torch.manual_seed(0)
    options = {"padding": kernel // 2} | options
    return nes_lab.EpitomeConv2d(16, 32, kernel, epitome_shape=(*epitome, kernel, kernel), **options)


def images() -> Tensor:
    return torch.randn(2, 16, 6, 5, generator=torch.Generator().manual_seed(1))


def expected(net: EpitomeLayer, x: Tensor) -> Tensor:
    op = net.op
    return F.conv2d(x, net.materialize(), net.bias, op.stride, op.padding, op.dilation)


CASES: list[dict[str, Any]] = [
    {"epitome": (16, 8)},
    {"epitome": (16, 8), "bias": False},
    {"epitome": (12, 7)},
    {"epitome": (20, 12), "routing": "stride"},
    {"epitome": (32, 8)},
    {"epitome": (16, 16), "stride": 2},
    {"epitome": (12, 7), "kernel": 1, "stride": 2},
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_steps_have_the_outputs_and_gradients_of_the_complete_weight(case, layout):
    net, x = layer(**case), images().contiguous(memory_format=layout).requires_grad_()
    net(x)
    assert net._steps.find(x, net) is not None
    y, wanted = net(x), expected(net, x)
    torch.testing.assert_close(y, wanted, rtol=1e-4, atol=1e-5)
    grad, tensors = torch.randn_like(y), [x, *net.parameters()]
    found = torch.autograd.grad(y, tensors, grad), torch.autograd.grad(wanted, tensors, grad)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(x), wanted, rtol=1e-4, atol=1e-5)


def swapped(net: EpitomeLayer) -> None:
    net.routing = layer(routing="stride").routing


def fused(net: EpitomeLayer) -> None:
    net.scale = torch.rand(32) + 0.5


def pruned(net: EpitomeLayer) -> None:
    prune.random_unstructured(net, "epitome", 0.5)
    prune.random_unstructured(net, "bias", 0.5)


def scaled(net: EpitomeLayer) -> None:
    nn.utils.parametrizations.weight_norm(net, "epitome")


@pytest.mark.parametrize("change", [swapped, fused, pruned, scaled])
@pytest.mark.parametrize("training", [True, False])
def test_a_changed_layer_is_computed_as_it_is_now(change, training):
    net, x = layer().train(training), images()
    with torch.set_grad_enabled(training):
        net(x)
        assert net._steps.find(x, net) is not None
        change(net)
        assert not torch.allclose(net(x), layer()(x))
        torch.testing.assert_close(net(x), net.to_dense()(x), rtol=1e-4, atol=1e-5)


def test_another_execution_is_used_at_once():
    net, x = layer(), images()
    net(x)
    net.execution = "materialize"
    assert net._steps.find(x, net) is None


def test_mixed_precision_has_the_dtype_of_a_dense_layer():
    for case in CASES[:3]:
        net, x = layer(**case), images()
        net(x)
        with torch.autocast("cpu", torch.bfloat16):
            assert net(x).dtype == torch.bfloat16
