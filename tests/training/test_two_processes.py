"""Two processes over gloo: one network, one outcome, one stop."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from nes_lab.errors import CheckpointError, DataError
from nes_lab.nn.inspect import epitome_layers
from nes_lab.training import distributed
from nes_lab.training.hooks import Hooks
from nes_lab.training.loop import Trainer
from tests.training.nets import tiny_data, tiny_net, trainer
from tests.training.resuming import epitome_net, load, outcome, save
from tests.training.two_ranks import in_two_ranks

pytestmark = pytest.mark.slow


def normless(routing: str | None, boundary: str = "circular") -> nn.Module:
    """A network without batch norm or dropout: what it learns is a mean over images, whoever brings them."""
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


@pytest.mark.parametrize("routing", [None, "free", "learner"])
def test_two_processes_are_one_with_the_doubled_batch(tmp_path: Path, routing: str | None) -> None:
    """Only the order of float32 sums differs: 1e-7 a step, which 8 steps of momentum sgd keep below 1e-5."""
    changes = {"batch_size": 12, "clip_grad": 1.0, "ema_decay": 0.9}
    first, second = in_two_ranks(train, tmp_path, routing, "circular", changes)
    assert first["weights"] == second["weights"]
    assert first["starts"] == second["starts"]
    alone = train(tmp_path, routing, "circular", changes | {"batch_size": 24})
    assert first["total"] == alone["total"] == 8
    for name, value in alone["weights"].items():
        a, b = torch.tensor(first["weights"][name]), torch.tensor(value)
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=name)
    assert second["losses"] == []  # the first one speaks
    for mine, theirs in zip(first["losses"], alone["losses"], strict=True):
        assert mine[:2] == theirs[:2]
        assert mine[2] == pytest.approx(theirs[2], rel=1e-5)


@pytest.mark.parametrize("routing", ["free", "learner"])
def test_starts_at_a_bound_are_equal_everywhere_and_near_those_of_one_process(tmp_path: Path, routing: str) -> None:
    """At a bound a gradient passes only if it points inside, which each process asks of its own images."""
    first, second = in_two_ranks(train, tmp_path, routing, "clamp", {"batch_size": 12})
    assert first["weights"] == second["weights"]
    assert first["starts"] == second["starts"]
    alone = train(tmp_path, routing, "clamp", {"batch_size": 24})
    for mine, theirs in zip(first["starts"], alone["starts"], strict=True):
        torch.testing.assert_close(torch.tensor(mine), torch.tensor(theirs), rtol=0, atol=0.01)  # of a cell


CUT = {"batch_size": 6, "accumulate": 2, "ema_decay": 0.9, "epochs": 3, "mixup": 0.2, "kd_weight": 0.2}


def cut(folder: Path, routing: str, changes: dict) -> tuple[dict, dict, list]:
    """Train in one go, and in two halves through files; dropout, norms and mixing draw from each process's chance."""
    data, rows = tiny_data(), []
    whole = trainer(epitome_net(routing), data, Hooks(metric=lambda row: rows.append(row["loss"])), **changes)
    assert whole.fit()
    first = trainer(epitome_net(routing), data, **changes)
    asks = distributed.rank() == 1  # only one of them is asked
    first.hooks = Hooks(
        metric=lambda row: rows.append(row["loss"]),
        should_stop=lambda: asks and first.step >= 5,
        checkpoint=lambda tr: save(tr, folder),
    )
    assert not first.fit()
    assert first.step == 5
    distributed.gather(None)  # written before it is read
    second = load(
        trainer(epitome_net(routing), data, Hooks(metric=lambda row: rows.append(row["loss"])), **changes), folder
    )
    assert second.fit()
    return plain(outcome(whole)), plain(outcome(second)), rows


@pytest.mark.parametrize("routing", ["free", "learner"])
def test_interrupted_equals_uninterrupted(tmp_path: Path, routing: str) -> None:
    changes = CUT | {"starts_freeze_epoch": 1, "starts_snap_epoch": 2}
    results = in_two_ranks(cut, tmp_path, routing, changes)
    for whole, second, _ in results:
        assert [name for name in whole if whole[name] != second[name]] == []
    rows = results[0][2]
    assert rows[: len(rows) // 2] == rows[len(rows) // 2 :]
    with pytest.raises(CheckpointError, match="processes=2, not 1; resume it with 2 processes"):
        load(trainer(epitome_net(routing), **(CUT | {"batch_size": 12})), tmp_path)


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


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("unreadable", "RunError: process 1 of 2 cannot go on: image 'cat.jpg'", "DataError: image 'cat.jpg'"),
        (
            "nan",
            "DivergedError: the training loss is nan at step 6",
            "DivergedError: the training loss is nan at step 6",
        ),
    ],
)
def test_what_happens_to_one_ends_both(tmp_path: Path, kind: str, first: str, second: str) -> None:
    found = in_two_ranks(spoil, tmp_path, kind, fails=True)
    assert found[0].startswith(first)
    assert found[1].startswith(second)
