"""Every execution computes what F.conv(x, materialize()) computes: values, gradients, cost. A new one adds nothing here:
the suite walks the registry, and takes a layer with windows for an execution that needs them."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nes_lab.epitome.sampling import sample_patches
from nes_lab.epitome.taps import axis_taps
from nes_lab.errors import PlanError
from nes_lab.execution.registry import EXECUTIONS
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.nn.conv import EpitomeConv1d, EpitomeConv2d, EpitomeConv3d
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.linear import EpitomeLinear
from nes_lab.nn.same import EpitomeConv2dSame
from nes_lab.nn.starts import offset_name
from tests.geometries import Case, random_case

# Rounding of a sum of a few hundred products, with room for another order of summation.
VALUE = {torch.float32: 1e-5, torch.float64: 1e-12}
GRADIENT = {torch.float32: 1e-5, torch.float64: 1e-11}


def _close(a: torch.Tensor, b: torch.Tensor, tolerance: float, scale: float | None = None) -> None:
    if b.numel() == 0:
        assert a.shape == b.shape
        return
    scale = float(b.detach().abs().max()) if scale is None else scale
    assert float((a - b).detach().abs().max()) <= tolerance * max(scale, 1e-3)


def _dense(layer: EpitomeLayer, x: torch.Tensor) -> torch.Tensor:
    return layer.op(x, layer.materialize(), layer.bias)


def _grads(y: torch.Tensor, x: torch.Tensor, layer: EpitomeLayer, seed: int) -> dict[str, torch.Tensor]:
    cotangent = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(y.dtype)
    named = {"input": x, **dict(layer.named_parameters())}
    found = torch.autograd.grad(y, list(named.values()), cotangent, allow_unused=True, retain_graph=True)
    return {n: torch.zeros_like(t) if g is None else g for (n, t), g in zip(named.items(), found, strict=True)}


def _starts_scales(layer: EpitomeLayer, x: torch.Tensor, seed: int) -> dict[str, torch.Tensor]:
    """Sum of the absolute terms behind each start's gradient: it cancels, so its own size says nothing of rounding.

    The terms are ``dL/dW * dW/ds`` per weight entry, with the clamp left out (it lets a gradient pass or not).
    """
    g = layer.geometry
    tables = {a: s.detach().requires_grad_() for a, s in enumerate(layer.routing_map().starts) if s is not None}
    taps = [axis_taps(tables[a], g, a, True) if a in tables else None for a in range(len(g.axes))]
    weight = sample_patches(layer.epitome.detach(), taps, g)
    y = layer.op(x.detach(), weight, layer.bias)
    cotangent = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(y.dtype)
    upstream = torch.autograd.grad(y, weight, cotangent, retain_graph=True)[0] if weight.requires_grad else None
    scales = {}
    for axis, table in tables.items():
        ends = []
        for share in (0.0, 1.0):  # the weight is linear in a start inside its cell, so its slope is a difference
            moved = replace(taps[axis], frac=torch.full_like(taps[axis].frac, share).detach())
            ends.append(sample_patches(layer.epitome.detach(), [*taps[:axis], moved, *taps[axis + 1 :]], g).detach())
        terms = (upstream * (ends[1] - ends[0])).abs()
        sums = torch.autograd.grad((terms * _shaped(taps[axis].frac, axis, g)).sum(), table, retain_graph=True)[0]
        scales[f"routing.{offset_name(g, axis)}"] = sums
    return scales


def _shaped(frac: torch.Tensor, axis: int, g: EpitomeGeometry) -> torch.Tensor:
    """The shares of an axis, broadcast over the weight."""
    shape = [1] * len(g.weight_shape)
    if g.scope == "joint":
        shape[:2] = g.weight_shape[:2]
    elif axis >= 2:
        shape[0] = g.weight_shape[0]
    if axis >= 2 or g.scope == "separable":
        shape[axis] = g.weight_shape[axis]
    return frac.reshape(shape)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("block", range(10))
def test_two_hundred_random_geometries(block, dtype):
    """Values and all gradients of every available execution against the dense operation with the materialized weight."""
    for seed in range(block * 20, block * 20 + 20):
        _conforms(random_case(seed, dtype), dtype, seed)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("block", range(5))
def test_a_hundred_random_geometries_with_windows(block, dtype):
    """The same where a kernel axis is sampled, which is rare above: the execution ``product_map`` computes every one."""
    for seed in range(block * 20, block * 20 + 20):
        assert "product_map" in _conforms(random_case(seed, dtype, windows=True), dtype, seed)


@pytest.mark.parametrize("windows", [False, True], ids=["any", "windows"])
@pytest.mark.parametrize("make", [EpitomeConv2dSame, EpitomeConv3d])
def test_random_geometries_of_the_other_convolutions(make, windows):
    for seed in range(20):
        case = random_case(seed, torch.float64, windows=windows, make=make)
        assert ("product_map" in _conforms(case, torch.float64, seed)) or not windows
        _costs_what_it_says(case)


def _conforms(case: Case, dtype: torch.dtype, seed: int) -> tuple[str, ...]:
    """Check every available execution; returns their names."""
    layer, x = case.layer, case.input(dtype, seed).requires_grad_()
    expected = _dense(layer, x)
    wanted = _grads(expected, x, layer, seed)
    scales = {} if layer.frozen else _starts_scales(layer, x, seed)
    for name in layer.available_executions():
        layer.execution = name
        y = layer(x)
        _close(y, expected, VALUE[dtype])
        for what, gradient in _grads(y, x, layer, seed).items():
            if what in scales:
                error = (gradient - wanted[what]).abs()
                assert (error <= GRADIENT[dtype] * scales[what].clamp_min(1e-3)).all(), (seed, name, what)
            else:
                _close(gradient, wanted[what], GRADIENT[dtype])
    return layer.available_executions()


@pytest.mark.parametrize("windows", [False, True], ids=["any", "windows"])
@pytest.mark.parametrize("seed", range(40))
def test_counted_madds_are_the_measured_ones(seed, windows):
    """The convolution column of an execution's cost formula equals FlopCounterMode / 2."""
    _costs_what_it_says(random_case(seed, torch.float32, windows=windows))


