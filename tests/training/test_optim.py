"""Optimizers, their parameter groups and their state."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import torch
from timm.optim import list_optimizers
from torch import nn

from nes_lab.errors import OptionError
from nes_lab.nn.conv import EpitomeConv2d
from nes_lab.training.checkpoint import load_state, save_state
from nes_lab.training.optim import (
    build_optimizer,
    is_routing_parameter,
    load_optimizer,
    mark_parameters_changed,
    parameter_groups,
)
from nes_lab.training.recipe import Recipe
from nes_lab.training.schedule import build_scheduler


def recipe(**changes) -> Recipe:
    return Recipe(**({"epochs": 4, "batch_size": 4, "lr": 0.1} | changes))


def network(routing: str) -> nn.Module:
    layer = EpitomeConv2d(4, 8, 1, epitome_shape=(6, 4, 1, 1), patch_channels=(2, 2), routing=routing)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), layer)


def test_parameter_groups_decay_matrices_only() -> None:
    net = network("learner")
    names = {id(p): name for name, p in net.named_parameters()}
    groups = parameter_groups(net, weight_decay=0.1, lr=0.2, starts_lr_scale=0.5)
    by_name = {g["name"]: (g["weight_decay"], g["lr"], sorted(names[id(p)] for p in g["params"])) for g in groups}
    assert by_name["decay"] == (0.1, 0.2, ["0.weight", "2.epitome"])
    assert by_name["no_decay"] == (0.0, 0.2, ["0.bias", "1.bias", "1.weight", "2.bias"])
    decay, rate, starts = by_name["starts"]
    assert (decay, rate) == (0.0, 0.1)
    assert starts
    assert all(name.startswith("2.routing.learner.") for name in starts)
    assert sum(len(g["params"]) for g in groups) == len(list(net.parameters()))


def test_parameter_groups_separate_free_starts_wherever_the_layer_is() -> None:
    (group,) = (g for g in parameter_groups(network("free"), 0.1) if g["name"] == "starts")
    assert group["params"]
    layer = network("free")[2]
    assert "starts" in {g["name"] for g in parameter_groups(layer, 0.1)}
    assert is_routing_parameter("routing.start_offsets_out")
    assert not is_routing_parameter("routing")


def test_parameter_groups_leave_out_frozen_parameters() -> None:
    net = nn.Linear(2, 2)
    net.weight.requires_grad_(False)
    assert [g["name"] for g in parameter_groups(net, 0.1)] == ["no_decay"]


@pytest.mark.parametrize("routing", ["free", "learner"])
def test_parameter_groups_keep_starts_and_norms_in_an_optimizer_of_torch(routing: str) -> None:
    """Without a gradient only weight decay moves a parameter. torch's schedules keep the ratio of the learning rates."""
    net = network(routing)
    groups = parameter_groups(net, weight_decay=0.1, lr=0.01, starts_lr_scale=0.5)
    optimizer = torch.optim.AdamW(groups, lr=7.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100)
    before = copy.deepcopy(net.state_dict())
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for _ in range(50):
        optimizer.step()
        schedule.step()
    changed = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"0.weight", "2.epitome"}
    rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
    assert rates == {name: pytest.approx(rate) for name, rate in
                     (("decay", 0.005), ("no_decay", 0.005), ("starts", 0.0025))}  # fmt: skip
    assert all("lr" not in group for group in parameter_groups(net, 0.1))


