"""The loop: what it reports, what it refuses, and that it learns."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nes_lab.datasets.digits import load_digits
from nes_lab.errors import OptionError
from nes_lab.training.divergence import DivergedError
from nes_lab.training.evaluate import evaluate
from nes_lab.training.hooks import Hooks
from nes_lab.training.loop import Trainer
from nes_lab.training.recipe import Recipe
from tests.training.nets import tiny_data, tiny_net, tiny_recipe, trainer
from tests.training.resuming import load, save


class Poison(nn.Module):
    """Turns the loss to NaN at one forward pass in training."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.calls = at, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += self.training
        return x * math.nan if self.training and self.calls == self.at else x


def test_it_learns_digits() -> None:
    tr = trainer(tiny_net(dropout=0.0), load_digits(), epochs=3, batch_size=64, lr=0.1)
    assert tr.fit()
    assert tr.last["top1"] > 80  # chance is 10; this reaches about 93
    assert tr.best_top1 >= tr.last["top1"]


def test_rows_of_metrics() -> None:
    rows = []
    trainer(hooks=Hooks(metric=rows.append)).fit()
    assert [(row["step"], row["epoch"], row["split"]) for row in rows] == [
        (3, 1, "train"),
        (4, 1, "train"),
        (4, 1, "val"),
        (6, 2, "train"),
        (8, 2, "train"),
        (8, 2, "val"),
    ]
    assert set(rows[0]) == {"step", "epoch", "split", "loss", "top1", "top5", "lr", "images_per_s"}
    assert all(0 <= row["top1"] <= row["top5"] <= 100 for row in rows)
    assert all(row["images_per_s"] > 0 for row in rows if row["split"] == "train")


def test_averaged_weights_are_judged_apart() -> None:
    rows = []
    tr = trainer(hooks=Hooks(metric=rows.append), ema_decay=0.9)
    tr.fit()
    assert {"ema_top1", "ema_top5", "ema_loss"} <= set(rows[-1])
    assert not tr.ema.module[0].weight.equal(tr.model[0].weight)


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    tr = trainer(epochs=4, warmup_epochs=1, lr=0.1)
    tr.scheduler.step_update(0)
    assert tr.optimizer.param_groups[0]["lr"] == pytest.approx(1e-6)
    curve = []
    for step in range(tr.total + 1):
        tr.scheduler.step_update(step)
        curve.append(tr.optimizer.param_groups[0]["lr"])
    assert max(curve) == curve[4] == pytest.approx(0.1)
    assert curve[4:] == sorted(curve[4:], reverse=True)
    assert curve[-1] == pytest.approx(0.0, abs=1e-12)


def test_nan_loss_stops_before_it_reaches_the_weights() -> None:
    saved = []
    tr = trainer(nn.Sequential(tiny_net(), Poison(at=6)), hooks=Hooks(checkpoint=lambda t: saved.append(t.step)))
    with pytest.raises(DivergedError, match=r"training loss is nan at step 6 .*try a lower lr"):
        tr.fit()
    assert saved == [4]
    assert all(p.isfinite().all() for p in tr.model.parameters())


def test_spoiled_weights_are_never_saved() -> None:
    saved = []
    tr = trainer(hooks=Hooks(checkpoint=lambda t: saved.append(t.step), should_stop=lambda: tr.step >= 2))
    with torch.no_grad():
        tr.model[1].running_var.fill_(math.inf)
    with pytest.raises(DivergedError, match=r"1\.running_var is nan at step 2"):
        tr.fit()
    assert saved == []


def test_the_callers_generators_are_given_back() -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())
    trainer().fit()
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.get_rng_state().equal(before[2])


def test_progress_is_rare_and_complete() -> None:
    seen = []
    trainer(hooks=Hooks(on_progress=seen.append), epochs=3).fit()
    assert set(seen[-1]) == {
        "phase",
        "label",
        "done",
        "total",
        "epoch",
        "epochs",
        "images_per_s",
        "seconds_left",
        "loss",
        "top1",
    }
    assert (seen[-1]["done"], seen[-1]["total"], seen[-1]["epoch"], seen[-1]["epochs"]) == (12, 12, 3, 3)
    assert math.isfinite(seen[-1]["loss"])


