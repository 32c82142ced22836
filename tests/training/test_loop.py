"""The training loop: it learns, saves when it should, and leaves everything else alone."""

from __future__ import annotations

import copy
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from nes_lab.datasets.digits import load_digits
from nes_lab.training.hooks import Hooks
from nes_lab.training.loop import Trainer
from tests.training.nets import tiny_data, tiny_net, tiny_recipe, trainer
from tests.training.resuming import epitome_net, load, save


def test_trainer_learns_digits() -> None:
    tr = trainer(tiny_net(dropout=0.0), load_digits(), epochs=3, batch_size=64, lr=0.1)
    assert tr.fit()
    assert tr.last["top1"] > 80  # chance is 10; this reaches about 93
    assert tr.best_top1 >= tr.last["top1"]


def test_trainer_restores_the_callers_random_generators() -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())
    trainer().fit()
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.get_rng_state().equal(before[2])


def test_trainer_saves_every_few_epochs_at_a_new_best_and_at_the_end() -> None:
    saved, rows = [], []
    hooks = Hooks(metric=rows.append, checkpoint=lambda tr: saved.append(tr.epoch))
    tr = trainer(hooks=hooks, epochs=7, checkpoint_every_epochs=3, lr=1e-5)  # so low that it gets no better
    tr.fit()
    top1 = [row["top1"] for row in rows if row["split"] == "val"]
    new = {epoch for epoch, value in enumerate(top1, 1) if value > max(top1[: epoch - 1], default=-1)}
    assert saved == sorted({3, 6, 7} | new) != list(range(1, 8))


def test_trainer_invalidates_cached_weights_of_epitome_layers() -> None:
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


def test_trainer_leaves_no_attributes_on_the_network() -> None:
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


@pytest.mark.gpu
def test_trainer_learns_in_mixed_precision_on_a_gpu() -> None:
    recipe = tiny_recipe(epochs=3, batch_size=64, lr=0.1, amp="auto", ema_decay=0.99)
    tr = Trainer(tiny_net(), load_digits(), recipe, device="cuda")
    assert tr.fit()
    assert tr.last["top1"] > 80
    assert tr.precision.name in ("bfloat16", "float16")


@pytest.mark.gpu
@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_trainer_resumes_in_mixed_precision_on_a_gpu(tmp_path: Path, amp: str) -> None:
    """With accumulation, clipping and channels last; the loss scale goes on from where it was."""
    changes = {"batch_size": 16, "accumulate": 2, "clip_grad": 1.0, "channels_last": True, "amp": amp, "epochs": 3}
    recipe, data = tiny_recipe(**changes), load_digits()
    first = Trainer(tiny_net(dropout=0.0), data, recipe, device="cuda")
    first.hooks = Hooks(should_stop=lambda: first.step >= 50, checkpoint=lambda tr: save(tr, tmp_path))
    assert not first.fit()
    second = load(Trainer(tiny_net(dropout=0.0), data, recipe, device="cuda"), tmp_path)
    assert second.engine.scaler_state() == first.engine.scaler_state()
    assert bool(second.engine.scaler_state()) == (amp == "fp16")
    assert second.fit()
    assert second.last["top1"] > 70  # chance is 10


@pytest.mark.gpu
def test_trainer_compiles_on_a_gpu() -> None:
    rows = []
    tr = Trainer(
        tiny_net(dropout=0.0), tiny_data(), tiny_recipe(compile=True), device="cuda", hooks=Hooks(metric=rows.append)
    )
    assert tr.fit()
    assert list(tr.model.state_dict()) == list(tiny_net().state_dict())
    assert all(math.isfinite(row["loss"]) for row in rows)
