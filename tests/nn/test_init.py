"""Least squares for given starts, against a dense solution of the same problem in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nes_lab.epitome.routing_map import RoutingMap
from nes_lab.errors import GeometryError
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.nn.init import fit_epitome, fit_method, relative_residual
from tests.geometries import random_case

EXACT = 1e-8  # float64, and the conjugate gradients stop at 1e-12 of their residual


def _dense(routing_map, row_scale=None, moment=None):
    """The system as a matrix, one column a cell, one equation a weight; and the root of the moment."""
    shape = routing_map.geometry.epitome_shape
    basis = torch.eye(torch.Size(shape).numel(), dtype=torch.float64)
    columns = torch.stack([routing_map.materialize(b.view(shape)) for b in basis], -1)
    if row_scale is not None:
        columns = columns * row_scale.view(-1, *[1] * (columns.ndim - 1))
    size = columns[0, ..., 0].numel()
    root = torch.eye(size, dtype=torch.float64) if moment is None else torch.linalg.cholesky(moment).T
    return torch.einsum("pq,oqc->opc", root, columns.flatten(1, -2)).flatten(0, 1), root


def _oracle(routing_map, weight, row_scale=None, moment=None):
    """Least norm solution of the dense system."""
    system, root = _dense(routing_map, row_scale, moment)
    return (torch.linalg.pinv(system) @ (weight.flatten(1) @ root.T).flatten()).view(routing_map.geometry.epitome_shape)


def _problem(seed, scaled, weighted):
    case = random_case(seed, small=True)
    routing_map = case.layer.routing_map()
    draw = torch.Generator().manual_seed(seed)
    shape = routing_map.geometry.weight_shape
    weight = torch.randn(shape, generator=draw, dtype=torch.float64)
    row_scale = torch.rand(shape[0], generator=draw, dtype=torch.float64) + 0.5 if scaled else None
    size = weight[0].numel()
    root = torch.randn(size, size, generator=draw, dtype=torch.float64)
    moment = root @ root.T + 0.5 * size * torch.eye(size, dtype=torch.float64) if weighted else None
    return routing_map, weight, row_scale, moment


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), scaled=st.booleans(), weighted=st.booleans())
def test_fit_epitome_agrees_with_a_dense_solver(seed, scaled, weighted):
    problem = _problem(seed, scaled, weighted)
    routing_map, weight, row_scale, moment = problem
    epitome = fit_epitome(routing_map, weight, row_scale=row_scale, moment=moment)
    expected, how = _oracle(*problem), {"row_scale": row_scale, "moment": moment}
    residuals = [relative_residual(routing_map, weight, e, **how) for e in (epitome, expected)]
    assert residuals[0] == pytest.approx(residuals[1], abs=1e-6)
    values = torch.linalg.svdvals(_dense(routing_map, row_scale, moment)[0])
    least = values[values > 1e-12 * values.max()].min()
    if fit_method(routing_map, moment) != "conjugate gradients" or values.max() < 30 * least:  # iterations see no more
        assert (epitome - expected).abs().max() <= EXACT * float(expected.abs().max()) * float(values.max() / least)


@pytest.mark.parametrize("scope", ["separable", "joint"])
@pytest.mark.parametrize("boundary", ["clamp", "circular"])
def test_fit_epitome_solves_by_each_method(scope, boundary):
    geometry = EpitomeGeometry((6, 5, 3), (4, 5, 3), (2, 2), scope, boundary)
    for values, moment, method in [
        ([0.0, 1.0, 2.0], None, "averages"),
        ([0.3, 1.0, 1.5], None, "axis by axis" if scope == "separable" else "conjugate gradients"),
        ([0.0, 1.0, 2.0], torch.eye(15), "axis by axis" if scope == "separable" else "conjugate gradients"),
    ]:
        starts = torch.tensor(values, dtype=torch.float64)
        starts = starts if scope == "separable" else starts.unsqueeze(1).expand(3, 3).contiguous()
        routing_map = RoutingMap(geometry, (starts, None, None), "free")
        assert fit_method(routing_map, moment) == method
        weight = torch.randn(6, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        epitome = fit_epitome(routing_map, weight, moment=moment)
        assert (epitome - _oracle(routing_map, weight)).abs().max() <= EXACT


def test_fit_epitome_keeps_the_dtype_and_leaves_unread_cells_zero():
    geometry = EpitomeGeometry((4, 2), (5, 2), (2, 2))
    routing_map = RoutingMap(geometry, (torch.tensor([0, 1]), None), "free")
    weight = torch.randn(4, 2, requires_grad=True)
    epitome = fit_epitome(routing_map, weight)
    assert epitome.dtype == torch.float32 and not epitome.requires_grad
    assert torch.equal(epitome[3:], torch.zeros(2, 2)) and bool((epitome[:3] != 0).all())


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), scaled=st.booleans(), weighted=st.booleans())
def test_fit_epitome_leaves_the_smallest_residual(seed, scaled, weighted):
    routing_map, weight, row_scale, moment = _problem(seed, scaled, weighted)
    how = {"row_scale": row_scale, "moment": moment}
    epitome = fit_epitome(routing_map, weight, **how)
    best = relative_residual(routing_map, weight, epitome, **how)
    assert best == pytest.approx(relative_residual(routing_map, weight, **how), abs=1e-7)
    draw = torch.Generator().manual_seed(seed)
    for size in (1e-3, 1e-1):
        other = epitome + size * torch.randn(epitome.shape, generator=draw, dtype=torch.float64)
        assert relative_residual(routing_map, weight, other, **how) >= best - 1e-12
    assert 0 <= best <= 1


def test_relative_residual_by_hand_and_of_zeros():
    tiled = RoutingMap(EpitomeGeometry((2, 1), (1, 1)), (torch.tensor([0, 0]), None), "tiled")
    assert relative_residual(tiled, torch.tensor([[3.0], [5.0]])) == pytest.approx((2 / 34) ** 0.5)
    assert relative_residual(tiled, torch.tensor([[3.0], [5.0]]), torch.zeros(1, 1)) == 1.0
    assert relative_residual(tiled, torch.tensor([[1.0], [2.0]]), row_scale=torch.tensor([1.0, 2.0])) < 1e-12
    assert relative_residual(tiled, torch.zeros(2, 1)) == 0.0
    with pytest.raises(GeometryError, match=r"weight has shape \(3, 1\)"):
        fit_epitome(tiled, torch.zeros(3, 1))
