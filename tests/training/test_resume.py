"""N steps equal k steps, a save, a load, and N-k steps, bit for bit."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from nes_lab.errors import CheckpointError
from nes_lab.nn.inspect import epitome_layers
from nes_lab.training.checkpoint import load_into, load_state, load_weights, save_weights
from nes_lab.training.hooks import Hooks
from tests.training.nets import tiny_data, tiny_net, trainer
from tests.training.resuming import check, epitome_net, load, save


def test_resumed_at_an_epochs_end_there_is_no_loss_to_tell_yet(tmp_path):
    from nes_lab.cli.train_here import progress_line

    first = trainer()
    first.hooks = Hooks(should_stop=lambda: first.step >= first.total, checkpoint=lambda tr: save(tr, tmp_path))
    assert not first.fit()
    seen = []
    assert load(trainer(hooks=Hooks(on_progress=seen.append)), tmp_path).fit()
    assert (seen[0]["loss"], seen[0]["images_per_s"]) == (None, None)
    assert "loss" not in progress_line(seen[0]) and "images/s" not in progress_line(seen[0])


@pytest.mark.parametrize("stop_at", [1, 3, 4, 7])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_interrupted_equals_uninterrupted(tmp_path: Path, stop_at: int, optimizer: str) -> None:
    """4 steps an epoch: in the middle of the first, after it, in the middle of the second."""
    check(tmp_path, stop_at, tiny_net, optimizer=optimizer, ema_decay=0.9, clip_grad=1.0)


@pytest.mark.parametrize("routing", ["tiled", "free", "learner"])
@pytest.mark.parametrize("stop_at", [2, 4])
def test_epitomes_resume_exactly(tmp_path: Path, routing: str, stop_at: int) -> None:
    check(tmp_path, stop_at, lambda: epitome_net(routing), ema_decay=0.9, epochs=3)


@pytest.mark.parametrize("routing", ["free", "learner"])
def test_starts_do_move_in_these_tests(routing: str) -> None:
    net = epitome_net(routing)
    (_, layer), *_ = epitome_layers(net)
    before = copy.deepcopy(layer.routing_map().starts)
    trainer(net).fit()
    after = layer.routing_map().starts
    assert any(not a.equal(b) for a, b in zip(before, after, strict=True) if a is not None)


def test_cached_weight_follows_the_fused_optimizer() -> None:
    """The fused step leaves versions alone; a layer evaluated before and after training must not use its old weight."""
    net = epitome_net("tiled").eval()
    net[3].execution = "materialize"  # the plan that keeps a built weight
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        net(x)
    trainer(net).fit()
    net.eval()
    with torch.no_grad():
        assert net(x).equal(copy.deepcopy(net)(x))  # a copy begins with empty caches


def test_stop_during_validation_validates_again_on_resume(tmp_path: Path) -> None:
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


def test_state_holds_plain_values_only(tmp_path: Path) -> None:
    tr = trainer(ema_decay=0.9)
    tr.fit()
    save(tr, tmp_path)
    assert load_state(tmp_path / "s.pt")["step"] == 8
    assert not [k for k in load_weights(tmp_path / "w.safetensors") if k.startswith("ema/")]


def test_hostile_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    tr = trainer()
    tr.fit()
    save(tr, tmp_path)
    torch.save({"step": Path("/")}, tmp_path / "code.pt")
    with pytest.raises(CheckpointError, match=r"code\.pt cannot be read"):
        load_state(tmp_path / "code.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "s.pt").read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"cut\.pt cannot be read"):
        load_state(tmp_path / "cut.pt")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:50])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_weights(tmp_path / "cut.safetensors")
    with pytest.raises(CheckpointError, match="no averaged weights"):
        load_weights(tmp_path / "w.safetensors", ema=True)
    with pytest.raises(CheckpointError, match="does not fit this network"):
        load_into(nn.Linear(2, 2), load_weights(tmp_path / "w.safetensors"), tmp_path)
    with pytest.raises(CheckpointError, match="total=8, not 12"):
        load(trainer(epochs=3), tmp_path)
    state = load_state(tmp_path / "s.pt")
    state["optimizer"]["state"][0]["momentum_buffer"] = torch.zeros(7)
    with pytest.raises(CheckpointError, match=r"momentum_buffer has shape \(7,\)"):
        trainer().load_state_dict(state)
    with pytest.raises(CheckpointError, match="incomplete or damaged"):
        trainer().load_state_dict({k: v for k, v in load_state(tmp_path / "s.pt").items() if k != "meter"})


def test_other_data_is_refused(tmp_path: Path) -> None:
    """A class that was renamed gave all images other labels, an image that vanished another order: both went unnoticed."""
    data, tr = tiny_data(), trainer()
    tr.fit()
    save(tr, tmp_path)
    load(trainer(data=data), tmp_path)
    names = ("zebra", *data.classes[1:])
    with pytest.raises(
        CheckpointError, match=rf"since the checkpoint \(classes: {data.classes[0]}, now zebra\).*start a new run"
    ):
        load(trainer(data=replace(data, classes=names)), tmp_path)
    fewer = replace(data, val=replace(data.val, images=data.val.images[1:], labels=data.val.labels[1:]))
    with pytest.raises(CheckpointError, match=f"validation examples: {len(data.val)}, now {len(data.val) - 1}"):
        load(trainer(data=fewer), tmp_path)
    other = replace(data, train=replace(data.train, labels=data.train.labels.flip(0)))
    with pytest.raises(CheckpointError, match=r"labels: [0-9a-f]{8}, now [0-9a-f]{8}"):
        load(trainer(data=other), tmp_path)
    state = load_state(tmp_path / "s.pt")
    del state["data"]  # as older versions wrote it
    trainer(data=other).load_state_dict(state)


def test_tied_weights_are_written_each_and_stay_tied(tmp_path: Path) -> None:
    def make() -> nn.Module:
        net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
        net[2].weight = net[0].weight
        return net

    source, target = make(), make()
    save_weights(tmp_path / "w.safetensors", source)
    load_into(target, load_weights(tmp_path / "w.safetensors"), tmp_path)
    assert target[2].weight is target[0].weight
    assert target[0].weight.equal(source[0].weight)
