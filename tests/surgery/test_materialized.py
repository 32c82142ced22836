"""A materialized model can be quantized, pruned, copied and pickled like a model that never had an epitome."""

import copy
import pickle

import pytest
import torch
from torch import nn

from nes_lab import materialize
from nes_lab.errors import OptionError
from tests.export.networks import Net, compressed

NAMES = ("conv", "grouped", "head")


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(64, 128), nn.Linear(128, 32)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def never_compressed(model, make):
    """A network of the same shape that holds the same numbers and has never met an epitome."""
    plain = make()
    plain.load_state_dict(model.state_dict())
    return plain.eval()


@pytest.mark.parametrize("routing", ["tiled", "free"])
def test_materialize_gives_a_model_that_torchao_quantizes(routing):
    torchao = pytest.importorskip("torchao.quantization")
    materialized = materialize(compressed(Mlp(), ["first", "second"], routing=routing))
    plain = never_compressed(materialized, Mlp)
    x = torch.randn(5, 64)
    exact = materialized(x)
    for model in (materialized, plain):
        torchao.quantize_(model, torchao.Int8WeightOnlyConfig())
    assert type(materialized.first.weight) is type(plain.first.weight) is not nn.Parameter
    assert torch.equal(materialized(x), plain(x))
    change = (materialized(x) - exact).abs().max()
    assert 0 < change < 0.05 * exact.abs().max()  # a rounding to 8 bits, and nothing worse


def pruned(model, torch_pruning):
    example = torch.randn(1, 3, 8, 8)
    graph = torch_pruning.DependencyGraph().build_dependency(model, example)
    group = graph.get_pruning_group(model.stem, torch_pruning.prune_conv_out_channels, idxs=[1, 5])
    assert graph.check_pruning_group(group)
    group.prune()
    return model


@pytest.mark.parametrize("routing", ["tiled", "learner"])
def test_materialize_gives_a_model_that_torch_pruning_prunes(routing):
    torch_pruning = pytest.importorskip("torch_pruning")
    materialized = materialize(compressed(Net(), NAMES, routing=routing))
    plain = never_compressed(materialized, Net)
    materialized, plain = pruned(materialized, torch_pruning), pruned(plain, torch_pruning)
    shapes = [{name: tuple(t.shape) for name, t in model.state_dict().items()} for model in (materialized, plain)]
    assert shapes[0] == shapes[1] and materialized.conv.in_channels == 14
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(materialized(x), plain(x))


def test_materialize_gives_a_model_that_is_copied_pickled_and_saved(tmp_path):
    model = materialize(compressed(Net(), NAMES))
    x = torch.randn(2, 3, 8, 8)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301
        assert torch.equal(again(x), model(x))
    torch.save(model.state_dict(), tmp_path / "m.pt")
    plain = Net().eval()
    plain.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))
    assert torch.equal(plain(x), model(x))
    assert not any(type(m).__module__.startswith("nes_lab") for m in model.modules())


def test_materialize_refuses_what_is_no_module():
    with pytest.raises(OptionError, match="model is a dict; materialize takes a torch module"):
        materialize({})