def _costs_what_it_says(case: Case) -> None:
    for name in case.layer.available_executions():
        case.layer.execution = name
        case.layer.eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            case.layer(case.input(case.layer.epitome.dtype))
        assert counter.get_total_flops() == 2 * case.layer.cost(case.input_shape).conv_madds


def _plain(routing: str = "free", execution: str = "auto", **options) -> EpitomeConv2d:
    """A usual layer; for ``product_map`` one whose epitome is longer than the window along both kernel axes; or a 1x1 one."""
    torch.manual_seed(0)
    window = (4, 5) if execution == "product_map" else (3, 3)
    settings = {"epitome_shape": (12, 10, *window), "patch_channels": (4, 4), "padding": 1} | options
    if execution.endswith("_matmul"):
        settings |= {"epitome_shape": (12, 10, 1, 1), "padding": 0}
    kernel = 1 if execution.endswith("_matmul") else 3
    layer = EpitomeConv2d(16, 24, kernel, routing=routing, execution=execution, **settings)
    if routing == "free":
        with torch.no_grad():
            for axis, table in layer.routing.tables():
                high = torch.from_numpy(layer.geometry.limits(axis)).to(table)
                table.copy_((layer.routing.anchor(axis) + 0.37).minimum(high.clamp_max(5)) - layer.routing.anchor(axis))
    return layer


@pytest.mark.parametrize("name", [name for name in EXECUTIONS if name.endswith("_matmul")])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(1, 16, 5, 6), (3, 16, 5, 6), (16, 5, 6)])
def test_matrix_products_give_values_gradients_and_counts_of_convolutions(name, stride, shape):
    for routing in ("tiled", "free"):
        layer = _plain(routing, name, stride=stride, bias=stride == 1).double()
        for format in (torch.contiguous_format, torch.channels_last)[: len(shape) - 2]:
            x = torch.randn(shape, dtype=torch.float64).contiguous(memory_format=format).requires_grad_()
            y, expected = layer(x), _dense(layer, x)
            _close(y, expected, 1e-12)
            assert y.shape == expected.shape
            for what, gradient in _grads(y, x, layer, 0).items():
                _close(gradient, _grads(expected, x, layer, 0)[what], 1e-11)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            layer.eval()(x)
        if routing == "tiled":
            assert counter.get_total_flops() == 2 * layer.cost(shape if len(shape) == 4 else (1, *shape)).conv_madds


@pytest.mark.parametrize("name", EXECUTIONS)
@pytest.mark.parametrize("batch", [0, 1])
def test_empty_and_single_batches(name, batch):
    layer = _plain(execution=name)
    x = torch.randn(batch, 16, 5, 5, requires_grad=True)
    y = layer(x)
    _close(y, _dense(layer, x), 1e-5)
    y.sum().backward()
    assert x.grad is not None and layer.epitome.grad is not None


@pytest.mark.parametrize("name", EXECUTIONS)
def test_unbatched_input(name):
    layer, x = _plain(execution=name), torch.randn(16, 6, 6)
    _close(layer(x), layer(x[None])[0], 1e-6)


