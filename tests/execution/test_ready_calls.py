"""After ``for_inference`` a layer keeps whole calls: they compute what the execution computes, and end when something changes."""

from __future__ import annotations

import copy
import pickle
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import prune
from torch.utils.flop_counter import FlopCounterMode

import nes_lab
from nes_lab.errors import GeometryError
from nes_lab.nn.layer import EpitomeLayer

CELLS = {"tiled": (16, 8), "stride": (13, 7), "random": (13, 7), "free": (13, 7)}


def serving(routing: Any = "free", batch: int = 2, scaled: bool = False, **given: Any) -> tuple[EpitomeLayer, Tensor]:
    torch.manual_seed(0)
    options: dict[str, Any] = {
        "padding": 1,
        "patch_channels": None if routing in ("tiled", "stride") else (3, 2),
    } | given
    kernel = options.pop("kernel_size", 3)
    layer = nes_lab.EpitomeConv2d(
        16, 32, kernel, epitome_shape=(*CELLS[routing], kernel, kernel), routing=routing, **options
    )
    with torch.no_grad():
        for axis, table in layer.routing.tables() if layer.routing.stored else ():
            layer.routing.set_starts_(axis, torch.rand(table.shape) * 3)
    if scaled:
        layer.scale = torch.rand(32) + 0.5
    return nes_lab.for_inference(layer), torch.randn(batch, 16, 6, 5)


def expected(layer: EpitomeLayer, x: Tensor) -> Tensor:
    with torch.no_grad():
        return layer.to_dense()(x)


def warm(layer: EpitomeLayer, x: Tensor) -> None:
    """Call a layer until the call is kept."""
    with torch.inference_mode():
        layer(x)
        assert layer._ready.find(x) is not None


@pytest.mark.parametrize(("routing", "batch"), list(product(CELLS, (1, 3))))
def test_a_kept_call_computes_what_the_execution_computes(routing, batch):
    cases: list[dict[str, Any]] = [{}, {"bias": False}, {"scaled": True}, {"scaled": True, "bias": False}]
    cases += [{"kernel_size": 1, "padding": 0, "stride": 2}, {"padding": "same"}]
    for options in cases:
        layer, x = serving(routing, batch, **options)
        for execution, layout in product(layer.available_executions(), (torch.contiguous_format, torch.channels_last)):
            layer.execution = execution
            given = x.contiguous(memory_format=layout)
            warm(layer, given)
            for again in (given, given * 2):
                with torch.inference_mode():
                    torch.testing.assert_close(layer(again), expected(layer, again), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("routing", CELLS)
@pytest.mark.parametrize("execution", ["materialize", "wrapped", "factored"])
def test_a_kept_call_takes_the_products_of_its_execution(routing, execution):
    layer, x = serving(routing, execution=execution)
    warm(layer, x)
    with torch.inference_mode():
        call = layer._ready.find(x) or pytest.fail("no call is kept")
        with FlopCounterMode(display=False) as counter:
            call(x)
    assert counter.get_total_flops() == 2 * layer.cost(x.shape).conv_madds


def test_calls_of_several_shapes_are_kept_side_by_side(monkeypatch):
    layer, x = serving()
    shapes = [x, torch.randn(1, 16, 6, 5), torch.randn(1, 16, 4, 4)]
    for given in shapes:
        warm(layer, given)
    monkeypatch.setattr(layer, "_prepared", lambda *given: pytest.fail("the call was made a second time"))
    for given in shapes:
        with torch.no_grad():
            torch.testing.assert_close(layer(given), expected(layer, given), rtol=1e-4, atol=1e-5)


def new_bias(layer: EpitomeLayer) -> None:
    layer.bias = nn.Parameter(torch.ones(32))


def bias_in_place(layer: EpitomeLayer) -> None:
    with torch.no_grad():
        layer.get_parameter("bias").add_(1)


def fused(layer: EpitomeLayer) -> None:
    layer.scale = torch.rand(32) + 0.5


def gone(layer: EpitomeLayer) -> None:
    layer.bias = None


def pruned(layer: EpitomeLayer) -> None:
    prune.random_unstructured(layer, "epitome", 0.5)


CHANGES = [new_bias, bias_in_place, fused, gone, pruned, EpitomeLayer.freeze, EpitomeLayer.snap]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("execution", ["materialize", "wrapped", "factored"])
def test_a_change_of_the_layer_ends_its_kept_calls(execution, change):
    layer, x = serving(execution=execution)
    warm(layer, x)
    change(layer)
    with torch.inference_mode():
        for _ in range(2):
            torch.testing.assert_close(layer(x), expected(layer, x), rtol=1e-4, atol=1e-5)


def test_another_execution_ends_kept_calls():
    layer, x = serving(execution="materialize")
    warm(layer, x)
    layer.execution = "factored"
    with torch.no_grad():
        assert layer._ready.find(x) is None


@pytest.mark.parametrize("ended", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])  # noqa: S301 (our own bytes)
def test_copies_keep_no_calls(ended):
    layer, x = serving()
    warm(layer, x)
    other = ended(layer)
    with torch.no_grad():
        assert other._ready.find(x) is None and layer._ready.find(x) is not None


def test_kept_calls_are_not_used_while_torch_records_transforms_or_casts():
    layer, x = serving()
    warm(layer, x)
    assert layer(x).requires_grad  # gradients are recorded
    with torch.no_grad():
        graph = make_fx(layer)(x)
        torch.testing.assert_close(torch.func.vmap(layer)(x[None])[0], layer(x))
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(x).dtype == torch.bfloat16
        with forward_ad.dual_level():
            y = layer(forward_ad.make_dual(x, torch.ones_like(x)))
            assert forward_ad.unpack_dual(y).tangent is not None
        traced = torch.jit.trace(layer, x)
        layer.epitome.mul_(2)
        recordings: tuple[Any, ...] = (graph, traced)
        for recorded in recordings:
            torch.testing.assert_close(recorded(x), layer(x))


def test_a_wrong_input_is_refused_as_before():
    layer, x = serving()
    warm(layer, x)
    with torch.no_grad(), pytest.raises(GeometryError, match="must have 16 channels"):
        layer(x[:, :8])
