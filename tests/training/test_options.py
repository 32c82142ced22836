"""Optimizers, schedules, mixing, distillation, and Accelerate kept to itself."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from timm.optim import list_optimizers
from torch import nn
from torch.nn import functional as F

from nes_lab.errors import OptionError
from nes_lab.training.checkpoint import load_state, save_state
from nes_lab.training.engine import isolated_accelerate_state
from nes_lab.training.hooks import Hooks
from nes_lab.training.losses import kd_loss
from nes_lab.training.mixing import Mixing
from nes_lab.training.objective import Objective
from nes_lab.training.optim import build_optimizer, load_optimizer
from nes_lab.training.precision import Precision
from nes_lab.training.recipe import Recipe
from nes_lab.training.recipe_checks import check_training
from nes_lab.training.schedule import build_scheduler
from tests.training.nets import tiny_data, tiny_net, tiny_recipe, trainer
from tests.training.resuming import epitome_net

CPU = torch.device("cpu")


def recipe(**changes) -> Recipe:
    return Recipe(**({"epochs": 4, "batch_size": 4, "lr": 0.1} | changes))


def curve(**changes) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    scheduler = build_scheduler(optimizer, recipe(**changes), steps_per_epoch=10)
    rates = []
    for step in range(41):
        scheduler.step_update(step)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("schedule", ["cosine", "poly", "tanh"])
def test_falling_schedules_warm_up_and_end_at_the_least_rate(schedule: str) -> None:
    rates = curve(schedule=schedule, warmup_epochs=1, warmup_lr=0.01, min_lr=0.001)
    assert rates[0] == pytest.approx(0.01)
    assert rates[5] == pytest.approx(0.055)
    assert max(rates) == rates[10] == pytest.approx(0.1, rel=1e-3)  # tanh begins a little below
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.001)


def test_poly_falls_evenly_and_steps_fall_by_their_factor() -> None:
    assert curve(schedule="poly")[20] == pytest.approx(0.05)
    assert curve(schedule="constant", warmup_epochs=1)[10:] == [0.1] * 31
    stairs = curve(schedule="step", decay_epochs=1.5, decay_rate=0.5)
    assert [stairs[step] for step in (0, 14, 15, 29, 30, 40)] == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025])


def test_momentum_is_the_first_beta_of_adams_kin_and_options_win() -> None:
    net = nn.Linear(2, 2)
    assert build_optimizer(net, recipe(optimizer="adamw", momentum=0.8)).param_groups[0]["betas"] == (0.8, 0.999)
    assert build_optimizer(net, recipe(optimizer="lion", momentum=0.8)).param_groups[0]["betas"] == (0.8, 0.99)
    assert build_optimizer(net, recipe(optimizer="adan", momentum=0.8)).param_groups[0]["betas"] == (0.8, 0.92, 0.99)
    chosen = build_optimizer(net, recipe(optimizer="adam", optimizer_options={"betas": (0.5, 0.6), "eps": 1e-3}))
    assert (chosen.param_groups[0]["betas"], chosen.param_groups[0]["eps"]) == ((0.5, 0.6), 1e-3)
    paper = build_optimizer(net, recipe(optimizer="rmsproptf", momentum=0.9, optimizer_options={"alpha": 0.9}))
    assert (paper.param_groups[0]["momentum"], paper.param_groups[0]["alpha"]) == (0.9, 0.9)


def test_every_optimizer_of_timm_steps_and_resumes_or_says_why_not(tmp_path: Path) -> None:
    """All that can be made here take the third step alike after a save and a load."""
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
        twin = copy.deepcopy(net)
        save_state(tmp_path / "s.pt", {"optimizer": optimizer.state_dict()})
        other = build_optimizer(twin, recipe(optimizer=name, momentum=0.9, lr=1e-3))
        load_optimizer(other, load_state(tmp_path / "s.pt")["optimizer"])
        learn(net, optimizer, steps[2])
        learn(twin, other, steps[2])
        assert all(a.equal(b) for a, b in zip(net.parameters(), twin.parameters(), strict=True)), name
    known = ("apex", "bnb", "fused", "adahessian")
    assert [name for name in refused if not name.startswith(known)] == []


def learn(net: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor) -> None:
    optimizer.zero_grad()
    net(x).square().mean().backward()
    optimizer.step()


def test_accumulated_batches_make_the_step_of_the_whole_batch() -> None:
    """Gradients are means of equal parts: only the order of float32 sums differs, 1e-5 of a weight after 8 steps."""
    nets = [nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    whole, parts = trainer(nets[0], batch_size=24), trainer(nets[1], batch_size=12, accumulate=2)
    assert whole.total == parts.total == 8
    assert whole.fit()
    assert parts.fit()
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert whole.last["top1"] == parts.last["top1"]


def test_mixed_labels_by_hand() -> None:
    mixing = Mixing(recipe(mixup=0.4, label_smoothing=0.1), classes=4)
    np.random.seed(0)
    images, labels = torch.rand(5, 1, 2, 2), torch.tensor([0, 1, 2, 3, 1])
    before = images.clone()
    mixed, shares = mixing(images, labels)
    assert images.equal(before)
    assert shares.sum(1).tolist() == pytest.approx([1.0] * 5)
    share = (shares[0, 0].item() - 0.025) / 0.9
    torch.testing.assert_close(mixed[0], share * images[0] + (1 - share) * images[3])
    assert mixed[4].equal(images[4])
    assert shares[4].tolist() == pytest.approx([0.025, 0.925, 0.025, 0.025])
    one = mixing(images[:1], labels[:1])
    assert one[0].equal(images[:1])
    with pytest.raises(OptionError, match="cutmix=1 cuts rectangles out of images; for inputs of shape"):
        Mixing(recipe(cutmix=1.0), classes=4)(torch.zeros(4, 1, 100), labels[:4])


def test_mixing_is_judged_by_the_larger_share() -> None:
    rows = []
    trainer(hooks=Hooks(metric=rows.append), mixup=0.2, label_smoothing=0.0, epochs=6).fit()
    train = [row for row in rows if row["split"] == "train"]
    assert train[-1]["top1"] > 30  # chance is 10
    assert all(math.isfinite(row["loss"]) for row in train)


def test_distillation_by_hand() -> None:
    logits, teacher = torch.tensor([[1.0, -1.0]]), torch.tensor([[0.0, 2.0]])
    p, q = torch.softmax(teacher / 2, 1), torch.softmax(logits / 2, 1)
    expected = 4 * (p * (p.log() - q.log())).sum()
    assert float(kd_loss(logits, teacher, 2.0)) == pytest.approx(float(expected))
    objective = Objective(recipe(kd_weight=0.25, kd_temperature=2.0), 2, Precision(CPU, "off"), nn.Identity())
    labels = torch.tensor([1])
    loss = objective.loss(logits, teacher, labels)
    assert float(loss) == pytest.approx(float(0.75 * F.cross_entropy(logits, labels) + 0.25 * expected))


def test_taught_alone_a_network_becomes_its_teacher() -> None:
    net, teacher = tiny_net(dropout=0.0), tiny_net(seed=9)
    rows = []
    trainer(net, hooks=Hooks(metric=rows.append), teacher=teacher, kd_weight=1.0, kd_temperature=2.0, epochs=8).fit()
    losses = [row["loss"] for row in rows if row["split"] == "train"]
    assert losses[-1] < 0.5 * losses[0]


def test_starts_warm_up_apart_and_learners_gain_inertia() -> None:
    net = epitome_net("learner")
    begin = net[3].routing.momentum
    seen: list[tuple[float, float]] = []
    tr = trainer(net, starts_warmup_epochs=1.0, starts_momentum_end=0.5, schedule="constant", warmup_epochs=0.0)
    step = tr._train_step

    def watched(*batch) -> None:
        step(*batch)
        rates = {group["name"]: group["lr"] for group in tr.optimizer.param_groups}
        seen.append((rates["starts"] / rates["decay"], net[3].routing.momentum))

    tr._train_step = watched
    tr.fit()
    assert [rate for rate, _ in seen] == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0])
    assert seen[0][1] == begin == net[3].routing.momentum == 0.9
    assert seen[-1][1] == pytest.approx(0.5)
    assert [inertia for _, inertia in seen] == sorted((inertia for _, inertia in seen), reverse=True)
    with pytest.raises(OptionError, match="compiled again"):
        trainer(epitome_net("learner"), starts_momentum_end=0.5, compile=True)


def test_average_without_warm_up_follows_slowly() -> None:
    slow, fast = trainer(ema_decay=0.999, ema_warmup=False), trainer(ema_decay=0.999)
    begin = tiny_net()[0].weight
    for tr in (slow, fast):
        tr.fit()
    moved = [float((tr.ema.module[0].weight - begin).abs().max().detach()) for tr in (slow, fast)]
    assert moved[0] < 0.5 * moved[1]


def test_accelerate_is_left_as_it_was_found() -> None:
    with isolated_accelerate_state():
        mine = Accelerator(cpu=True, mixed_precision="bf16", gradient_accumulation_steps=3)
        tr = trainer(accumulate=2, amp="off")
        tr.hooks = Hooks(epoch_end=lambda _: trainer(amp="bf16", epochs=1).fit())  # one training inside another
        assert tr.fit()
        assert (mine.mixed_precision, mine.gradient_accumulation_steps) == ("bf16", 3)
    assert PartialState._shared_state == AcceleratorState._shared_state == {}


@pytest.mark.slow
def test_compiled_training_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the compiler's front end; its code generator needs a C++ compiler and minutes."""
    monkeypatch.setattr("nes_lab.training.engine.COMPILER", "aot_eager")
    plain, compiled = epitome_net("free"), epitome_net("free")
    plain[5].p = compiled[5].p = 0.0
    trainer(plain, epochs=1).fit()
    trainer(compiled, epochs=1, compile=True).fit()
    assert list(plain.state_dict()) == list(compiled.state_dict())
    for (name, a), b in zip(plain.state_dict().items(), compiled.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4, msg=name)  # fused arithmetic rounds elsewhere


def test_cutting_sounds_is_refused_before_training():
    data = replace(tiny_data(), image_size=0, length=64)
    with pytest.raises(OptionError, match="cutmix=1 cuts rectangles out of images; for sounds use mixup alone"):
        check_training(tiny_recipe(cutmix=1.0), data, tiny_net())