@pytest.mark.parametrize("name", EXECUTIONS)
@pytest.mark.parametrize("routing", ["tiled", "free", "learner"])
def test_bfloat16_autocast_and_cast(name, routing):
    """Half precision: tolerance of bfloat16 (8 bits) for sums of 144 products."""
    layer, x = _plain(routing, name).eval(), torch.randn(2, 16, 6, 6)
    expected = _dense(layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert (y.float() - expected).abs().max() <= 0.03 * expected.abs().max()
    low = copy.deepcopy(layer).bfloat16()
    for _, table in low.routing.tables():
        assert not table.is_floating_point() or table.dtype == torch.float32  # a start of 257.5 has no bfloat16
    z = low(x.bfloat16())
    assert z.dtype == torch.bfloat16
    assert (z.float() - expected).abs().max() <= 0.03 * expected.abs().max()


@pytest.mark.parametrize("name", EXECUTIONS)
@pytest.mark.parametrize("routing", ["tiled", "free", "learner"])
def test_state_dict_and_deepcopy_round_trip(name, routing):
    layer, x = _plain(routing, name).eval(), torch.randn(2, 16, 6, 6)
    with torch.no_grad():
        layer(x)  # fills the caches
        copied, fresh = copy.deepcopy(layer), _plain(routing, name).eval()
        fresh(x)
        fresh.load_state_dict(layer.state_dict())
        assert torch.equal(copied(x), layer(x)) and torch.equal(fresh(x), layer(x))
        copied.epitome.mul_(2)
        assert not torch.equal(copied(x), layer(x))
        _close(copied(x), _dense(copied, x), 1e-5)


@pytest.mark.parametrize("name", ["auto", *EXECUTIONS])
@pytest.mark.parametrize("routing", ["tiled", "free", "learner"])
def test_compiles_as_one_graph(name, routing):
    """fullgraph, training and inference; the backend that needs no compiler, since it is the tracing that is tested."""
    layer, x = _plain(routing, name), torch.randn(2, 16, 6, 6)
    torch.compiler.reset()
    for training in (True, False):
        layer.train(training)
        eager = copy.deepcopy(layer)
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        y, expected = compiled(x), eager(x)
        _close(y, expected, 1e-5)
        if training:
            y.sum().backward()
            expected.sum().backward()
            _close(layer.epitome.grad, eager.epitome.grad, 1e-5)
            layer.zero_grad()


def test_auto_takes_the_cheapest():
    layer = _plain("tiled")
    costs = {
        n: EXECUTIONS[n].cost(layer.form, layer.op.positions((1, 16, 8, 8))).madds for n in layer.available_executions()
    }
    assert layer.resolved_execution((1, 16, 8, 8)).name == min(costs, key=costs.get) == "factored"


@pytest.mark.parametrize(
    ("layer", "name", "why"),
    [
        (lambda: EpitomeConv2d(8, 8, 3, epitome_shape=(4, 4, 3, 3), scope="joint"), "factored", "joint"),
        (lambda: EpitomeConv2d(8, 8, 3, epitome_shape=(4, 4, 3, 3), scope="joint"), "wrapped", "joint"),
        (lambda: EpitomeConv2d(8, 8, 3, epitome_shape=(4, 4, 4, 3)), "factored", "kernel axis 'k0'"),
        (lambda: EpitomeConv1d(8, 8, 3, groups=2, epitome_shape=(4, 2, 3)), "factored", "groups=2"),
        (lambda: EpitomeConv1d(8, 8, 3, groups=8, epitome_shape=(4, 1, 3)), "wrapped", "depthwise"),
        (lambda: EpitomeLinear(8, 8, epitome_shape=(4, 4)), "fractored", "Did you mean 'factored'"),
    ],
)
def test_execution_that_cannot_compute_a_layer_is_refused_with_its_reason(layer, name, why):
    made = layer()
    before = made.execution
    with pytest.raises(PlanError, match=why):
        made.execution = name
    assert made.execution == before  # nothing half set


def test_strided_pointwise_folds_only_what_is_read():
    """A 1x1 convolution of stride 2 reads a quarter of the positions; the fold must not pay for the rest."""
    layer = EpitomeConv2d(8, 8, 1, stride=2, epitome_shape=(8, 4, 1, 1), patch_channels=(8, 2), routing="free")
    assert layer.op.positions((1, 8, 7, 7)) == (16, 16)
    assert layer.cost((1, 8, 7, 7)).tap_madds == 2 * 8 * 16
