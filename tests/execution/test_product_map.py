"""The execution ``product_map`` by itself: answers worked by hand, nested loops, gradients, precision, and when it pays."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nes_lab.errors import GeometryError, PlanError
from nes_lab.execution.base import ExecutionCost, LayerForm
from nes_lab.execution.registry import EXECUTIONS
from nes_lab.nn.conv import EpitomeConv1d, EpitomeConv2d
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.linear import EpitomeLinear
from nes_lab.nn.starts import offset_name
from tests import oracles
from tests.geometries import random_case

PRODUCT_MAP = EXECUTIONS["product_map"]


def _moved(layer: EpitomeLayer, seed: int = 0) -> EpitomeLayer:
    """Learned starts well inside their cells, where a difference quotient is the derivative."""
    draw = np.random.default_rng(seed)
    with torch.no_grad():
        for axis, table in layer.routing.tables():
            high = layer.geometry.limits(axis)
            cell = np.floor(draw.uniform(0, 1, table.shape) * high)
            inside = np.minimum(cell, np.maximum(high - 1, 0)) + np.where(
                high > 0, draw.uniform(0.2, 0.8, high.shape), 0
            )
            layer.routing.set_starts_(axis, torch.from_numpy(inside))
    return layer


def _by_hand_1d(**options) -> EpitomeConv1d:
    """Three windows ``[1 2] [2 3] [3 4]`` of the filter ``1 2 3 4``."""
    layer = EpitomeConv1d(
        1, 3, 2, bias=False, epitome_shape=(1, 1, 4), routing="stride", execution="product_map", **options
    )
    with torch.no_grad():
        layer.epitome.copy_(torch.arange(1.0, 5.0).view(1, 1, 4))
    return layer


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ({}, [[21, 210, 2100], [32, 320, 3200], [43, 430, 4300]]),
        ({"padding": 1}, [[2, 21, 210, 2100, 1000], [3, 32, 320, 3200, 2000], [4, 43, 430, 4300, 3000]]),
        ({"padding": "same"}, [[21, 210, 2100, 1000], [32, 320, 3200, 2000], [43, 430, 4300, 3000]]),
        ({"dilation": 2}, [[201, 2010], [302, 3020], [403, 4030]]),
        ({"stride": 2}, [[21, 2100], [32, 3200], [43, 4300]]),
        ({"stride": 2, "padding": 1}, [[2, 210, 1000], [3, 320, 2000], [4, 430, 3000]]),
    ],
    ids=str,
)
def test_windows_by_hand(options, answer):
    """On ``1 10 100 1000`` the digits of an output are the weights that were read."""
    y = _by_hand_1d(**options)(torch.tensor([[[1.0, 10.0, 100.0, 1000.0]]]))
    assert y.tolist() == [answer]


def test_fractional_start_is_a_blend_of_two_windows_by_hand():
    """Starts 0, 0.5 and 2: the middle window is ``[1.5 2.5]``."""
    layer = EpitomeConv1d(1, 3, 2, epitome_shape=(1, 1, 4), bias=False, routing="free", execution="product_map")
    with torch.no_grad():
        layer.epitome.copy_(torch.arange(1.0, 5.0).view(1, 1, 4))
        layer.routing.set_starts_(2, torch.tensor([0.0, 0.5, 2.0]))
    assert layer(torch.tensor([[[1.0, 10.0, 100.0]]])).tolist() == [[[21, 210], [26.5, 265], [43, 430]]]


def test_windows_of_two_axes_by_hand():
    """Windows ``[1 2; 4 5]`` and ``[5 6; 8 9]`` of a filter 1..9 on ``1 10; 100 1000``."""
    layer = EpitomeConv2d(
        1, 2, 2, padding=(0, 1), bias=False, epitome_shape=(1, 1, 3, 3), routing="stride", execution="product_map"
    )
    with torch.no_grad():
        layer.epitome.copy_(torch.arange(1.0, 10.0).view(1, 1, 3, 3))
    y = layer(torch.tensor([[[[1.0, 10.0], [100.0, 1000.0]]]]))
    assert y.tolist() == [[[[502, 5421, 4010]], [[906, 9865, 8050]]]]


def _convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, layer: EpitomeLayer) -> np.ndarray:
    """A convolution, one product at a time."""
    op, sizes = layer.op, x.shape[2:]
    reach = [d * (k - 1) for d, k in zip(op.dilation, op.kernel_size, strict=True)]
    if op.padding == "same":
        pads = [(r // 2, r - r // 2) for r in reach]
    else:
        pads = [(p, p) for p in op.padding]
    out = [(n + sum(p) - r - 1) // s + 1 for n, p, r, s in zip(sizes, pads, reach, op.stride, strict=True)]
    y = np.zeros((x.shape[0], weight.shape[0], *out)) + bias.reshape(-1, *[1] * op.spatial)
    for n, o, *at in product(*map(range, y.shape)):
        for i, *tap in product(*map(range, weight.shape[1:])):
            place = [a * s - p[0] + j * d for a, s, p, j, d in zip(at, op.stride, pads, tap, op.dilation, strict=True)]
            if all(0 <= q < size for q, size in zip(place, sizes, strict=True)):
                y[(n, o, *at)] += x[(n, i, *place)] * weight[(o, i, *tap)]
    return y


@pytest.mark.parametrize("seed", range(30))
def test_nested_loops(seed):
    """Weight and convolution from loops that share no code with the execution; rounding of float64."""
    case = random_case(seed, small=True, windows=True)
    layer, x = case.layer, case.input(torch.float64, seed)
    layer.execution = "product_map"
    starts = [None if s is None else s.numpy() for s in layer.routing_map().starts]
    weight = oracles.sample(layer.epitome.detach().numpy(), starts, layer.geometry)
    bias = np.zeros(weight.shape[0]) if layer.bias is None else layer.bias.detach().numpy()
    expected = _convolve(x.numpy(), weight, bias, layer)
    with torch.no_grad():
        assert np.allclose(layer(x).numpy(), expected, rtol=0, atol=1e-12 * max(1.0, np.abs(expected).max()))


def _convs(**options) -> list[EpitomeLayer]:
    options = {"routing": "free", "execution": "product_map", "dtype": torch.float64} | options
    return [
        EpitomeConv1d(4, 5, 3, 2, 2, 2, epitome_shape=(3, 3, 6), patch_channels=(2, 2), **options),
        EpitomeConv2d(
            3, 4, (2, 3), (1, 2), "valid", (2, 1), epitome_shape=(3, 2, 4, 5), patch_channels=(2, 1), **options
        ),
        EpitomeConv2d(3, 4, (2, 3), padding="same", epitome_shape=(4, 3, 4, 3), patch_channels=(2, 3), **options),
    ]


@pytest.mark.parametrize("which", range(3))
def test_gradcheck_of_input_epitome_starts_bias_and_scale(which):
    """Against difference quotients, with all starts off the integers."""
    torch.manual_seed(0)
    layer = _moved(_convs()[which])
    names = [n for n, _ in layer.named_parameters()]
    scale = torch.rand(layer.geometry.weight_shape[0], dtype=torch.float64, requires_grad=True)
    x = torch.randn(2, layer.in_channels, *(9, 8)[: layer.op.spatial], dtype=torch.float64, requires_grad=True)

    def run(x, scale, *values):
        given = dict(zip(names, values, strict=True))
        taps = layer.taps(tuple(_tables(layer, given)))
        prepared = PRODUCT_MAP.prepare(given["epitome"], taps, layer.geometry, scale)
        return PRODUCT_MAP.run(x, prepared, layer.op, scale, given["bias"])

    values = [p.detach().clone().requires_grad_() for _, p in layer.named_parameters()]
    assert any(n.startswith("routing.") for n in names)
    assert torch.autograd.gradcheck(run, (x, scale, *values))


def _tables(layer: EpitomeLayer, given: dict[str, torch.Tensor]) -> list[torch.Tensor | None]:
    offsets = {a: given[f"routing.{offset_name(layer.geometry, a)}"] for a in layer.routing.sampled}
    return [layer.routing.anchor(a) + offsets[a] if a in offsets else None for a in range(len(layer.geometry.axes))]


@pytest.mark.parametrize("which", range(3))
def test_scale_is_the_weights(which):
    """A scale per output channel multiplies the weight and leaves the bias alone."""
    torch.manual_seed(0)
    layer = _moved(_convs()[which])
    scale = torch.rand(layer.geometry.weight_shape[0], dtype=torch.float64)
    x = torch.randn(2, layer.in_channels, *(9, 8)[: layer.op.spatial], dtype=torch.float64)
    with torch.no_grad():
        weight = scale.view(-1, *[1] * (layer.op.spatial + 1)) * layer.materialize()
        prepared = PRODUCT_MAP.prepare(layer.epitome, layer.taps(), layer.geometry)
        y = PRODUCT_MAP.run(x, prepared, layer.op, scale, layer.bias)
        assert torch.allclose(y, layer.op(x, weight, layer.bias), rtol=0, atol=1e-13)


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("routing", ["stride", "free"])
def test_compiles_as_one_graph_and_runs_under_autocast(which, routing):
    layer = _convs(routing=routing, dtype=torch.float32)[which]
    x = torch.randn(2, layer.in_channels, *(9, 8)[: layer.op.spatial])
    torch.compiler.reset()
    for training in (True, False):
        layer.train(training)
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        layer.zero_grad()
        y = compiled(x)
        y.sum().backward()
        found = [p.grad.clone() for p in layer.parameters()]
        layer.zero_grad()
        expected = layer(x)
        expected.sum().backward()
        assert torch.allclose(y, expected, atol=1e-6)
        assert all(torch.allclose(a, p.grad, atol=1e-5) for a, p in zip(found, layer.parameters(), strict=True))
    with torch.autocast("cpu", torch.bfloat16):
        low = layer(x)
    assert low.dtype == torch.bfloat16
    assert (low.float() - expected).abs().max() <= 0.03 * expected.abs().max()  # bfloat16 has 8 bits


@pytest.mark.parametrize("mean", [0.0, 1.0], ids=["centered", "positive"])
def test_long_kernel_axis_keeps_its_precision(mean):
    """256 cells: the difference of two long sums must not lose the digits of a short window.

    With inputs and weights of mean 1 the cumulative sum grows to 256 / 8 windows, the worst a difference can meet: a loss of
    32 float32 roundings (2e-6 of the output). bfloat16 rounds products only (2^-9 each); its sums run in float32.
    """
    torch.manual_seed(0)
    layer = EpitomeConv1d(
        16, 64, 8, padding=4, epitome_shape=(4, 16, 256), routing="stride", execution="product_map", dtype=torch.float64
    )
    x = (torch.randn(2, 16, 300, dtype=torch.float64) + mean).bfloat16().double()
    with torch.no_grad():
        layer.epitome.normal_(mean)
        for p in layer.parameters():  # numbers that every dtype holds, so that only the sums are judged
            p.copy_(p.bfloat16())
        expected = layer.op(x, layer.materialize(), layer.bias)
        for dtype, tolerance in ((torch.float64, 1e-14), (torch.float32, 3e-6), (torch.bfloat16, 8e-3)):
            y = layer.to(dtype)(x.to(dtype)).double()
            assert (y - expected).abs().max() <= tolerance * expected.abs().max(), dtype


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: EpitomeConv1d(8, 8, 3, epitome_shape=(4, 4, 5), scope="joint"), "scope is 'joint'"),
        (lambda: EpitomeConv1d(8, 8, 3, groups=2, epitome_shape=(4, 2, 5)), "groups=2"),
        (lambda: EpitomeConv2d(8, 8, 3, epitome_shape=(4, 4, 3, 3)), "no sampled kernel axis"),
        (lambda: EpitomeConv2d(8, 8, 3, epitome_shape=(4, 4, 5, 3), boundary="circular"), "boundary is 'circular'"),
        (lambda: EpitomeLinear(8, 8, epitome_shape=(4, 4)), "no sampled kernel axis"),
    ],
)
def test_refusals_say_why(make, why):
    with pytest.raises(PlanError, match=why):
        make().execution = "product_map"


def test_an_input_shorter_than_the_kernel_is_refused():
    """As torch refuses it, but with the numbers; padding may make the room."""
    layer = _convs()[1]
    with pytest.raises(GeometryError, match=r"2 positions along spatial axis 0, 2 with padding; .* needs 3"):
        layer(torch.randn(1, 3, 2, 9, dtype=torch.float64))
    assert _convs()[0](torch.randn(1, 4, 1, dtype=torch.float64)).shape == (1, 5, 1)


def test_cost_by_hand():
    """1-D: 10 inputs, 8 outputs, 6 cells, windows of 3 in two additions; 2-D: windows of 2 x 3 in one and two."""
    plane = _convs()[1]
    line = EpitomeConv1d(4, 5, 3, epitome_shape=(3, 3, 6), patch_channels=(2, 2), routing="free")
    assert line.form.states == ("fractional",) * 3
    assert PRODUCT_MAP.cost(line.form, (10, 8)) == ExecutionCost(
        conv_madds=10 * 6 * 3 * 3, tap_madds=2 * 4 * 10 + 4 * 5 * 8, adds=2 * 3 * 6 * 10
    )
    assert PRODUCT_MAP.cost(LayerForm(line.geometry, ("integer",) * 3, line.op), (10, 8)) == ExecutionCost(
        conv_madds=10 * 6 * 3 * 3, adds=4 * 10 + 2 * 3 * 6 * 10 + 5 * 8
    )
    assert PRODUCT_MAP.cost(plane.form, (72, 24)) == ExecutionCost(
        conv_madds=72 * 20 * 2 * 3, tap_madds=2 * 3 * 72 + 8 * 4 * 24, adds=3 * 3 * 20 * 72
    )


def test_strided_pointwise_multiplies_only_what_is_read():
    """A kernel of size 1 with stride 2, sampled along an axis: a quarter of the positions, by formula and by measurement."""
    layer = EpitomeConv2d(8, 6, 1, stride=2, epitome_shape=(6, 8, 2, 1), routing="stride", execution="product_map")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layer(torch.randn(1, 8, 7, 7))
    assert counter.get_total_flops() // 2 == layer.cost((1, 8, 7, 7)).conv_madds == 16 * 2 * 8 * 6


def test_channels_last_stays():
    layer = EpitomeConv2d(8, 6, 3, epitome_shape=(3, 4, 4, 4), routing="free", execution="product_map")
    x = torch.randn(2, 8, 7, 7)
    y = layer(x.contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last) and layer(x).is_contiguous()
    assert torch.allclose(y, layer(x), atol=1e-6)


def test_infinity_reaches_only_the_outputs_that_read_it():
    """The windows' sums are sums, never differences, in one dimension and in two."""
    line, x = (
        EpitomeConv1d(1, 3, 3, epitome_shape=(1, 1, 9), routing="stride", execution="product_map"),
        torch.ones(1, 1, 12),
    )
    x[..., 4] = torch.inf
    assert line(x).isfinite().sum() == 3 * (10 - 3)
    layer = EpitomeConv2d(1, 2, 2, epitome_shape=(1, 1, 3, 3), routing="stride", execution="product_map")
    x = torch.ones(1, 1, 5, 5)
    x[..., 0, 0] = torch.inf
    assert layer(x).isfinite().sum() == 2 * (16 - 1)


