"""A state dict says how each layer reads its epitome: tensors of a layer that reads otherwise are refused, by name."""

import copy

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from nes_lab import EpitomeConv2d, EpitomeLinear

KEY = "_extra_state"


def layer(**settings):
    shapes = {"epitome_shape": (10, 10), "patch_channels": (4, 4), "bias": False}
    return EpitomeLinear(32, 48, **shapes | {"routing": "random"} | settings).eval()


def network(**settings):
    first = EpitomeConv2d(3, 32, 1, epitome_shape=(10, 3, 1, 1), patch_channels=(4, 3), routing="random", **settings)
    return nn.Sequential(first, nn.Flatten(2), nn.ReLU(), layer(**settings)).eval()


@pytest.mark.parametrize(
    ("saved", "here", "named"),
    [
        ({"seed": 0}, {"seed": 1}, "seed=0 is saved, 1 is here"),
        ({"routing": "tiled"}, {"routing": "stride"}, "routing='tiled' is saved, 'stride' is here"),
        ({"boundary": "circular"}, {}, "boundary='circular' is saved, 'clamp' is here"),
        ({"scope": "joint"}, {}, "scope='joint' is saved, 'separable' is here"),
        ({"patch_channels": (8, 4)}, {}, r"patch_channels=\[8, 4\] is saved, \[4, 4\] is here"),
        ({"routing": "free", "boundary": "circular"}, {"routing": "free"}, "boundary"),
    ],
)
def test_load_state_dict_refuses_tensors_of_a_layer_that_reads_otherwise(saved, here, named):
    target = layer(**here)
    before = target.weight.clone()
    for strict in (True, False):
        with pytest.raises(RuntimeError, match=f"the layer itself \\({named}"):
            target.load_state_dict(layer(**saved).state_dict(), strict=strict)
    assert torch.equal(target.weight, before)


def test_load_state_dict_refuses_another_weight_shape():
    wide = EpitomeLinear(32, 96, epitome_shape=(10, 10), patch_channels=(4, 4), bias=False, routing="random")
    with pytest.raises(RuntimeError, match=r"weight_shape=\[96, 32\] is saved, \[48, 32\] is here"):
        layer().load_state_dict(wide.state_dict())


def test_load_state_dict_refuses_fractional_starts_for_rounded_ones():
    source, target = layer(routing="free").freeze(), layer(routing="free")
    target.snap()
    with pytest.raises(RuntimeError, match="starts='frozen' is saved, 'snapped' is here"):
        target.load_state_dict(source.state_dict())
    source.snap()
    target.load_state_dict(source.state_dict())
    assert torch.equal(source.weight, target.weight)


def test_load_state_dict_names_all_layers_in_one_message():
    with pytest.raises(RuntimeError) as error:
        network(seed=1).load_state_dict(network(seed=0).state_dict())
    text = str(error.value)
    assert text.count("read their epitomes differently") == 1 and "0 (seed=0" in text and "3 (seed=0" in text


def test_load_state_dict_allows_what_gives_the_same_outputs():
    for saved, here in [
        ({"routing": "tiled", "seed": 1}, {"routing": "tiled", "seed": 2}),  # only "random" reads the seed
        ({"routing": "free", "seed": 1}, {"routing": "free", "seed": 2}),
        ({"execution": "materialize"}, {"execution": "auto"}),
    ]:
        source, target = layer(**saved), layer(**here)
        target.load_state_dict(source.state_dict())
        assert torch.equal(source.weight, target.weight)


def test_load_state_dict_takes_a_file_of_an_earlier_version():
    old = {name: tensor for name, tensor in network(seed=0).state_dict().items() if KEY not in name}
    network(seed=1).load_state_dict(old, strict=True)
    with pytest.raises(RuntimeError, match="Missing key"):  # other keys are still missed
        network().load_state_dict({name: tensor for name, tensor in old.items() if "epitome" not in name})


def test_get_extra_state_is_a_tensor_that_common_tools_take():
    source, x = network(seed=2), torch.randn(2, 3, 4, 8)
    tensors = load(save(source.state_dict()))  # safetensors refuses anything else
    assert tensors[f"0.{KEY}"].dtype == torch.uint8
    empty = copy.deepcopy(network(seed=2)).to("meta")
    empty.load_state_dict(tensors, assign=True)
    assert torch.equal(empty(x), source(x))
    assert torch.equal(torch.func.functional_call(source, tensors, x), source(x))
    half = network(seed=2).half()
    half.load_state_dict(source.half().state_dict())
    with torch.device("meta"):
        assert source.state_dict()[f"0.{KEY}"].device.type == "cpu"


def test_load_state_dict_reads_an_average_and_names_a_damaged_record():
    state = network().state_dict()
    network().load_state_dict({name: (tensor + tensor) / 2 for name, tensor in state.items()})
    damaged = state | {f"3.{KEY}": torch.zeros(4, dtype=torch.uint8)}
    with pytest.raises(RuntimeError, match=f"3 .*'{KEY}' is damaged .leave it out"):
        network().load_state_dict(damaged)
