"""Ready-made models: budgets hold, seeds decide, and weights of a file are fitted."""

import pytest
import torch
from safetensors.torch import save_file

import nes_lab
from nes_lab.errors import BudgetError, CheckpointError, OptionError
from nes_lab.models.cards import CARDS, card
from nes_lab.models.create import create_model, dense_backbone
from nes_lab.nn.inspect import epitome_layers

SMALL = {"input_size": 64, "routing": "tiled"}


@pytest.mark.parametrize("name", CARDS)
def test_create_model_meets_the_budget_of_every_card(name):
    model = create_model(name)
    plan, chosen = model.nes_lab_plan, card(name)
    x = torch.zeros(1, 3, chosen.input_size, chosen.input_size)
    counted = nes_lab.count(model, x)
    limits = nes_lab.Budget(**chosen.budget).limits(plan.dense)
    assert counted.counts == plan.predicted
    assert all(getattr(counted, name) <= limit for name, limit in limits.items())
    assert 0.98 * limits["madds"] <= counted.madds
    assert {layer.routing_mode for _, layer in epitome_layers(model)} == {"learner"}
    assert model.nes_lab_backbone["name"] == chosen.backbone


def test_create_model_meets_two_limits():
    plan = create_model("nes_mobilenetv2_100", madds="225M", params="2.9M").nes_lab_plan
    assert plan.predicted.madds <= 225e6 and plan.predicted.params <= 2.9e6
    assert (plan.dense.params, plan.dense.madds) == (3_504_872, 300_774_272)


def test_create_model_depends_on_its_seed_alone():
    before = torch.get_rng_state()
    one, two, other = (
        create_model("nes_mobilenetv2_100", params="60%", seed=s, **SMALL).state_dict() for s in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["blocks.2.0.conv_pw.epitome"], other["blocks.2.0.conv_pw.epitome"])


def test_create_model_fits_a_checkpoint(tmp_path):
    dense = dense_backbone("mobilenetv2_100", seed=3)
    save_file(dense.state_dict(), tmp_path / "w.safetensors")
    fitted = create_model("nes_mobilenetv2_100", params="60%", checkpoint=tmp_path / "w.safetensors", **SMALL)
    fresh = create_model("nes_mobilenetv2_100", params="60%", **SMALL)
    target = dense.get_parameter("blocks.2.0.conv_pw.weight").detach()

    def distance(model):
        weight = model.get_submodule("blocks.2.0.conv_pw").weight.detach()
        return float((weight - target).norm() / target.norm())

    assert distance(fitted) < 1 < distance(fresh)
    assert torch.equal(fitted.bn1.weight, dense.bn1.weight)


def test_create_model_refuses_wrong_arguments():
    with pytest.raises(OptionError, match=r"Did you mean 'nes_resnet18'"):
        create_model("nes_resnet8")
    with pytest.raises(OptionError, match="input_size=0"):
        create_model("nes_resnet18", input_size=0)
    with pytest.raises(BudgetError, match="least reachable"):
        create_model("nes_resnet18", params="0.1%", **SMALL)
    with pytest.raises(OptionError, match="two sources"):
        create_model("nes_resnet18", pretrained=True, checkpoint="w.safetensors")
    with pytest.raises(OptionError, match="cannot run it"):
        create_model("nes_vit_tiny_patch16_224", input_size=200)


class LocalEntryNotFoundError(Exception):
    """Has the name of huggingface_hub's error."""


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ConnectionError("no route to host"), "ConnectionError: no route to host"),
        (LocalEntryNotFoundError("x"), "no connection to huggingface.co, and this computer has no copy of them"),
    ],
)
def test_create_model_says_if_weights_cannot_be_downloaded(monkeypatch, error, why):
    def offline(*args, **kwargs):
        raise error

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(
        CheckpointError,
        match=rf"'resnet18' could not be downloaded \({why}\); give checkpoint=",
    ):
        create_model("nes_resnet18", pretrained=True)
