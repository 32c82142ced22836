"""Learning rate, momentum, freezing and snapping of starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nes_lab.errors import CheckpointError, OptionError
from nes_lab.nn.inspect import epitome_layers
from nes_lab.training.evaluate import evaluate
from nes_lab.training.hooks import Hooks
from tests.training.nets import tiny_data, trainer
from tests.training.resuming import epitome_net, load, save


def test_routing_schedule_warms_up_starts_and_changes_momentum() -> None:
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


def starts(net: torch.nn.Module) -> list[list]:
    tables = [table for _, layer in epitome_layers(net) for table in layer.routing.current()]
    return [table.tolist() for table in tables if table is not None]


def test_routing_schedule_reports_and_keeps_frozen_and_snapped_starts(tmp_path: Path) -> None:
    events, net = [], epitome_net("free")
    changes = {"starts_freeze_epoch": 1, "starts_snap_epoch": 2, "epochs": 3}
    same: list[bool] = []
    hooks = Hooks(event=events.append, epoch_end=lambda t: same.append(starts(t.model) == starts(t.ema.module)))
    tr = trainer(net, hooks=hooks, ema_decay=0.9, **changes)
    assert "starts" in {group["name"] for group in tr.optimizer.param_groups}
    assert tr.fit()
    assert [(e["kind"], e["step"], e["epoch"], e["layers"]) for e in events] == [
        ("starts_frozen", 4, 1, 1),
        ("starts_snapped", 8, 2, 1),
    ]
    assert events[1]["largest_move"] > 0
    assert same == [True] * 3  # the average takes the frozen starts of the network
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


def test_routing_schedule_snaps_before_the_last_validation() -> None:
    rows, net = [], epitome_net("free")
    trainer(net, hooks=Hooks(metric=rows.append), starts_snap_epoch=2).fit()
    ((_, layer),) = epitome_layers(net)
    assert not layer.routing.fractional

    assert evaluate(net, tiny_data().val, batch_size=64)["loss"] == rows[-1]["loss"]
