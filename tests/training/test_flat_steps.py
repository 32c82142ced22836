"""Flat epitomes and the factors of their windows get learning rates by a rule, and no weight decay."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.optim import list_optimizers
from torch import nn

import nes_lab
from nes_lab.training.flat_steps import flat_steps, optimizer_kind
from nes_lab.training.optim import build_optimizer, load_optimizer
from nes_lab.training.recipe import Recipe
from nes_lab.training.schedule import build_scheduler

SHARED: dict[str, Any] = {"windows": 2, "routing": "random", "initial_weights": "reset"}


def compressed(params: str, share: str = "network", backbone: str = "cifar_resnet14") -> nn.Module:
    model = nes_lab.create_backbone(backbone, num_classes=10)
    x = torch.zeros(1, 3, 16, 16)
    return nes_lab.compress(model, params=params, share=share, example_input=x, verify=False, **SHARED)


@pytest.mark.parametrize(("params", "best"), [("5%", 80), ("10%", 160), ("25%", 320)])
def test_rule_for_sgd_gives_the_steps_that_were_best(params: str, best: float) -> None:
    (step,) = flat_steps(compressed(params), "sgd").epitomes.values()
    assert best / 1.5 < step < best * 1.5


def test_weights_move_as_far_as_dense_ones_with_sgd() -> None:
    """The derivation by hand: a random gradient of all weights, and how far the rule's step (without its factor) moves them."""
    torch.manual_seed(0)
    layer = nes_lab.EpitomeLinear(128, 128, epitome_shape=(1500,), scope="flat", routing="random", windows=2, seed=3)
    gradient = torch.randn(128, 128)
    before = layer.materialize()
    (moved,) = torch.autograd.grad(before, layer.epitome, gradient)
    (step,) = flat_steps(layer, "sgd").epitomes.values()
    with torch.no_grad():
        layer.epitome.sub_(step / 3.0 * moved)
    change = (layer.materialize() - before).norm() / gradient.norm()
    assert change.item() == pytest.approx(1, rel=0.15)


def test_weights_move_as_far_as_dense_ones_with_adam() -> None:
    torch.manual_seed(0)
    layer = nes_lab.EpitomeLinear(128, 128, epitome_shape=(1500,), scope="flat", routing="random", windows=2)
    (step,) = flat_steps(layer, "adamw").epitomes.values()
    before = layer.materialize()
    with torch.no_grad():
        layer.epitome.add_(1e-3 * step * torch.randn(1500).sign())
    assert (layer.materialize() - before).square().mean().sqrt().item() == pytest.approx(1e-3, rel=0.1)


def test_every_optimizer_of_timm_has_a_kind() -> None:
    kinds = {name: optimizer_kind(str(name)) for name in list_optimizers()}
    assert {name for name, kind in kinds.items() if kind == "gradient"} >= {"sgd", "momentum", "nesterovw", "sgdw"}
    assert {kinds[name] for name in ("adamw", "rmsproptf", "lion", "nadam", "madgrad", "adopt")} == {"number"}
    assert {kinds[name] for name in ("lamb", "lars", "adafactor")} == {"parameter"}


def test_groups_of_a_network_with_stages() -> None:
    network = compressed("20%", "stage")
    groups = {group["name"]: group for group in nes_lab.parameter_groups(network, 0.1, lr=0.4, optimizer="sgd")}
    assert list(groups) == ["decay", "no_decay", "alpha", "flat_epitomes", "flat_epitomes_2", "flat_epitomes_3"]
    assert [groups[name]["weight_decay"] for name in groups] == [0.1, 0, 0, 0, 0, 0]
    assert groups["alpha"]["lr"] == pytest.approx(0.02)
    assert len(groups["alpha"]["params"]) == 12
    assert sum(len(group["params"]) for group in groups.values()) == len(list(network.parameters()))
    assert nes_lab.parameter_groups(network, 0.1, lr=0.4, optimizer="lamb")[3]["lr"] == 0.4


def test_groups_need_the_name_of_the_optimizer_only_for_flat_epitomes() -> None:
    with pytest.raises(nes_lab.OptionError, match="give optimizer="):
        nes_lab.parameter_groups(compressed("20%"), 0.1, lr=0.4)
    assert len(nes_lab.parameter_groups(nn.Linear(2, 2), 0.1, lr=0.4)) == 2


def test_schedule_multiplies_each_group_and_a_resumed_optimizer_keeps_its_steps() -> None:
    network = compressed("20%")
    recipe = Recipe(epochs=2, batch_size=1, lr=0.4, schedule="poly", warmup_epochs=0)
    optimizer = build_optimizer(network, recipe)
    scheduler = build_scheduler(optimizer, recipe, 10)
    scheduler.step_update(10)
    rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
    (step,) = flat_steps(network, "sgd").epitomes.values()
    assert rates["decay"] == pytest.approx(0.2) and rates["alpha"] == pytest.approx(0.01)
    assert rates["flat_epitomes"] == pytest.approx(0.2 * step, rel=0.05)
    with torch.no_grad():  # as training does: the rule would now give another step
        for name, parameter in network.named_parameters():
            if name.endswith("alpha"):
                parameter.mul_(3)
    again = build_optimizer(network, recipe)
    load_optimizer(again, optimizer.state_dict())
    build_scheduler(again, recipe, 10).step_update(10)
    assert {group["name"]: group["lr"] for group in again.param_groups} == rates
