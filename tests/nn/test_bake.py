"""Pruning masks, weight norms and parametrizations of epitome layers become plain tensors in every copy that needs them."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import nes_lab
from nes_lab.nn.bake import bake, computed_tensors
from tests.export.networks import Net, compressed
from tests.export.saving import NAMES, x


class Rounded(nn.Module):
    def forward(self, tensor):
        return torch.round(tensor * 16) / 16


class Noisy(nn.Module):
    def forward(self, tensor):
        return tensor + torch.rand_like(tensor)


def _rounded(layer):
    parametrize.register_parametrization(layer, "epitome", Rounded())
    parametrize.register_parametrization(layer.routing, "start_offsets_out", Rounded())


CHANGES = {
    "pruned": lambda layer: prune.l1_unstructured(layer, "epitome", 0.5),
    "pruned twice": lambda layer: [
        prune.random_unstructured(layer, name, 0.3) for name in ("epitome", "epitome", "bias")
    ],
    "parametrized": _rounded,
    "weight norm": lambda layer: parametrizations.weight_norm(layer, "epitome"),
    "old spectral norm": lambda layer: nn.utils.spectral_norm(layer, "epitome"),
    "spectral norm": lambda layer: parametrizations.spectral_norm(layer, "epitome"),
}


@pytest.fixture(params=CHANGES)
def changed(request):
    torch.manual_seed(0)
    dense = Net()
    model = compressed(dense, NAMES, routing="free")
    CHANGES[request.param](model.grouped)
    return dense, model.eval()


def close(one, other):
    assert torch.allclose(one, other, atol=1e-5), float((one - other).abs().max())  # sums in another order


def test_bake_makes_plain_tensors_with_the_same_outputs(changed):
    _, model = changed
    before = model(x())  # a forward with gradients: torch refuses to copy what the hooks keep
    baked = bake(model)
    assert torch.equal(baked(x()), before) and not list(computed_tensors(baked))
    assert type(baked.grouped) is nes_lab.EpitomeConv2d and baked.grouped.epitome.requires_grad
    assert list(computed_tensors(model)) and torch.equal(model(x()), before)  # the network given stays as it was
    assert bake(baked) is baked


def test_functions_that_copy_a_network_bake_masks_and_parametrizations(changed):
    _, model = changed
    before = model(x())
    plain = nes_lab.materialize(model)
    assert not list(computed_tensors(plain)) and not plain.grouped._forward_pre_hooks
    close(plain(x()), before)
    close(nes_lab.fuse(model)(x()), before)
    close(nes_lab.for_inference(model)(x()), before)
    close(model.grouped.to_dense()(torch.ones(1, 32, 4, 4)), model.grouped(torch.ones(1, 32, 4, 4)))
    report = nes_lab.tune(model, x(), seconds=0.01)
    assert model.grouped.execution == report.executions["grouped"]
    close(model(x()), before)


@pytest.mark.parametrize("form", ["materialized", "factored"])
def test_export_torch_bakes_masks(form, tmp_path):
    model = compressed(Net(), NAMES)
    CHANGES["pruned"](model.grouped)
    model(x())
    nes_lab.export_torch(model, x(), tmp_path / "m.pt2", form=form)  # it compares the file with the network


def test_save_pretrained_bakes_masks_and_parametrizations(changed, tmp_path):
    dense, model = changed
    before = model(x())
    again = nes_lab.from_pretrained(nes_lab.save_pretrained(model, tmp_path / "m"), model=dense)
    assert torch.equal(again(x()), before)


def test_bake_leaves_a_tied_epitome_that_is_not_pruned():
    net = nn.Sequential(*(nes_lab.EpitomeLinear(8, 8, epitome_shape=(4, 4)) for _ in range(2)))
    net[1].epitome = net[0].epitome
    prune.l1_unstructured(net[0], "epitome", 0.5)
    inputs = torch.ones(2, 8)
    assert torch.equal(bake(net)(inputs), net(inputs))


def test_bake_names_what_cannot_be_plain(tmp_path):
    model = compressed(Net(), NAMES)
    parametrize.register_parametrization(model.head, "epitome", Noisy())
    for call in (nes_lab.materialize, nes_lab.fuse, lambda m: nes_lab.save_pretrained(m, tmp_path / "m")):
        with pytest.raises(
            nes_lab.NesLabError, match="layer 'head': the parametrization of 'epitome' gives other values"
        ):
            call(model)
    assert not (tmp_path / "m").exists()


def test_save_pretrained_keeps_a_pruned_dense_layer(tmp_path):
    dense = Net()
    prune.l1_unstructured(dense.stem, "weight", 0.5)
    model = compressed(dense, NAMES)
    dense(x())
    folder = nes_lab.save_pretrained(model, tmp_path / "m")
    assert torch.equal(nes_lab.from_pretrained(folder, model=dense)(x()), model(x()))
    folder = nes_lab.save_pretrained(bake(model, {"stem"}), tmp_path / "plain")  # it loads into the pruned network too
    assert torch.equal(nes_lab.from_pretrained(folder, model=dense)(x()), model(x()))
