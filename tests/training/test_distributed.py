"""Two processes over gloo: one network, one outcome, one stop. All scenarios run in the same two processes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.errors import CheckpointError, DataError
from nes_lab.nn.inspect import epitome_layers
from nes_lab.training import distributed
from nes_lab.training.fine_tune import fine_tune
from nes_lab.training.hooks import Hooks
from nes_lab.training.loop import Trainer
from nes_lab.training.recipe import Recipe
from tests.training.nets import tiny_data, tiny_net, trainer
from tests.training.own_tasks import regression, segmentation
from tests.training.resuming import epitome_net, load, outcome, save
from tests.training.two_ranks import Action, in_two_ranks

pytestmark = pytest.mark.slow


def normless(routing: str | None, boundary: str = "circular") -> nn.Module:
    """A network without batch norm or dropout: what it learns is a mean over images, whichever process reads them."""
    net = tiny_net(dropout=0.0) if routing is None else epitome_net(routing, boundary=boundary)
    net[1] = nn.Identity()
    for module in net:
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return net


def plain(tensors: dict[str, torch.Tensor]) -> dict[str, list]:
    return {name: tensor.tolist() for name, tensor in tensors.items()}


def train(folder: Path, routing: str | None, boundary: str, changes: dict) -> dict:
    rows: list[dict] = []
    tr = trainer(normless(routing, boundary), hooks=Hooks(metric=rows.append), **changes)
    tr.fit()
    starts = [t.tolist() for _, layer in epitome_layers(tr.model) for t in layer.routing_map().starts if t is not None]
    losses = [(row["step"], row["split"], row["loss"]) for row in rows]
    return {"weights": plain(tr.model.state_dict()), "starts": starts, "losses": losses, "total": tr.total}


def cut(folder: Path, routing: str, changes: dict) -> tuple[dict, dict, list]:
    """Train without a stop, and in two halves through files; each process draws its own dropout and mixing."""
    data, rows = tiny_data(), []
    hooks = Hooks(metric=lambda row: rows.append(row["loss"]))
    whole = trainer(epitome_net(routing), data, hooks, **changes)
    assert whole.fit()
    first = trainer(epitome_net(routing), data, **changes)
    asks = distributed.rank() == 1  # only one of them is asked
    first.hooks = Hooks(
        metric=hooks.metric,
        should_stop=lambda: asks and first.step >= 5,
        checkpoint=lambda tr: save(tr, folder),
    )
    assert not first.fit()
    assert first.step == 5
    distributed.gather(None)  # the files are written before they are read
    second = load(trainer(epitome_net(routing), data, hooks, **changes), folder)
    assert second.fit()
    return plain(outcome(whole)), plain(outcome(second)), rows


def train_own(folder: Path, batch_size: int) -> list[dict]:
    """Train a segmentation network. Its 30 validation images are one batch, so one of two processes has none."""
    own, rows = segmentation(), []
    recipe = Recipe(epochs=2, batch_size=batch_size, lr=0.1, ema_decay=0.9, log_every_steps=2)
    Trainer(own.network, own.data, recipe, hooks=Hooks(metric=rows.append), **own.measures).fit()
    return [{key: row[key] for key in row.keys() - {"split", "images_per_s"}} for row in rows]


def tune_own(folder: Path) -> tuple[dict, dict]:
    """Fine-tune at a rate so high that averaged weights are better than those of the last step."""
    own = regression()
    recipe = {"epochs": 4, "batch_size": 4, "lr": 0.05, "ema_decay": 0.8, "schedule": "constant"}
    options = {"folder": folder / "saved", "device": "cpu", "progress": False}
    report = fine_tune(own.network, *own.data, recipe, **own.measures, **options)
    return plain(own.network.state_dict()), report.to_dict()


class Broken:
    """A split whose data of one process fails, or turns to NaN."""

    def __init__(self, split, kind: str) -> None:
        self.split, self.kind, self.labels = split, kind, split.labels

    def __len__(self) -> int:
        return len(self.split)

    def eval_batches(self, batch_size, shard=(0, 1)):
        return self.split.eval_batches(batch_size, shard)

    def train_batches(self, batch_size, seed, epoch, start=0, shard=(0, 1)):
        for number, (images, labels) in enumerate(self.split.train_batches(batch_size, seed, epoch, start, shard)):
            if number == 1 and epoch == 1 and shard[0] == 1:
                if self.kind == "unreadable":
                    raise DataError("image 'cat.jpg' cannot be read")
                images = images * math.nan
            yield images, labels


def spoil(folder: Path, kind: str) -> None:
    data = tiny_data()
    object.__setattr__(data, "train", Broken(data.train, kind))
    saved: list[int] = []
    tr: Trainer = trainer(normless(None), data, Hooks(checkpoint=lambda t: saved.append(t.step)), batch_size=12)
    try:
        tr.fit()
    finally:
        assert saved == ([4] if distributed.is_main() else [])
        assert all(p.isfinite().all() for p in tr.model.parameters())


HALF = {"batch_size": 12, "clip_grad": 1.0, "ema_decay": 0.9}
CUT = {"batch_size": 6, "accumulate": 2, "ema_decay": 0.9, "epochs": 3, "mixup": 0.2, "kd_weight": 0.2}
REST = {"starts_freeze_epoch": 1, "starts_snap_epoch": 2}
ACTIONS = {
    "dense": Action(train, (None, "circular", HALF)),
    "free": Action(train, ("free", "circular", HALF)),
    "learner": Action(train, ("learner", "circular", HALF)),
    "free-clamp": Action(train, ("free", "clamp", {"batch_size": 12})),
    "learner-clamp": Action(train, ("learner", "clamp", {"batch_size": 12})),
    "cut-free": Action(cut, ("free", CUT | REST)),
    "cut-learner": Action(cut, ("learner", CUT | REST)),
    "own": Action(train_own, (12,)),
    "tune": Action(tune_own),
    "nan": Action(spoil, ("nan",), fails=True),
    "unreadable": Action(spoil, ("unreadable",), fails=True),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("two_ranks")


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, list[Any]]:
    return in_two_ranks(ACTIONS, folder)


@pytest.mark.parametrize("name", ["dense", "free", "learner"])
def test_distributed_training_equals_one_process_with_the_double_batch(results, tmp_path: Path, name: str) -> None:
    """Only the order of float32 sums differs: 1e-7 a step, which 8 steps of momentum sgd keep below 1e-5."""
    first, second = results[name]
    assert first["weights"] == second["weights"]
    assert first["starts"] == second["starts"]
    alone = train(tmp_path, None if name == "dense" else name, "circular", HALF | {"batch_size": 24})
    assert first["total"] == alone["total"] == 8
    for key, value in alone["weights"].items():
        a, b = torch.tensor(first["weights"][key]), torch.tensor(value)
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=key)
    assert second["losses"] == []  # only the first process reports
    for pair, single in zip(first["losses"], alone["losses"], strict=True):
        assert pair[:2] == single[:2]
        assert pair[2] == pytest.approx(single[2], rel=1e-5)


def test_distributed_metrics_of_your_own_equal_those_of_one_process(results, tmp_path: Path) -> None:
    pair, alone = results["own"][0], train_own(tmp_path, 24)
    assert "ema_iou" in alone[-1] and results["own"][1] == []
    for row, single in zip(pair, alone, strict=True):
        assert row == pytest.approx(single, rel=1e-4)  # the order of float32 sums differs


def test_distributed_fine_tuning_leaves_the_best_weights_in_every_process(results) -> None:
    (weights, report), other = results["tune"]
    assert other == (weights, report)
    own = regression()
    own.network.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    error = nes_lab.evaluate(own.network, own.val, **own.measures)["error"]
    assert error == pytest.approx(report["best"]["value"], rel=1e-4)
    assert error < [row for row in report["history"] if row["split"] == "val"][-1]["error"]


@pytest.mark.parametrize("routing", ["free", "learner"])
def test_distributed_starts_at_a_bound_are_equal_everywhere(results, tmp_path: Path, routing: str) -> None:
    """They are near those of one process: at a bound each process decides by its own images whether a gradient passes."""
    first, second = results[f"{routing}-clamp"]
    assert first["weights"] == second["weights"]
    assert first["starts"] == second["starts"]
    alone = train(tmp_path, routing, "clamp", {"batch_size": 24})
    for pair, single in zip(first["starts"], alone["starts"], strict=True):
        torch.testing.assert_close(torch.tensor(pair), torch.tensor(single), rtol=0, atol=0.01)  # of a cell


@pytest.mark.parametrize("routing", ["free", "learner"])
def test_distributed_interrupted_equals_uninterrupted(results, folder: Path, routing: str) -> None:
    for whole, second, _ in results[f"cut-{routing}"]:
        assert [name for name in whole if whole[name] != second[name]] == []
    rows = results[f"cut-{routing}"][0][2]
    assert rows[: len(rows) // 2] == rows[len(rows) // 2 :]
    with pytest.raises(CheckpointError, match="processes=2, not 1; resume it with 2 processes"):
        load(trainer(epitome_net(routing), **(CUT | {"batch_size": 12})), folder / f"cut-{routing}")


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("unreadable", "RunError: process 1 of 2 cannot go on: image 'cat.jpg'", "DataError: image 'cat.jpg'"),
        ("nan", *["DivergedError: the training loss is nan at step 6"] * 2),
    ],
)
def test_distributed_error_of_one_process_ends_both(results, kind: str, first: str, second: str) -> None:
    assert results[kind][0].startswith(first)
    assert results[kind][1].startswith(second)