def test_checkpoints_every_few_epochs_and_at_the_end() -> None:
    saved = []
    trainer(hooks=Hooks(checkpoint=lambda tr: saved.append(tr.epoch)), epochs=5, checkpoint_every_epochs=2).fit()
    assert saved == [2, 4, 5]


def test_evaluate_leaves_modes_alone_and_ignores_batch_size() -> None:
    net, data = tiny_net(), tiny_data()
    net.train()
    net[1].eval()
    whole, parts = evaluate(net, data.val, batch_size=360), evaluate(net, data.val, batch_size=50)
    assert [net[0].training, net[1].training] == [True, False]
    assert whole["top1"] == parts["top1"]
    assert whole["loss"] == pytest.approx(parts["loss"], rel=1e-6)  # float32 means of other batches


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs=0 should be at least 1"),
        ({"lr": -1.0}, "lr=-1.0 should be a finite number above 0"),
        ({"lr": math.nan}, "lr=nan"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"ema_decay": 1.5}, "ema_decay=1.5"),
        ({"amp": "fp8"}, "amp='fp8'"),
    ],
)
def test_a_wrong_recipe_is_refused(change: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Recipe(**({"epochs": 1, "batch_size": 8, "lr": 0.1} | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "sgdd"}, "Did you mean 'sgd"),
        ({"optimizer": "adahessian"}, "second derivatives"),
        ({"optimizer_options": {"epps": 1}}, r"optimizer='sgd' with optimizer_options={'epps': 1} cannot be built"),
        ({"optimizer_options": {"eps": 1}}, "optimizer='sgd' has no option 'eps'"),
        ({"amp": "fp16"}, "amp='fp16' needs a CUDA device, not 'cpu'"),
        ({"accumulate": 5}, "batch_size=24 x accumulate=5 x processes=1 = 120 images, but there are only 96"),
    ],
)
def test_what_cannot_be_trained_here_is_refused(change: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        trainer(**change)


def test_distillation_needs_a_teacher() -> None:
    with pytest.raises(OptionError, match=r"kd_weight=0.5 needs a teacher"):
        Trainer(tiny_net(), tiny_data(), Recipe(epochs=1, batch_size=8, lr=0.1, kd_weight=0.5))


def test_synchronized_norms_need_gpus() -> None:
    with pytest.raises(OptionError, match="sync_batchnorm=True needs CUDA devices"):
        trainer(sync_batchnorm=True)


@pytest.mark.gpu
def test_gpu_trains_in_mixed_precision_and_names_the_first_bad_step() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    tr = trainer(tiny_net(), load_digits(), epochs=3, batch_size=64, lr=0.1, amp="auto", ema_decay=0.99)
    tr = type(tr)(tr.model, tr.data, tr.recipe, device="cuda")
    assert tr.fit()
    assert tr.last["top1"] > 80
    assert tr.precision.name in ("bfloat16", "float16")
    bad = nn.Sequential(tiny_net(), Poison(at=5))
    with pytest.raises(DivergedError, match="at step 5"):
        type(tr)(bad, tiny_data(), tr.recipe.__class__(epochs=3, batch_size=24, lr=0.1), device="cuda").fit()


@pytest.mark.gpu
@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_gpu_resumes_in_the_precision_insisted_on(tmp_path: Path, amp: str) -> None:
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
def test_gpu_compiles() -> None:
    rows = []
    tr = Trainer(
        tiny_net(dropout=0.0), tiny_data(), tiny_recipe(compile=True), device="cuda", hooks=Hooks(metric=rows.append)
    )
    assert tr.fit()
    assert list(tr.model.state_dict()) == list(tiny_net().state_dict())
    assert all(math.isfinite(row["loss"]) for row in rows)
