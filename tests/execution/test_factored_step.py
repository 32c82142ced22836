"""A factored training step as one operation of autograd: what the composed operations give, in fewer calls."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from nes_lab.epitome.learned_cells import LearnedCells, StartsLayout
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.nn import layer_forward as layers
from nes_lab.nn.conv import EpitomeConv1d, EpitomeConv2d
from nes_lab.nn.layer import EpitomeLayer
from tests.geometries import random_case

CASES = {
    "3x3": ((2, 12, 7, 6), {"kernel_size": 3, "padding": 1, "stride": 2}),
    "matrix": ((3, 12, 4, 3), {"kernel_size": 1}),
    "one sample": ((1, 12, 4, 3), {"kernel_size": 1}),
    "large map": ((2, 12, 9, 8), {"kernel_size": 1}),
    "strided": ((2, 12, 9, 8), {"kernel_size": 1, "stride": 2}),
}
AXES = {"both": (7, 8), "input": (10, 8), "output": (7, 12)}


def _layer(case: str, axes: str, routing: str, boundary: str = "clamp") -> tuple[EpitomeLayer, torch.Tensor]:
    torch.manual_seed(0)
    shape, options = CASES[case]
    k = options["kernel_size"]
    free = routing in ("free", "learner")
    layer = EpitomeConv2d(
        12,
        10,
        **options,
        epitome_shape=(*AXES[axes], k, k),
        patch_channels=(3, 4) if free else (1, 1),  # with one channel per patch there are too many slices
        routing=routing,
        boundary=boundary,
        execution="factored",
        dtype=torch.float64,
    )
    with torch.no_grad():
        for parameter in layer.routing.parameters():
            parameter.normal_(std=0.3)
        if routing == "free":  # inside the cells; what happens at a bound has a test of its own
            for axis, starts in enumerate(layer.routing.current()):
                if starts is not None:
                    high = torch.as_tensor(layer.geometry.limits(axis))
                    layer.routing.set_starts_(
                        axis, (torch.rand(high.shape) * 9).minimum(high - 0.1).maximum(high * 0.1)
                    )
    return layer, torch.randn(shape, dtype=torch.float64).requires_grad_()


def _derivatives(layer: EpitomeLayer, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """The output, its first derivatives, and derivatives of a function of these."""
    inputs = {"x": x, **dict(layer.named_parameters())}
    y = layer(x)
    one_operation = layers.step_possible(x, layer.epitome, layer.op) and layer._steps.find(x, layer) is None
    assert ("_Step" in y.grad_fn.name()) == one_operation
    first = torch.autograd.grad(y.sin().sum(), list(inputs.values()), create_graph=True)
    second = torch.autograd.grad(sum(g.cos().sum() for g in first), list(inputs.values()), allow_unused=True)
    found = {"y": y}
    for name, g, h in zip(inputs, first, second, strict=True):
        found |= {f"d {name}": g, f"dd {name}": torch.zeros_like(g) if h is None else h}
    return found


@pytest.mark.parametrize("boundary", ["clamp", "circular"])
@pytest.mark.parametrize("routing", ["random", "free", "learner", "frozen"])
@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("case", CASES)
def test_first_and_second_derivatives_are_those_of_the_composition(case, axes, routing, boundary, monkeypatch):
    layer, x = _layer(case, axes, "free" if routing == "frozen" else routing, boundary)
    if routing == "frozen":
        layer.freeze()
    other = copy.deepcopy(layer)
    found = _derivatives(layer, x)
    monkeypatch.setattr(layers, "step_possible", lambda *given: False)
    for name, value in _derivatives(other, x).items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
    for (name, a), b in zip(layer.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, msg=name)  # offsets beyond a bound are stored at the bound


@pytest.mark.parametrize("case", CASES)
def test_gradients_at_the_bounds_are_those_of_the_composition(case, monkeypatch):
    layer, x = _layer(case, "both", "free")
    with torch.no_grad():
        for _, table in layer.routing.tables():
            table.copy_(torch.tensor([-9, 9, 0.3, -0.2])[: len(table)])
    other = copy.deepcopy(layer)
    found = _firsts(layer, x)
    monkeypatch.setattr(layers, "step_possible", lambda *given: False)
    for a, b in zip(found, _firsts(other, x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    for (name, a), b in zip(layer.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name  # offsets beyond a bound are stored at the bound
    starts = layer.routing.current()
    assert all(
        (starts[a] == 0).any() and (starts[a] == torch.as_tensor(layer.geometry.limits(a))).any() for a in (0, 1)
    )


def test_gradients_that_nobody_needs_are_left_out():
    for frozen in ("epitome", "start_offsets_out", "start_offsets_in", "bias", "x"):
        layer, x = _layer("3x3", "both", "free")
        full = dict(zip(["x", *dict(layer.named_parameters())], _firsts(layer, x), strict=True))
        for name, tensor in {"x": x, **dict(layer.named_parameters())}.items():
            tensor.requires_grad_(frozen not in name)
        left = {n: t for n, t in {"x": x, **dict(layer.named_parameters())}.items() if t.requires_grad}
        grads = torch.autograd.grad(layer(x).sin().sum(), list(left.values()))
        for name, g in zip(left, grads, strict=True):
            torch.testing.assert_close(g, full[name])


def _firsts(layer: EpitomeLayer, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(layer(x).sin().sum(), [x, *layer.parameters()])


def test_cells_are_kept_until_a_start_leaves_its_cell():
    layer, x = _layer("matrix", "both", "free")
    layer.routing.set_starts_(0, torch.tensor([0.25, 1.25, 2.25, 3.25]))
    layer(x)
    kept = layer._taps._cells[0]
    for move, same in ((0.5, True), (0.5, False)):
        layer.routing.start_offsets_out.data.add_(move)  # torch does not count this
        torch.testing.assert_close(layer(x), layer.op(x, layer.materialize(), layer.bias))
        assert (layer._taps._cells[0] is kept) == same
    assert not copy.deepcopy(layer)._taps._cells


def test_cells_are_kept_if_rounding_puts_a_predicted_start_above_the_end():
    layout = StartsLayout(EpitomeGeometry((8, 6), (6, 6), (3, 6)), (0,), np.dtype(np.float32))
    starts = layout.limits.copy()
    for clamped in (True, False):
        cells = LearnedCells.of(starts, layout, clamped)
        assert (cells.fractions(starts) == 1).all()
        above = cells.fractions(np.nextafter(starts, np.float32(9)))
        assert (above is None) == clamped  # stored starts must be clamped, so this must be noticed


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_start_that_is_no_number_gives_the_output_of_the_composition(number, monkeypatch):
    for boundary in ("clamp", "circular"):
        layer, x = _layer("3x3", "both", "free", boundary)
        layer(x)
        with torch.no_grad():
            layer.routing.start_offsets_in[1] = number
        y = layer(x)
        with monkeypatch.context() as patch:
            patch.setattr(layers, "step_possible", lambda *given: False)
            torch.testing.assert_close(y, layer(x), equal_nan=True)


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_random_layers_give_the_second_derivatives_of_the_composition(seed, monkeypatch):
    case = random_case(seed, torch.float64)
    layer, x = case.layer, case.input(torch.float64, seed).requires_grad_()
    if "factored" not in layer.available_executions() or not x.numel():
        return
    layer.execution = "factored"
    other = copy.deepcopy(layer)
    found = _derivatives(layer, x)
    monkeypatch.setattr(layers, "step_possible", lambda *given: False)
    for name, value in _derivatives(other, x).items():
        if not name.startswith("dd routing"):  # some starts are at a bound
            torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-8)


# ---- number of calls -------------------------------------------------------------------------------------------------

MOST_CALLS = {"tiled": 50, "random": 60, "free": 75, "learner": 115}
"""Largest number of calls of ATen in the forward and backward pass of one layer, beyond those of a dense 1x1 convolution."""


def _calls(module: torch.nn.Module, x: torch.Tensor) -> int:
    def step() -> None:
        module.zero_grad()
        module(x).sum().backward()

    step()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        step()
    return sum(event.count for event in found.key_averages() if event.key.startswith("aten::"))


@pytest.mark.parametrize("routing", MOST_CALLS)
def test_a_step_makes_few_calls(routing):
    patch = None if routing == "tiled" else (16, 16)
    layer = EpitomeConv2d(
        64, 96, 1, bias=False, epitome_shape=(80, 48, 1, 1), patch_channels=patch, routing=routing, execution="factored"
    )
    x = torch.randn(8, 64, 4, 4, requires_grad=True)
    dense = _calls(torch.nn.Conv2d(64, 96, 1, bias=False), x)
    assert _calls(layer, x) - dense <= MOST_CALLS[routing]


def test_one_dimension_and_a_batch_of_none():
    layer = EpitomeConv1d(6, 8, 3, epitome_shape=(4, 4, 3), patch_channels=(2, 2), routing="free", execution="factored")
    for x in (torch.randn(0, 6, 9), torch.randn(2, 6, 9)):
        x.requires_grad_()
        y = layer(x)
        torch.testing.assert_close(y, layer.op(x, layer.materialize(), layer.bias))
        y.sum().backward()
        assert x.grad is not None and layer.epitome.grad is not None


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("routing", ["tiled", "random", "free", "learner"])
def test_the_output_can_be_written_into(case, axes, routing):
    """As ``nn.ReLU(inplace=True)`` does; the gradients are those of a separate output."""
    layer, x = _layer(case, axes, routing)
    wanted, inputs = layer(x).relu(), [x, *layer.parameters()]
    expected = torch.autograd.grad(wanted.square().sum(), inputs, allow_unused=True)
    found = layer(x).relu_()
    if routing != "learner":  # its moving average has moved between the two calls
        assert torch.equal(found, wanted)
        for g, h in zip(torch.autograd.grad(found.square().sum(), inputs, allow_unused=True), expected, strict=True):
            assert (g is None and h is None) or torch.allclose(g, h)
    else:
        found.sum().backward()


@pytest.mark.parametrize("routing", ["free", "learner"])
def test_positions_that_a_stride_skips_are_dropped_inside_the_operation(routing):
    layer, x = _layer("strided", "both", routing)
    before = {fn for fn, _ in layer(x.requires_grad_()).grad_fn.next_functions if fn is not None}
    assert {type(fn).__name__ for fn in before} == {
        "AccumulateGrad"
    }  # x itself, epitome, bias, and what holds the starts
