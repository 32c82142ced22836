"""The law of resuming, with everything a recipe can ask for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nes_lab.errors import CheckpointError
from nes_lab.nn.inspect import epitome_layers
from nes_lab.training.hooks import Hooks
from nes_lab.training.loop import Trainer
from tests.training.nets import tiny_data, tiny_net, tiny_recipe, trainer
from tests.training.resuming import check, epitome_net, load, outcome, save


@pytest.mark.parametrize("scope", ["separable", "joint"])
@pytest.mark.parametrize("routing", ["tiled", "stride", "random", "free", "learner"])
def test_every_routing_with_much_of_everything(tmp_path: Path, routing: str, scope: str) -> None:
    """Three steps an epoch of two batches each; the starts rest for good in the second epoch, where it is cut."""
    changes = {"batch_size": 16, "accumulate": 2, "mixup": 0.2, "cutmix": 1.0, "kd_weight": 0.3, "kd_temperature": 2.0}
    changes |= {"ema_decay": 0.9, "starts_warmup_epochs": 1.5, "starts_momentum_end": 0.99, "starts_freeze_epoch": 1}
    changes |= {"starts_snap_epoch": 2, "epochs": 3, "checkpoint_every_steps": 2, "clip_grad": 1.0}
    check(tmp_path, 5, lambda: epitome_net(routing, scope), **changes)


@pytest.mark.parametrize("stop_at", [2, 3, 5, 6, 7])
def test_wherever_starts_come_to_rest(tmp_path: Path, stop_at: int) -> None:
    """Before, at and after the steps (3 and 6) at which they freeze and snap."""
    changes = {"starts_freeze_epoch": 1, "starts_snap_epoch": 2, "epochs": 3, "batch_size": 32, "ema_decay": 0.9}
    check(tmp_path, stop_at, lambda: epitome_net("learner"), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "lamb"},
        {"optimizer": "rmsproptf", "optimizer_options": {"alpha": 0.9, "eps": 1e-3}},
        {"optimizer": "adafactorbv"},
        {"optimizer": "lookahead_adamw"},
        {"schedule": "step", "decay_epochs": 0.5, "decay_rate": 0.5},
        {"schedule": "tanh", "min_lr": 1e-3},
        {"amp": "bf16"},
        {"channels_last": True},
        {"mixup": 0.4, "batch_size": 19},
        {"ema_decay": 0.9, "ema_warmup": False},
    ],
    ids=str,
)
def test_one_thing_at_a_time(tmp_path: Path, changes: dict) -> None:
    check(tmp_path, 3, tiny_net, **changes)


def test_the_checkpoints_between_resume_too(tmp_path: Path) -> None:
    saved: list[int] = []

    def keep(tr: Trainer) -> None:
        saved.append(tr.step)
        if tr.step == 3:
            save(tr, tmp_path)

    whole = trainer(hooks=Hooks(checkpoint=keep), checkpoint_every_steps=3)
    assert whole.fit()
    assert saved == [3, 4, 6, 8]
    second = load(trainer(checkpoint_every_steps=3), tmp_path)
    assert second.step == 3
    assert second.fit()
    expected, found = outcome(whole), outcome(second)
    assert [name for name in expected if not expected[name].equal(found[name])] == []


def test_starts_at_rest_are_told_and_kept(tmp_path: Path) -> None:
    events, net = [], epitome_net("free")
    changes = {"starts_freeze_epoch": 1, "starts_snap_epoch": 2, "epochs": 3}
    tr = trainer(net, hooks=Hooks(event=events.append), ema_decay=0.9, **changes)
    assert "starts" in {group["name"] for group in tr.optimizer.param_groups}
    assert tr.fit()
    assert [(e["kind"], e["step"], e["epoch"], e["layers"]) for e in events] == [
        ("starts_frozen", 4, 1, 1),
        ("starts_snapped", 8, 2, 1),
    ]
    assert events[1]["largest_move"] > 0
    assert "starts" not in {group["name"] for group in tr.optimizer.param_groups}
    for network in (net, tr.ema.module):
        ((_, layer),) = epitome_layers(network)
        assert layer.frozen
        assert not layer.routing.fractional
    save(tr, tmp_path)
    load(trainer(epitome_net("free"), ema_decay=0.9, **changes), tmp_path)
    early = trainer(epitome_net("free"), ema_decay=0.9, **changes).state_dict()
    with pytest.raises(CheckpointError, match="before the starts were frozen"):
        tr.load_state_dict(early)


def test_starts_snapped_after_the_last_epoch_are_judged_snapped() -> None:
    rows, net = [], epitome_net("free")
    trainer(net, hooks=Hooks(metric=rows.append), starts_snap_epoch=2).fit()
    ((_, layer),) = epitome_layers(net)
    assert not layer.routing.fractional
    from nes_lab.training.evaluate import evaluate

    assert evaluate(net, tiny_data().val, batch_size=64)["loss"] == rows[-1]["loss"]


def test_the_teacher_is_neither_changed_nor_saved(tmp_path: Path) -> None:
    teacher = tiny_net(seed=9)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    tr = trainer(teacher=teacher, kd_weight=0.5)
    assert tr.fit()
    assert all(value.equal(before[name]) for name, value in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not teacher.training
    assert set(tr.model.state_dict()) == set(tiny_net().state_dict())
    plain = trainer()
    plain.fit()
    assert not plain.model[0].weight.equal(tr.model[0].weight)


def test_a_state_of_more_processes_is_refused(tmp_path: Path) -> None:
    tr = trainer()
    tr.fit()
    state = tr.state_dict() | {"processes": 2}
    with pytest.raises(CheckpointError, match="processes=2, not 1; resume it with 2 processes"):
        trainer().load_state_dict(state)


def test_the_network_is_left_clean_whatever_the_precision() -> None:
    net = tiny_net()
    names, attributes, seen = list(net.state_dict()), set(net.__dict__), []
    tr = trainer(
        net, hooks=Hooks(checkpoint=lambda t: seen.append((list(t.model.state_dict()), set(t.model.__dict__))))
    )
    tr = type(tr)(net, tr.data, tiny_recipe(amp="bf16"), hooks=tr.hooks)
    tr.fit()
    assert seen == [(names, attributes)] * 2
    assert set(net.__dict__) == attributes
    assert net(torch.zeros(2, 1, 8, 8)).dtype == torch.float32
