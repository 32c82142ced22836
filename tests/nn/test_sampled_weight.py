"""``layer.weight`` refuses changes in place, which would have no effect; reading it works as with any tensor."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

import nes_lab
from nes_lab.geometry.start_rules import ROUTING_MODES
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.sampled_weight import SampledWeight

INITS = [n for n in dir(nn.init) if n.endswith("_") and not n.startswith("_") and n not in ("eye_", "sparse_")]
GIVEN = {"constant_": (1.0,)}


def make(routing: str = "tiled") -> EpitomeLayer:
    torch.manual_seed(0)
    return nes_lab.EpitomeConv2d(8, 12, 3, epitome_shape=(6, 4, 3, 3), routing=routing)


def set_item(layer: EpitomeLayer) -> None:
    layer.weight[...] = 0


def set_data_item(layer: EpitomeLayer) -> None:
    layer.weight.data[0, 0] = 0


def multiply(layer: EpitomeLayer) -> None:
    layer.weight *= 2


def assign(layer: EpitomeLayer) -> None:
    layer.weight = torch.zeros(12, 8, 3, 3)


def assign_data(layer: EpitomeLayer) -> None:
    layer.weight.data = torch.zeros(12, 8, 3, 3)


def as_a_vector(layer: EpitomeLayer) -> None:
    nn.utils.vector_to_parameters(torch.zeros(12 * 8 * 9), [layer.weight])


WRITES: dict[str, Callable[[EpitomeLayer], object]] = {
    **{f"init.{n}": lambda layer, n=n: getattr(nn.init, n)(layer.weight, *GIVEN.get(n, ())) for n in INITS},
    "init.sparse_": lambda layer: nn.init.sparse_(layer.weight.flatten(1), 0.1),
    "zero_": lambda layer: layer.weight.zero_(),
    "mul_": lambda layer: layer.weight.mul_(2),
    "copy_": lambda layer: layer.weight.copy_(torch.zeros(12, 8, 3, 3)),
    "data.zero_": lambda layer: layer.weight.data.zero_(),
    "detach": lambda layer: layer.weight.detach().fill_(0),
    "view": lambda layer: layer.weight.view(-1).mul_(2),
    "row": lambda layer: layer.weight[0].zero_(),
    "rows": lambda layer: [row.zero_() for row in layer.weight],
    "chunk": lambda layer: layer.weight.chunk(2)[0].zero_(),
    "T": lambda layer: layer.weight.flatten(1).T.zero_(),
    "weight[...] =": set_item,
    "weight.data[0] =": set_data_item,
    "weight *= 2": multiply,
    "weight =": assign,
    "weight.data =": assign_data,
    "vector_to_parameters": as_a_vector,
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("routing", ROUTING_MODES)
def test_changes_in_place_are_refused(routing, write):
    layer = make(routing)
    before = layer.weight.clone()
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with mode(), pytest.raises(AttributeError, match=r"cannot be set; use load_dense_.*weight.clone\(\)"):
            WRITES[write](layer)
    assert torch.equal(layer.weight, before)


def test_a_layer_without_starts_refuses_too():
    """Its weight is the epitome itself; a change would reach it only by chance."""
    layer = nes_lab.EpitomeLinear(4, 4, epitome_shape=(4, 4))
    with torch.no_grad(), pytest.raises(AttributeError, match="cannot be set"):
        layer.weight.zero_()


@pytest.mark.parametrize("routing", ROUTING_MODES)
def test_gradients_reach_the_epitome_through_the_weight(routing):
    layer = make(routing)
    weight = layer.weight
    weight.retain_grad()
    penalty = weight.square().sum()
    assert type(penalty) is Tensor and type(weight * 1) is Tensor
    penalty.backward()
    assert torch.equal(weight.grad, 2 * weight)
    expected = torch.autograd.grad(layer.materialize().square().sum(), layer.epitome)[0]
    assert torch.equal(layer.epitome.grad, expected)


def test_own_copies_can_be_changed():
    layer = make()
    weight, file = layer.weight.detach(), io.BytesIO()
    torch.save(weight, file)
    file.seek(0)
    own = [weight.clone(), torch.load(file), copy.deepcopy(weight), nn.Parameter(layer.weight), nn.Buffer(layer.weight)]
    assert isinstance(own[3], nn.Parameter) and own[3].requires_grad and own[3].is_leaf
    for tensor in own:
        assert not isinstance(tensor, SampledWeight) and torch.equal(tensor, layer.weight)
        nn.init.zeros_(tensor)
        tensor.data[0] = 1
        assert tensor.sum() == 8 * 9
    assert repr(weight) == repr(layer.materialize().detach())


class Reader(nn.Module):
    """A network that reads a layer's weight, as for a penalty or for tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = make("free")

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.layer.weight, self.layer.bias) + self.layer(x) + self.layer.weight.square().sum()


READERS: dict[str, Callable[[Reader, Tensor], Callable[[Tensor], Tensor]]] = {
    "compile": lambda net, x: torch.compile(net, fullgraph=True, backend="eager"),
    "export": lambda net, x: torch.export.export(net, (x,)).module(),
    "jit": lambda net, x: torch.jit.trace(net, x),
    "deepcopy": lambda net, x: copy.deepcopy(net),
    "vmap": lambda net, x: lambda x: torch.func.vmap(net)(x[None])[0],
    "functional": lambda net, x: lambda x: torch.func.functional_call(net, dict(net.named_parameters()), (x,)),
}


@pytest.mark.parametrize("reader", READERS)
def test_networks_that_read_a_weight(reader):
    net, x = Reader().eval(), torch.randn(2, 8, 5, 5)
    torch.testing.assert_close(READERS[reader](net, x)(x), net(x))


def test_a_weight_as_input_of_transforms_and_compiled_functions():
    weight = make("free").weight
    square = torch.compile(lambda w: w.square().sum(), fullgraph=True, backend="eager")
    torch.testing.assert_close(square(weight), weight.square().sum())
    torch.testing.assert_close(torch.func.grad(lambda w: w.square().sum())(weight.detach()), 2 * weight.detach())
    torch.testing.assert_close(torch.func.vmap(torch.sum)(weight), weight.sum((1, 2, 3)))


def test_pruning_and_parametrizing_the_epitome():
    layer = make()
    prune.l1_unstructured(layer, "epitome", 0.5)
    assert (layer.weight == 0).float().mean() == 0.5
    layer = make()
    parametrize.register_parametrization(layer, "epitome", nn.Tanh())
    assert layer.weight.abs().max() < 1
    with pytest.raises(AttributeError, match="Prune or normalize the parameter 'epitome'"):
        prune.l1_unstructured(layer, "weight", 0.5)


def test_the_fast_path_of_a_transformer_layer_reads_the_weight():
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    block.linear1 = nes_lab.EpitomeLinear.from_linear(block.linear1, epitome_shape=(16, 16))
    x = torch.randn(2, 5, 16)
    with torch.inference_mode():
        torch.testing.assert_close(block(x), nes_lab.materialize(block)(x))
