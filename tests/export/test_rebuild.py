"""A saved network is rebuilt from the dense network, and a different network is refused by its first layer."""

import json

import pytest
import torch
from torch import nn

from nes_lab import create_backbone, from_pretrained, fuse, save_pretrained
from nes_lab.errors import CheckpointError
from nes_lab.export.saved_config import read_saved_config
from nes_lab.nn.conv import EpitomeConv2d
from nes_lab.nn.fixed_starts import FixedStarts
from nes_lab.nn.linear import EpitomeLinear
from tests.export.networks import Net, compressed, same_state
from tests.export.saving import NAMES, altered, back, refused, x


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"epitome_shape": [1 << 20, 8, 1, 1]}, "conv.epitome|memory|conv"),
        ({"weight_shape": [4, 4, 1, 1]}, "'conv' had a weight of"),
        ({"kind": "linear"}, "'conv' was a linear layer"),
        ({"options": {"__class__": 1}}, "'conv' cannot be created"),
        ({"routing": "nonsense"}, "'conv' cannot be created"),
        ({"execution": "nonsense"}, "'conv'.*not known"),
    ],
)
def test_rebuild_refuses_layers_that_do_not_fit(saved, change, match):
    layers = json.loads((saved / "config.json").read_text())["epitome_layers"]
    layers["conv"] |= change
    altered(saved, epitome_layers=layers)
    refused(saved, match)


@pytest.mark.slow  # it asks timm
def test_dense_network_refuses_an_unknown_backbone(saved):
    stamp = json.loads((saved / "config.json").read_text())["backbone"]
    altered(saved, backbone=stamp | {"name": "no_such_network"})
    with pytest.raises(CheckpointError, match=r"'no_such_network' cannot be created here.*model="):
        from_pretrained(saved)


def test_dense_network_needs_a_backbone_or_a_model(tmp_path):
    folder = save_pretrained(Net(), tmp_path / "m")
    with pytest.raises(CheckpointError, match="names no backbone; give the dense network it was made from as model="):
        from_pretrained(folder)


def other_networks():
    wider, activation, strided = Net(24), Net(), Net()
    activation.act = nn.GELU()
    strided.grouped.stride = (1, 1)
    deeper = Net()
    deeper.more = nn.Linear(2, 2)
    return {
        "stem": wider,
        "act": activation,
        "grouped": strided,
        "more": deeper,
        "the model itself": nn.Sequential(nn.Linear(2, 2)),
    }


@pytest.mark.parametrize("layer", other_networks())
def test_rebuild_names_the_first_layer_that_differs(saved, layer):
    message = refused(saved, "the network differs from the saved one", other_networks()[layer])
    assert layer in message


@pytest.mark.parametrize("routing", ["tiled", "random", "learner"])
def test_rebuild_makes_fused_models(routing, tmp_path):
    dense = Net()
    model = fuse(compressed(dense, NAMES, routing=routing))
    assert isinstance(model.bn1, nn.Identity) and model.stem.bias is not None
    again = back(model, dense, tmp_path)
    assert same_state(model, again) and torch.equal(model(x()), again(x()))
    assert (model.conv.scale is None) == (again.conv.scale is None)


def test_fuse_keeps_a_scale_in_some_layer_of_these_tests():
    """Without one, the test above would not see the buffer."""
    fused = (fuse(compressed(Net(), NAMES, routing=routing)) for routing in ("tiled", "random", "learner"))
    assert any(model.conv.scale is not None for model in fused)


def test_rebuild_makes_a_norm_that_was_folded_into_a_linear_layer(tmp_path):
    """Saved models of version 0.1.0 call it "_Rows", and so does this version."""
    dense = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)).eval()
    folder = save_pretrained(fuse(dense), tmp_path / "m")
    assert ["1", "_Rows", {}] in read_saved_config(folder)["modules"]
    again, rows = from_pretrained(folder, model=dense), torch.randn(3, 6)
    assert torch.allclose(again(rows), dense(rows), atol=1e-6)
    with pytest.raises(AssertionError, match="takes inputs of shape"):
        again(rows[None])


@pytest.mark.slow
def test_rebuild_makes_fused_timm_norms_with_activations(tmp_path):
    model = fuse(create_backbone("mobilenetv2_035", num_classes=5).eval())
    again = from_pretrained(save_pretrained(model, tmp_path / "m"))
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(model(images), again(images))


def test_rebuild_keeps_epitome_layers_of_the_given_network(tmp_path):
    def make(seed):
        conv = EpitomeConv2d(4, 8, 3, epitome_shape=(4, 4, 3, 3), patch_channels=(2, 2), routing="random", seed=seed)
        return nn.Sequential(conv, nn.Flatten(), EpitomeLinear(8, 6, epitome_shape=(4, 4)))

    again = back(make(1).eval(), make(1), tmp_path)
    assert isinstance(again[0].routing, FixedStarts)
    with pytest.raises(CheckpointError, match=r"'0' had seed=1 and has 2 here"):
        from_pretrained(tmp_path / "saved", model=make(2))
