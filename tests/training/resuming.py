"""Saving, loading, and the comparison of an interrupted training with an uninterrupted one."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nes_lab.nn.conv import EpitomeConv2d
from nes_lab.training.checkpoint import load_training, save_training
from nes_lab.training.hooks import Hooks
from nes_lab.training.loop import Trainer
from tests.training.nets import tiny_data, tiny_net, trainer


def save(tr: Trainer, folder: Path) -> None:
    save_training(tr, folder / "w.safetensors", folder / "s.pt")


def load(tr: Trainer, folder: Path) -> Trainer:
    load_training(tr, folder / "w.safetensors", folder / "s.pt")
    return tr


def outcome(tr: Trainer) -> dict[str, torch.Tensor]:
    tensors = {f"model.{k}": v for k, v in tr.model.state_dict().items()}
    if tr.ema is not None:
        tensors |= {f"ema.{k}": v for k, v in tr.ema.module.state_dict().items()}
    for i, entries in tr.optimizer.state_dict()["state"].items():
        tensors |= {f"opt.{i}.{k}": v for k, v in entries.items() if isinstance(v, torch.Tensor)}
    return tensors


def epitome_net(routing: str, scope: str = "separable", boundary: str = "clamp") -> nn.Module:
    net = tiny_net()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        options = {"epitome_shape": (6, 4, 1, 1), "patch_channels": (2, 2), "routing": routing, "scope": scope}
        options["boundary"] = boundary
        middle = EpitomeConv2d(4, 8, 1, **options)
        head = nn.Linear(512, 10)
    return nn.Sequential(net[0], net[1], net[2], middle, nn.Flatten(), nn.Dropout(0.2), head)


def check_resumed(folder: Path, stops: list[int], make, **changes) -> None:
    """Compare a training that is stopped, saved and loaded at each of ``stops`` with an uninterrupted one.

    Tensors, last numbers, and all rows of metrics must be equal.
    """
    data, rows, split_rows = tiny_data(), [], []
    whole = trainer(make(), data, Hooks(metric=rows.append), **changes)
    assert whole.fit()

    part = trainer(make(), data, **changes)
    for stop_at in stops:
        part.hooks = Hooks(
            metric=split_rows.append,
            should_stop=lambda part=part, stop_at=stop_at: part.step >= stop_at,
            checkpoint=lambda tr: save(tr, folder),
        )
        assert not part.fit()
        assert part.step == stop_at
        random.random(), np.random.rand(), torch.rand(1)  # another process has other global states
        part = load(trainer(make(), data, Hooks(metric=split_rows.append), **changes), folder)
        assert part.step == stop_at
    assert part.fit()

    expected, resumed = outcome(whole), outcome(part)
    assert expected.keys() == resumed.keys()
    assert [name for name in expected if not expected[name].equal(resumed[name])] == []
    assert whole.last == part.last
    assert whole.best_top1 == part.best_top1
    timeless = [[{k: v for k, v in row.items() if k != "images_per_s"} for row in some] for some in (rows, split_rows)]
    assert timeless[0] == timeless[1]
