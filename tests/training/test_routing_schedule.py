"""Learning rate, momentum, freezing and snapping of starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nes_lab.errors import CheckpointError, OptionError
from nes_lab.nn.index_learner import LearnerStarts
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


def test_index_learners_rest_between_the_steps_in_which_they_predict() -> None:
    """In these steps the starts and the index learner stay as they are, and the epitome learns."""
    net = epitome_net("learner")
    tr, layer, seen = trainer(net, learner_every=3, momentum=0.9, weight_decay=0.1), net[3], []
    step = tr._train_step

    def moved(tensors: list[torch.Tensor]) -> bool:
        return any(not torch.equal(a, b) for a, b in zip(tensors, [t.detach() for t in watched_tensors()], strict=True))

    def watched_tensors() -> list[torch.Tensor]:
        return [*layer.routing.state_dict().values()]

    def watched(*batch) -> None:
        before, epitome = [t.clone() for t in watched_tensors()], layer.epitome.detach().clone()
        step(*batch)
        seen.append((moved(before), not torch.equal(epitome, layer.epitome)))

    tr._train_step = watched
    tr.fit()
    assert seen == [(number % 3 == 0, True) for number in range(8)]
    assert layer.routing.predicting  # after the training every forward pass in training mode predicts again


@pytest.mark.parametrize("every", [1, 2])
def test_the_index_learner_predicts_in_every_kth_batch_only(every, monkeypatch) -> None:
    calls, predict, net = [], LearnerStarts.learned_starts, epitome_net("learner")
    net[3].execution = "factored"  # the only one that calls learned_starts
    monkeypatch.setattr(LearnerStarts, "learned_starts", lambda *given: calls.append(1) or predict(*given))
    trainer(net, learner_every=every).fit()
    assert len(calls) == 8 // every


@pytest.mark.parametrize("every", [0, True, 1.5])
def test_a_bad_learner_every_is_refused_by_name(every) -> None:
    with pytest.raises(OptionError, match=f"learner_every={every}"):
        trainer(epitome_net("learner"), learner_every=every)


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
