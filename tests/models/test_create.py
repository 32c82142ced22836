"""Ready-made models: budgets hold, seeds decide, and weights from a file are taken over or refused."""

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
def test_every_card_meets_its_own_budget_with_learned_starts(name):
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


def test_both_limits_of_the_papers_mobilenet_hold():
    plan = create_model("nes_mobilenetv2_100", madds="225M", params="2.9M").nes_lab_plan
    assert plan.predicted.madds <= 225e6 and plan.predicted.params <= 2.9e6
    assert (plan.dense.params, plan.dense.madds) == (3_504_872, 300_774_272)


def test_the_papers_figures_are_told_from_ours():
    assert {c.settings_of for c in CARDS.values()} == {"paper", "ours"}
    assert all(("1907.05642" in c.why) == (c.settings_of == "paper") for c in CARDS.values())


def test_the_seed_decides_and_the_global_state_is_left_alone():
    before = torch.get_rng_state()
    one, two, other = (create_model("nes_resnet18", seed=s, **SMALL).state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["layer1.0.conv1.epitome"], other["layer1.0.conv1.epitome"])


def test_a_checkpoint_is_fitted(tmp_path):
    dense = dense_backbone("resnet18", seed=3)
    save_file(dense.state_dict(), tmp_path / "w.safetensors")
    fitted = create_model("nes_resnet18", params="60%", checkpoint=tmp_path / "w.safetensors", **SMALL)
    fresh = create_model("nes_resnet18", params="60%", **SMALL)
    target = dense.get_parameter("layer2.0.conv1.weight").detach()

    def away(model):
        weight = model.get_submodule("layer2.0.conv1").weight.detach()
        return float((weight - target).norm() / target.norm())

    assert away(fitted) < 1 < away(fresh)
    assert torch.equal(fitted.bn1.weight, dense.bn1.weight)


def _weights(change):
    state = {k: v.clone() for k, v in dense_backbone("small_mobilenetv2", in_channels=1).state_dict().items()}
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("classifier.bias"), "lacks 'classifier.bias'"),
        (lambda s: s.update(more=torch.ones(1)), "has besides 'more'"),
        (lambda s: s.update({"classifier.bias": torch.ones(3)}), r"'classifier.bias' has shape \(3,\) where \(10,\)"),
        (lambda s: s["classifier.bias"].fill_(float("nan")), "'classifier.bias' holds NaN"),
    ],
)
def test_weights_of_another_architecture_are_refused_and_nothing_is_copied(tmp_path, change, says):
    save_file(_weights(change), tmp_path / "w.safetensors")
    model = dense_backbone("small_mobilenetv2", in_channels=1, seed=9)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    from nes_lab.backbones.weights import load_backbone_weights

    with pytest.raises(CheckpointError, match=says):
        load_backbone_weights(model, tmp_path / "w.safetensors")
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_counters_of_batch_norms_may_be_absent(tmp_path):
    save_file({k: v for k, v in _weights(lambda s: None).items() if "num_batches" not in k}, tmp_path / "w.safetensors")
    dense_backbone("small_mobilenetv2", in_channels=1, checkpoint=tmp_path / "w.safetensors")


def test_files_that_are_no_weights_are_refused(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"x")
    whole = tmp_path / "w.safetensors"
    save_file(_weights(lambda s: None), whole)
    (tmp_path / "half.safetensors").write_bytes(whole.read_bytes()[:5000])
    for name, says in [("w.pth", "pickle"), ("none.safetensors", "is no file"), ("half.safetensors", "truncated")]:
        with pytest.raises(CheckpointError, match=says):
            dense_backbone("small_mobilenetv2", in_channels=1, checkpoint=tmp_path / name)


def test_mistakes_are_named(monkeypatch):
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


def test_weights_that_cannot_be_fetched_are_a_clear_error(monkeypatch):
    def offline(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(
        CheckpointError, match=r"'resnet18' could not be had \(ConnectionError: no route to host\); give checkpoint="
    ):
        create_model("nes_resnet18", pretrained=True)