def _audio(c_out: int = 128, **options) -> EpitomeConv1d:
    """WSNet's case: 8 filters of 96 cells, 16 windows of 32 weights in each."""
    options = {"epitome_shape": (8, 32, 96), "routing": "stride"} | options
    return EpitomeConv1d(64, c_out, 32, padding="same", **options)


def test_audio_layer_pays():
    """A third of the cells a window, 16 windows a filter: 3/16 of wrapped's products, 3/32 of the dense layer's."""
    layer, shape = _audio(), (1, 64, 1000)
    costs = {
        name: EXECUTIONS[name].cost(layer.form, layer.op.positions(shape)).madds
        for name in layer.available_executions()
    }
    assert layer.resolved_execution(shape).name == "product_map"
    dense = 1000 * 32 * 64 * 128
    assert costs == {"materialize": dense, "wrapped": dense // 2, "product_map": 1000 * 96 * 32 * 8}
    assert costs["product_map"] / dense == 0.09375 and costs["product_map"] / costs["wrapped"] == 0.1875
    x = torch.randn(shape)
    with torch.no_grad():
        expected = layer.op(x, layer.materialize(), layer.bias)
        assert (layer(x) - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize(
    ("layer", "shape", "name"),
    [
        (lambda: _audio(8), (1, 64, 1000), "wrapped"),  # one window a filter: nothing is shared
        (lambda: _audio(epitome_shape=(64, 32, 96)), (1, 64, 1000), "wrapped"),  # two, with three windows' cells
        (lambda: EpitomeConv2d(16, 32, 3, epitome_shape=(32, 8, 5, 5)), (1, 16, 9, 9), "wrapped"),
        (lambda: EpitomeConv2d(16, 32, 3, stride=2, epitome_shape=(16, 16, 4, 4)), (1, 16, 9, 9), "materialize"),
        (lambda: EpitomeConv2d(16, 32, 3, epitome_shape=(16, 8, 3, 3)), (1, 16, 9, 9), "factored"),
    ],
)
def test_ordinary_layers_do_not_take_it(layer, shape, name):
    assert layer().resolved_execution(shape).name == name
