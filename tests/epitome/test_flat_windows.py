"""A layer with a flat epitome samples the weight that slow loops give, and its gradients are right."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import nes_lab
from nes_lab.epitome.sampling import sample_patches
from nes_lab.geometry.flat_geometry import FlatGeometry
from nes_lab.nn.free_starts import FreeStarts
from nes_lab.nn.layer import EpitomeLayer

WEIGHTS = {"conv 3x3": (6, 5, 3, 3), "conv 1x1": (9, 7, 1, 1), "conv 1-D": (5, 6, 4), "linear": (7, 10)}


def loops(epitome: np.ndarray, alpha: np.ndarray, starts: np.ndarray, geometry: FlatGeometry) -> np.ndarray:
    """The weight, one entry at a time: its place in its patch, then the sum over windows of blended cells."""
    (b_out, b_in, *kernel), n = geometry.patch_shape, len(epitome)
    weight = np.zeros(geometry.weight_shape)
    for index in product(*map(range, geometry.weight_shape)):
        place = (index[0] % b_out, index[1] % b_in, *index[2:])
        number = 0
        for along, length in zip(place, (b_out, b_in, *kernel), strict=True):
            number = number * length + along
        for k in range(geometry.windows):
            patch = (index[0] // b_out, index[1] // b_in, k)
            position = starts[patch] + number
            low, share = int(np.floor(position)), position - np.floor(position)
            weight[index] += alpha[patch] * ((1 - share) * epitome[low % n] + share * epitome[(low + 1) % n])
    return weight


def layer_of(kind: str, routing: str, windows: int, seed: int = 0) -> EpitomeLayer:
    """A layer whose patches do not divide its channels, whose starts lie anywhere, and some of whose windows wrap around."""
    torch.manual_seed(seed)
    out, inner, *kernel = WEIGHTS[kind]
    numbers = 6 * int(np.prod(kernel))
    options: dict[str, Any] = {
        "epitome_shape": (numbers + 5,),
        "patch_channels": (2, 3),
        "scope": "flat",
        "routing": routing,
        "windows": windows,
        "seed": seed,
        "dtype": torch.float64,
    }
    if kind == "linear":
        layer: EpitomeLayer = nes_lab.EpitomeLinear(inner, out, **options)
    else:
        make = nes_lab.EpitomeConv1d if kind == "conv 1-D" else nes_lab.EpitomeConv2d
        layer = make(inner, out, tuple(kernel), padding="same", **options)
    if isinstance(layer.routing, FreeStarts):
        with torch.no_grad():
            layer.routing.table(0).uniform_(-20, 20)
    return layer


@pytest.mark.parametrize("windows", [1, 2, 3])
@pytest.mark.parametrize("routing", ["tiled", "stride", "random", "free"])
@pytest.mark.parametrize("kind", WEIGHTS)
def test_the_weight_is_the_one_that_loops_give(kind: str, routing: str, windows: int) -> None:
    layer = layer_of(kind, routing, windows, seed=windows)
    assert isinstance(layer.geometry, FlatGeometry) and layer.alpha is not None
    (starts,) = layer.routing_map().starts
    assert starts is not None
    parts = (layer.epitome, layer.alpha, starts)
    expected = loops(*(part.detach().numpy() for part in parts), layer.geometry)
    np.testing.assert_allclose(layer.materialize().detach().numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(layer.routing_map().materialize(layer.epitome).detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_the_output_is_that_of_the_sampled_weight(kind: str) -> None:
    layer = layer_of(kind, "free", 2)
    x = torch.randn(2, WEIGHTS[kind][1], *[6] * layer.op.spatial, dtype=torch.float64)
    run = {0: F.linear, 1: F.conv1d, 2: F.conv2d}[layer.op.spatial]
    extra = {"padding": "same"} if layer.op.spatial else {}
    expected = run(x, layer.materialize(), layer.bias, **extra)
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer.eval()(x), expected)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected)
        assert layer.alpha is not None
        layer.alpha.data.mul_(2)  # the kept weight must not be used
        assert not torch.allclose(layer(x), expected)


@pytest.mark.parametrize("windows", [1, 2, 3])
@pytest.mark.parametrize("kind", ["conv 3x3", "linear"])
def test_gradients_of_cells_factors_and_starts(kind: str, windows: int) -> None:
    layer = layer_of(kind, "free", windows)
    assert isinstance(layer.routing, FreeStarts) and layer.alpha is not None
    starts = layer.routing.read(0).detach().floor() + 0.3 + 0.4 * torch.rand(layer.alpha.shape, dtype=torch.float64)

    def weight(epitome: torch.Tensor, alpha: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        taps = layer.taps((starts,))
        assert taps[0] is not None
        object.__setattr__(taps[0], "alpha", alpha)
        return sample_patches(epitome, taps, layer.geometry)

    inputs = [t.detach().clone().requires_grad_() for t in (layer.epitome, layer.alpha, starts)]
    assert torch.autograd.gradcheck(weight, inputs)


def test_training_reaches_cells_factors_and_starts() -> None:
    layer = layer_of("conv 3x3", "free", 2)
    layer(torch.randn(1, 5, 6, 6, dtype=torch.float64)).square().sum().backward()
    grads = [layer.epitome.grad, layer.alpha.grad if layer.alpha is not None else None, layer.routing.table(0).grad]
    assert all(grad is not None and bool((grad != 0).any()) for grad in grads)


def test_a_start_past_the_end_reads_what_the_same_start_inside_reads() -> None:
    layer = layer_of("linear", "free", 2)
    before = layer.materialize()
    with torch.no_grad():
        layer.routing.table(0).add_(layer.geometry.epitome_shape[0])
    torch.testing.assert_close(layer.materialize(), before)


def test_only_materialize_computes_it_at_the_dense_cost() -> None:
    layer = nes_lab.EpitomeConv2d(8, 16, 3, epitome_shape=(200,), scope="flat", routing="random", windows=2)
    cost = layer.cost((1, 8, 8, 8))
    assert layer.available_executions() == ("materialize",)
    assert (cost.madds, cost.weight_madds) == (36 * 9 * 8 * 16, 2 * 9 * 8 * 16)
    with pytest.raises(nes_lab.PlanError, match="flat"):
        layer.execution = "factored"


def test_an_index_learner_is_refused() -> None:
    with pytest.raises(nes_lab.OptionError, match="learner"):
        nes_lab.EpitomeLinear(8, 8, epitome_shape=(40,), scope="flat", routing="learner")