def test_page_on_own_loops_works_as_written() -> None:
    page = (Path(__file__).parents[2] / "docs" / "own_loop.md").read_text()
    found: dict = {}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(code, "own_loop.md", "exec"), found)
    assert [group["name"] for group in found["optimizer"].param_groups] == ["decay", "no_decay", "starts"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"network": "net"}, "network is a str"),
        ({"weight_decay": -1}, "weight_decay=-1"),
        ({"weight_decay": None}, "weight_decay=None"),
        ({"lr": float("nan")}, "lr=nan"),
        ({"lr": 0.1, "starts_lr_scale": True}, "starts_lr_scale=True"),
        ({"starts_lr_scale": 0.5}, "give lr= too"),
    ],
    ids=str,
)
def test_parameter_groups_refuse_what_no_optimizer_takes(changes: dict, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        parameter_groups(**({"network": nn.Linear(1, 1), "weight_decay": 0.1} | changes))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_build_optimizer_gives_starts_their_own_learning_rate(optimizer: str) -> None:
    net = network("free")
    recipe = Recipe(epochs=1, batch_size=1, lr=0.2, optimizer=optimizer, momentum=0.9, starts_lr_scale=0.0)
    opt = build_optimizer(net, recipe)
    build_scheduler(opt, recipe, steps_per_epoch=10).step_update(0)
    rates = {g["name"]: g["lr"] for g in opt.param_groups}
    assert rates == {"decay": pytest.approx(0.2), "no_decay": pytest.approx(0.2), "starts": 0.0}


def test_build_optimizer_makes_plain_sgd_without_momentum() -> None:
    net = nn.Linear(1, 1, bias=False)
    opt = build_optimizer(net, Recipe(epochs=1, batch_size=1, lr=0.5))
    before = net.weight.item()
    net.weight.grad = torch.ones(1, 1)
    opt.step()
    assert net.weight.item() == pytest.approx(before - 0.5)


def test_build_optimizer_takes_momentum_as_first_beta_unless_options_say_more() -> None:
    net = nn.Linear(2, 2)
    assert build_optimizer(net, recipe(optimizer="adamw", momentum=0.8)).param_groups[0]["betas"] == (0.8, 0.999)
    assert build_optimizer(net, recipe(optimizer="lion", momentum=0.8)).param_groups[0]["betas"] == (0.8, 0.99)
    assert build_optimizer(net, recipe(optimizer="adan", momentum=0.8)).param_groups[0]["betas"] == (0.8, 0.92, 0.99)
    chosen = build_optimizer(net, recipe(optimizer="adam", optimizer_options={"betas": (0.5, 0.6), "eps": 1e-3}))
    assert (chosen.param_groups[0]["betas"], chosen.param_groups[0]["eps"]) == ((0.5, 0.6), 1e-3)
    paper = build_optimizer(net, recipe(optimizer="rmsproptf", momentum=0.9, optimizer_options={"alpha": 0.9}))
    assert (paper.param_groups[0]["momentum"], paper.param_groups[0]["alpha"]) == (0.9, 0.9)


def test_mark_parameters_changed_raises_versions() -> None:
    net = nn.Linear(2, 2)
    opt = build_optimizer(net, Recipe(epochs=1, batch_size=1, lr=0.5))
    net(torch.ones(1, 2)).sum().backward()
    before = [p._version for p in net.parameters()]
    opt.step()
    mark_parameters_changed(opt)
    assert all(p._version > old for p, old in zip(net.parameters(), before, strict=True))


def learn(net: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor) -> None:
    optimizer.zero_grad()
    net(x).square().mean().backward()
    optimizer.step()


def test_load_optimizer_resumes_every_optimizer_of_timm(tmp_path: Path) -> None:
    """Every optimizer that can be built here takes the same third step with and without a save and a load before it."""
    refused = []
    for name in (str(name) for name in list_optimizers(exclude_filters=["kron*"])):  # Kron compiles itself
        net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
        try:
            optimizer = build_optimizer(net, recipe(optimizer=name, momentum=0.9, lr=1e-3))
        except OptionError:
            refused.append(name)
            continue
        torch.manual_seed(0)
        steps = [torch.rand(3, 4) for _ in range(3)]
        for x in steps[:2]:
            learn(net, optimizer, x)
        copied = copy.deepcopy(net)
        save_state(tmp_path / "s.pt", {"optimizer": optimizer.state_dict()})
        other = build_optimizer(copied, recipe(optimizer=name, momentum=0.9, lr=1e-3))
        load_optimizer(other, load_state(tmp_path / "s.pt")["optimizer"])
        learn(net, optimizer, steps[2])
        learn(copied, other, steps[2])
        assert all(a.equal(b) for a, b in zip(net.parameters(), copied.parameters(), strict=True)), name
    known = ("apex", "bnb", "fused", "adahessian")
    assert [name for name in refused if not name.startswith(known)] == []
