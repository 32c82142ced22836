"""The sampler: laws, oracle, gradients, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nes_lab.epitome.routing_map import RoutingMap
from nes_lab.epitome.sampling import expand, fold, sampling_matrix
from nes_lab.epitome.taps import axis_taps, clamp_starts, start_limits
from nes_lab.errors import GeometryError
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.nn.conv import EpitomeConv2d
from nes_lab.nn.linear import EpitomeLinear
from tests import oracles
from tests.geometries import random_case


@pytest.mark.parametrize("seed", range(200))
def test_materialize_equals_the_nested_loops(seed):
    """Two hundred random geometries, all kinds, scopes and boundaries, in float64: rounding only."""
    layer = random_case(seed, small=True).layer
    starts = [None if s is None else s.numpy() for s in layer.routing_map().starts]
    expected = oracles.sample(layer.epitome.detach().numpy(), starts, layer.geometry)
    np.testing.assert_allclose(layer.materialize().detach().numpy(), expected, rtol=1e-12, atol=1e-13)


def test_golden_by_hand():
    # E is 0 10 20 30; patches of 2: start 0.5 reads 5 15, start 2 (the bound) reads 20 30, start 1.25 reads 12.5 22.5
    g = EpitomeGeometry((6, 1), (4, 1), (2, 1))
    epitome = torch.arange(0.0, 40, 10).view(4, 1)
    weight = RoutingMap(g, (torch.tensor([0.5, 2.0, 1.25]), None), "free").materialize(epitome)
    assert weight.flatten().tolist() == [5, 15, 20, 30, 12.5, 22.5]
    around = EpitomeGeometry((4, 1), (4, 1), (2, 1), boundary="circular")
    weight = RoutingMap(around, (torch.tensor([3.5, -0.5]), None), "free").materialize(epitome)
    assert weight.flatten().tolist() == [15, 5, 15, 5]  # between cell 3 and cell 0, then between 0 and 1


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_rows_of_a_sampling_matrix_sum_to_one(data):
    size, cells = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 12))
    patch = data.draw(st.integers(1, cells))
    boundary = data.draw(st.sampled_from(["clamp", "circular"]))
    g = EpitomeGeometry((size, 1), (cells, 1), (patch, 1), boundary=boundary)
    share = data.draw(st.lists(st.floats(0, 1), min_size=g.patch_grid[0], max_size=g.patch_grid[0]))
    high = g.limits(0) if boundary == "clamp" else 30.0
    matrix = sampling_matrix(axis_taps(torch.tensor(share, dtype=torch.float64) * torch.as_tensor(high), g, 0, True))
    assert torch.allclose(matrix.sum(1), torch.ones(size, dtype=torch.float64), atol=1e-12)
    assert ((matrix > 0).sum(1) <= 2).all() and (matrix >= 0).all()


@pytest.mark.parametrize("seed", range(20))
def test_fold_is_the_adjoint_of_expand(seed):
    draw = torch.Generator().manual_seed(seed)
    g = EpitomeGeometry((11, 1), (7, 1), (3, 1), boundary=("clamp", "circular")[seed % 2])
    starts = torch.rand(4, generator=draw, dtype=torch.float64) * torch.as_tensor(g.limits(0))
    taps = axis_taps(starts, g, 0, True)
    a, b = (torch.randn(2, n, 3, generator=draw, dtype=torch.float64) for n in (7, 11))
    assert torch.isclose((expand(a, taps, 1) * b).sum(), (a * fold(b, taps, 1)).sum(), rtol=1e-12)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("scope", ["separable", "joint"])
def test_gradcheck_off_the_integers(seed, scope):
    """Analytic against numerical gradient, epitome and starts, float64; starts inside a cell, where the weight is smooth."""
    draw = np.random.default_rng(seed)
    g = EpitomeGeometry(
        (7, 5, 2), (5, 4, 3 + seed % 2), (3, 2), scope=scope, boundary=("clamp", "circular")[seed // 2 % 2]
    )
    tables = [
        torch.from_numpy(
            np.floor(draw.uniform(0, 1, g.starts_shape(a)) * np.maximum(g.limits(a), 1))
            + draw.uniform(0.2, 0.8, g.starts_shape(a))
        )
        for a in range(3)
    ]
    tables = [t.requires_grad_() for t in tables]
    epitome = torch.from_numpy(draw.standard_normal(g.epitome_shape)).requires_grad_()
    assert torch.autograd.gradcheck(lambda e, *s: RoutingMap(g, s, "free").materialize(e), (epitome, *tables))


@pytest.mark.parametrize("boundary", ["clamp", "circular"])
@pytest.mark.parametrize("scope", ["separable", "joint"])
def test_integer_start_is_the_plain_slice_bit_for_bit(boundary, scope):
    g = EpitomeGeometry((9, 6), (7, 5), (3, 3), scope=scope, boundary=boundary)
    epitome = torch.randn(7, 5)
    starts = torch.tensor([[4.0, 2.0], [0.0, 1.0], [3.0, 0.0]]) if scope == "joint" else torch.tensor([4.0, 1.0, 0.0])
    inner = torch.tensor([[2.0, 1.0], [0.0, 2.0], [1.0, 1.0]]) if scope == "joint" else torch.tensor([2.0, 1.0])
    for read in (lambda t: t, lambda t: t.long()):  # through the two-tap path and through the slice path
        weight = RoutingMap(g, (read(starts), read(inner)), "free").materialize(epitome)
        for i in range(3):
            for j in range(2):
                u = int(starts[i, j] if scope == "joint" else starts[i])
                v = int(inner[i, j] if scope == "joint" else inner[j])
                assert torch.equal(weight[3 * i : 3 * i + 3, 3 * j : 3 * j + 3], epitome[u : u + 3, v : v + 3])


@pytest.mark.parametrize("seed", range(30))
def test_constant_epitome_gives_constant_weight_and_sampling_is_linear(seed):
    layer = random_case(seed, small=True).layer
    sample = layer.routing_map().materialize
    ones = torch.ones_like(layer.epitome)
    assert torch.allclose(
        sample(ones * 3), torch.full(layer.geometry.weight_shape, 3.0, dtype=torch.float64), atol=1e-12
    )
    a, b = torch.randn_like(ones), torch.randn_like(ones)
    assert torch.allclose(sample(2 * a - b), 2 * sample(a) - sample(b), atol=1e-12)


def test_epitome_equal_to_the_weight_is_the_dense_layer():
    conv = torch.nn.Conv2d(6, 9, 3, padding=1)
    layer = EpitomeConv2d.from_conv(conv, epitome_shape=(9, 6, 3, 3), patch_channels=(3, 3))
    x = torch.randn(2, 6, 5, 5)
    assert torch.equal(layer.weight, conv.weight) and torch.equal(layer(x), conv(x))


def test_start_gradient_right_inside_left_at_the_upper_bound_zero_without_room():
    epitome = torch.tensor([[1.0], [3.0], [10.0], [30.0]], dtype=torch.float64)

    def slope(start: float, cells: int = 4) -> float:
        g = EpitomeGeometry((1, 1), (cells, 1), (1, 1))
        s = torch.tensor([start], dtype=torch.float64, requires_grad=True)
        RoutingMap(g, (s, None), "free").materialize(epitome[:cells]).sum().backward()
        return float(s.grad)

    assert [slope(v) for v in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)] == [2, 2, 7, 7, 20, 20]
    assert slope(0.0, cells=1) == 0


def test_clamp_passes_gradient_only_inwards():
    upper = torch.tensor([3.0, 3.0, 3.0, 3.0, 3.0, 0.0, 0.0])
    starts = torch.tensor([0.0, 0.0, 3.0, 3.0, 1.0, 0.0, 0.0], requires_grad=True)
    grad = torch.tensor([-1.0, 1.0, -1.0, 1.0, 1.0, -1.0, 1.0])
    clamp_starts(starts, upper).backward(grad)
    # at 0 a negative gradient (descent moves up) passes; at 3 a positive one does; without room nothing does
    assert starts.grad.tolist() == [-1, 0, 0, 1, 1, 0, 0]
    outside = torch.tensor([-2.0, 5.0], requires_grad=True)
    clamp_starts(outside, torch.tensor([3.0, 3.0])).backward(torch.tensor([-1.0, -1.0]))
    assert outside.grad.tolist() == [-1, 0]


def test_limits_agree_between_numpy_and_torch():
    for seed in range(40):
        g = random_case(seed, small=True).layer.geometry
        for axis in range(len(g.axes)):
            assert start_limits(g, axis, torch.zeros(())).tolist() == g.limits(axis).tolist()


def test_matrix_of_an_axis_that_has_none():
    layer = EpitomeLinear(4, 8, epitome_shape=(4, 4))
    assert layer.routing_map().matrix(0).shape == (8, 4)
    with pytest.raises(GeometryError, match="axis=1"):
        layer.routing_map().matrix(1)


@pytest.mark.parametrize("multiply", [expand, fold])
def test_channels_last_images_give_the_same_values_and_gradients_and_keep_their_layout(multiply):
    geometry = EpitomeGeometry((12, 1), (5, 1), patch_channels=(4, 1))
    starts = torch.tensor([0.25, 1.0, 0.6], dtype=torch.float64, requires_grad=True)
    images = torch.randn(2, 5 if multiply is expand else 12, 4, 3, dtype=torch.float64, requires_grad=True)
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        result = multiply(images.contiguous(memory_format=layout), axis_taps(starts, geometry, 0, True), 1)
        assert result.is_contiguous(memory_format=layout)
        first = torch.autograd.grad(result.square().sum(), (images, starts), create_graph=True)
        found.append((result, *first, *torch.autograd.grad(sum(g.square().sum() for g in first), (images, starts))))
    for ours, other in zip(*found, strict=True):
        torch.testing.assert_close(ours, other)
