"""Optimizer groups, meters, signals, clocks, generators."""

from __future__ import annotations

import math
import os
import signal

import pytest
import torch
from torch import nn

from nes_lab.nn.conv import EpitomeConv2d
from nes_lab.training.optim import build_optimizer, is_routing_parameter, mark_parameters_changed, parameter_groups
from nes_lab.training.recipe import Recipe
from nes_lab.training.rng import capture_rng, isolated_rng, restore_rng
from nes_lab.training.running_metrics import RunningMetrics
from nes_lab.training.schedule import build_scheduler
from nes_lab.training.signals import StopSignals
from nes_lab.training.training_clock import TrainingClock


def network(routing: str) -> nn.Module:
    layer = EpitomeConv2d(4, 8, 1, epitome_shape=(6, 4, 1, 1), patch_channels=(2, 2), routing=routing)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), layer)


def test_decay_reaches_matrices_only() -> None:
    net = network("learner")
    names = {id(p): name for name, p in net.named_parameters()}
    groups = parameter_groups(net, weight_decay=0.1, starts_lr_scale=0.5)
    found = {g["name"]: (g["weight_decay"], g["lr_scale"], sorted(names[id(p)] for p in g["params"])) for g in groups}
    assert found["decay"] == (0.1, 1.0, ["0.weight", "2.epitome"])
    assert found["no_decay"] == (0.0, 1.0, ["0.bias", "1.bias", "1.weight", "2.bias"])
    decay, scale, starts = found["starts"]
    assert (decay, scale) == (0.0, 0.5)
    assert starts
    assert all(name.startswith("2.routing.learner.") for name in starts)
    assert sum(len(g["params"]) for g in groups) == len(list(net.parameters()))


def test_free_starts_are_a_group_of_their_own_wherever_the_layer_is() -> None:
    (group,) = (g for g in parameter_groups(network("free"), 0.1, 2.0) if g["name"] == "starts")
    assert group["params"]
    layer = network("free")[2]
    assert "starts" in {g["name"] for g in parameter_groups(layer, 0.1, 2.0)}
    assert is_routing_parameter("routing.starts_out")
    assert not is_routing_parameter("routing")


def test_frozen_parameters_are_left_out() -> None:
    net = nn.Linear(2, 2)
    net.weight.requires_grad_(False)
    assert [g["name"] for g in parameter_groups(net, 0.1, 1.0)] == ["no_decay"]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_starts_learn_at_their_own_rate(optimizer: str) -> None:
    net = network("free")
    recipe = Recipe(epochs=1, batch_size=1, lr=0.2, optimizer=optimizer, momentum=0.9, starts_lr_scale=0.0)
    opt = build_optimizer(net, recipe)
    build_scheduler(opt, recipe, steps_per_epoch=10).step_update(0)
    rates = {g["name"]: g["lr"] for g in opt.param_groups}
    assert rates == {"decay": pytest.approx(0.2), "no_decay": pytest.approx(0.2), "starts": 0.0}


def test_sgd_without_momentum_is_plain() -> None:
    net = nn.Linear(1, 1, bias=False)
    opt = build_optimizer(net, Recipe(epochs=1, batch_size=1, lr=0.5))
    before = net.weight.item()
    net.weight.grad = torch.ones(1, 1)
    opt.step()
    assert net.weight.item() == pytest.approx(before - 0.5)


def test_fused_steps_raise_versions() -> None:
    net = nn.Linear(2, 2)
    opt = build_optimizer(net, Recipe(epochs=1, batch_size=1, lr=0.5))
    net(torch.ones(1, 2)).sum().backward()
    before = [p._version for p in net.parameters()]
    opt.step()
    mark_parameters_changed(opt)
    assert all(p._version > old for p, old in zip(net.parameters(), before, strict=True))


def test_meter_counts_by_hand() -> None:
    meter = RunningMetrics("cpu")
    logits = torch.eye(7)[:4] + torch.arange(7) * 0.01
    meter.update(torch.tensor(1.0), logits, torch.tensor([0, 1, 0, 6]))  # third: class 0 is last of seven
    meter.update(torch.tensor(4.0), logits[:2], torch.tensor([0, 1]))
    assert meter.means() == {"loss": 2.0, "top1": pytest.approx(400 / 6), "top5": pytest.approx(500 / 6)}


def test_constant_logits_do_not_pass_for_right() -> None:
    meter = RunningMetrics("cpu")
    meter.update(torch.tensor(1.0), torch.zeros(100, 100), torch.arange(100))
    assert meter.means()["top1"] == pytest.approx(1.0)


def test_an_empty_meter_says_nan_not_zero() -> None:
    assert all(math.isnan(value) for value in RunningMetrics("cpu").means().values())


def test_signals_set_a_flag_twice_and_handlers_return() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) == before


def test_clock() -> None:
    times = iter([0.0, 10.0, 10.0, 12.0, 13.0, 20.0, 20.1, 20.3])
    clock = TrainingClock(now=lambda: next(times))
    clock.mark(0)
    assert clock.seconds_left(10) is None
    clock.mark(2)
    assert clock.seconds_left(10) == pytest.approx(7.0)  # 8 steps from second 12 on, and now it is second 13
    assert [clock.is_due() for _ in range(3)] == [True, False, True]


def test_rng_states_survive_a_round_trip() -> None:
    import random

    import numpy as np

    with isolated_rng(5):
        random.gauss(0, 1)
        np.random.normal()
        state = capture_rng()
        first = (random.gauss(0, 1), np.random.normal(), torch.rand(1).item())
        restore_rng(state)
        assert (random.gauss(0, 1), np.random.normal(), torch.rand(1).item()) == first
