"""N steps equal k steps, a save, a load, and N-k steps, bit for bit, with everything a recipe can ask for."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nes_lab.errors import CheckpointError
from nes_lab.nn.inspect import epitome_layers
from nes_lab.training.checkpoint import load_state
from nes_lab.training.hooks import Hooks
from nes_lab.training.loop import Trainer
from tests.training.nets import tiny_data, tiny_net, trainer
from tests.training.resuming import check_resumed, epitome_net, load, outcome, save


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_state_resumes_exactly_at_any_step(tmp_path: Path, optimizer: str) -> None:
    """4 steps an epoch: in the middle of the first, after it, in the middle of the second."""
    check_resumed(tmp_path, [1, 3, 4, 7], tiny_net, optimizer=optimizer, ema_decay=0.9, clip_grad=1.0)


@pytest.mark.parametrize("routing", ["tiled", "free", "learner"])
def test_training_state_resumes_epitomes_exactly(tmp_path: Path, routing: str) -> None:
    check_resumed(tmp_path, [2, 4], lambda: epitome_net(routing), ema_decay=0.9, epochs=3)


@pytest.mark.parametrize(
    ("routing", "scope"),
    [("tiled", "separable"), ("random", "joint"), ("free", "joint"), ("learner", "separable"), ("learner", "joint")],
)
def test_training_state_resumes_with_all_options_at_once(tmp_path: Path, routing: str, scope: str) -> None:
    """Three steps an epoch of two batches each; the starts are frozen, then snapped, around the second epoch, where it is cut."""
    changes = {
        "learner_every": 2,
        "batch_size": 16,
        "accumulate": 2,
        "mixup": 0.2,
        "cutmix": 1.0,
        "kd_weight": 0.3,
        "kd_temperature": 2.0,
    }
    changes |= {"ema_decay": 0.9, "starts_warmup_epochs": 1.5, "starts_momentum_end": 0.99, "starts_freeze_epoch": 1}
    changes |= {"starts_snap_epoch": 2, "epochs": 3, "checkpoint_every_steps": 2, "clip_grad": 1.0}
    check_resumed(tmp_path, [5], lambda: epitome_net(routing, scope), **changes)


def test_training_state_resumes_wherever_starts_freeze_and_snap(tmp_path: Path) -> None:
    """Before, at and after the steps (3 and 6) at which they freeze and snap."""
    changes = {"starts_freeze_epoch": 1, "starts_snap_epoch": 2, "epochs": 3, "batch_size": 32, "ema_decay": 0.9}
    check_resumed(tmp_path, [2, 3, 5, 6, 7], lambda: epitome_net("learner"), **changes)


def test_training_state_resumes_searched_starts_in_a_network_without_them(tmp_path: Path) -> None:
    """A network that is built again to resume has the anchors of the rule. The searched ones come from the checkpoint."""
    made = []

    def searched_then_plain() -> torch.nn.Module:
        net = epitome_net("free")
        made.append(net)
        ((_, layer),) = epitome_layers(net)
        if len(made) <= 2:  # the uninterrupted training, and the one that is cut
            layer.routing.set_starts_(0, torch.tensor([3.1, 0.7, 2.3, 1.9]))
        return net

    check_resumed(tmp_path, [3], searched_then_plain, ema_decay=0.9)
    assert [sum("anchors" in name for name in net.state_dict()) for net in made] == [1, 1, 1]


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "lamb", "schedule": "step", "decay_epochs": 0.5, "decay_rate": 0.5},
        {
            "optimizer": "rmsproptf",
            "optimizer_options": {"alpha": 0.9, "eps": 1e-3},
            "schedule": "tanh",
            "min_lr": 1e-3,
        },
        {"optimizer": "adafactorbv", "amp": "bf16"},
        {"optimizer": "lookahead_adamw", "channels_last": True, "ema_decay": 0.9, "ema_warmup": False},
        {"mixup": 0.4, "batch_size": 19},
    ],
    ids=str,
)
def test_training_state_resumes_other_options(tmp_path: Path, changes: dict) -> None:
    check_resumed(tmp_path, [3], tiny_net, **changes)


@pytest.mark.parametrize("routing", ["free", "learner"])
def test_epitome_net_moves_its_starts_in_these_tests(routing: str) -> None:
    net = epitome_net(routing)
    (_, layer), *_ = epitome_layers(net)
    before = copy.deepcopy(layer.routing_map().starts)
    trainer(net).fit()
    after = layer.routing_map().starts
    assert any(not a.equal(b) for a, b in zip(before, after, strict=True) if a is not None)


def test_training_state_resumes_from_checkpoints_within_an_epoch(tmp_path: Path) -> None:
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
    expected, resumed = outcome(whole), outcome(second)
    assert [name for name in expected if not expected[name].equal(resumed[name])] == []


def test_training_state_stopped_during_validation_validates_again(tmp_path: Path) -> None:
    data, rows = tiny_data(), []
    first = trainer(data=data)
    first.hooks = Hooks(
        metric=rows.append,
        should_stop=lambda: first.step == 4 and any(r["step"] == 4 for r in rows) and not first.model.training,
        checkpoint=lambda tr: save(tr, tmp_path),
    )
    assert not first.fit()
    assert [row["split"] for row in rows if row["step"] == 4] == ["train"]
    second = load(trainer(data=data, hooks=Hooks(metric=rows.append)), tmp_path)
    assert second.fit()
    assert [row["step"] for row in rows if row["split"] == "val"] == [4, 8]


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """Files of one finished training of 8 steps."""
    folder = tmp_path_factory.mktemp("saved")
    tr = trainer()
    tr.fit()
    save(tr, folder)
    return folder


def test_training_state_of_another_run_is_refused(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="total=8, not 12"):
        load(trainer(epochs=3), saved)
    state = load_state(saved / "s.pt")
    with pytest.raises(CheckpointError, match="processes=2, not 1; resume it with 2 processes"):
        trainer().load_state_dict(state | {"processes": 2})
    with pytest.raises(CheckpointError, match="schema_version=9; this version reads 1"):
        trainer().load_state_dict(state | {"schema_version": 9})
    with pytest.raises(CheckpointError, match="incomplete or damaged"):
        trainer().load_state_dict({k: v for k, v in state.items() if k != "meter"})
    state["optimizer"]["state"][0]["momentum_buffer"] = torch.zeros(7)
    with pytest.raises(CheckpointError, match=r"momentum_buffer has shape \(7,\)"):
        trainer().load_state_dict(state)


def test_training_state_of_other_data_is_refused(saved: Path) -> None:
    """A renamed class gives images other labels, a missing image changes their order."""
    data = tiny_data()
    load(trainer(data=data), saved)
    names = ("zebra", *data.classes[1:])
    with pytest.raises(
        CheckpointError, match=rf"since the checkpoint \(classes: {data.classes[0]}, now zebra\).*start a new run"
    ):
        load(trainer(data=replace(data, classes=names)), saved)
    fewer = replace(data, val=replace(data.val, images=data.val.images[1:], labels=data.val.labels[1:]))
    with pytest.raises(CheckpointError, match=f"validation examples: {len(data.val)}, now {len(data.val) - 1}"):
        load(trainer(data=fewer), saved)
    other = replace(data, train=replace(data.train, labels=data.train.labels.flip(0)))
    with pytest.raises(CheckpointError, match=r"labels: [0-9a-f]{8}, now [0-9a-f]{8}"):
        load(trainer(data=other), saved)
    state = load_state(saved / "s.pt")
    del state["data"]  # as older versions wrote it
    trainer(data=other).load_state_dict(state)
