"""Trainings with their own loss and metrics.

Tests: nes_lab/training/task.py, nes_lab/training/metrics.py
"""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nes_lab
from nes_lab.datasets.as_dataset import as_dataset
from nes_lab.errors import CheckpointError, OptionError
from nes_lab.nn.inspect import epitome_layers
from nes_lab.training.hooks import Hooks
from nes_lab.training.loop import Trainer
from nes_lab.training.task import Task
from tests.training.own_tasks import TASKS, regression, segmentation, text_loss
from tests.training.resuming import load, save

RECIPE = nes_lab.Recipe(epochs=3, batch_size=16, lr=0.02, optimizer="adamw", ema_decay=0.7, log_every_steps=4)
INPUTS, TARGETS = torch.zeros(5, 2), torch.arange(10.0).reshape(5, 2)


@pytest.mark.parametrize("name", TASKS)
def test_task_of_any_kind_is_trained_and_measured_under_its_own_names(name):
    own = TASKS[name]()
    assert list(epitome_layers(own.network))
    before = nes_lab.evaluate(own.network, own.val, **own.measures)
    rows = []
    trainer = Trainer(own.network, own.data, RECIPE, hooks=Hooks(metric=rows.append), **own.measures)
    assert trainer.fit()
    first = next(iter(own.metrics))
    best = min if trainer.task.better == "lower" else max
    val = [row for row in rows if row["split"] == "val"]
    assert {"loss", *own.metrics} <= rows[0].keys() and "top1" not in rows[0]
    assert trainer.last[first] == best(before[first], trainer.last[first]) != before[first]
    for key in (first, f"ema_{first}"):
        assert trainer.best[key] == best(row[key] for row in val)
    after = nes_lab.evaluate(own.network, own.val, **own.measures, batch_size=7)  # 7, 7, 7, 7, 2
    assert after == pytest.approx({key: trainer.last[key] for key in after}, rel=1e-5)  # sums in another order


class TwoHeads(nn.Module):
    """A network with a dict of outputs of different shapes."""

    def __init__(self):
        super().__init__()
        self.one, self.many = nn.Linear(2, 1), nn.Linear(2, 3)

    def forward(self, x):
        return {"one": self.one(x), "many": (self.many(x), "text")}


def test_task_takes_outputs_of_any_form():
    def loss(outputs, targets):
        assert outputs["one"].dtype == outputs["many"][0].dtype == torch.float32
        return (outputs["one"] - targets[:, :1]).square() + outputs["many"][0].square().mean(1, keepdim=True)

    metrics = {"error": (lambda outputs, targets: outputs["one"].sub(targets[:, :1]).abs(), "lower")}
    recipe = nes_lab.Recipe(epochs=2, batch_size=2, lr=0.01, amp="bf16", accumulate=2)
    data, network = (torch.rand(8, 2, generator=torch.Generator().manual_seed(0)),) * 2, TwoHeads()
    trainer = Trainer(network, (data, data), recipe, loss=loss, metrics=metrics)
    assert trainer.fit()
    assert trainer.last == pytest.approx(nes_lab.evaluate(network, data, loss=loss, metrics=metrics, amp="bf16"))


@pytest.mark.gpu
@pytest.mark.parametrize("name", TASKS)
def test_task_on_a_gpu_is_measured_as_on_the_cpu(name):
    own = TASKS[name]()
    trainer = Trainer(own.network, own.data, RECIPE, device="cuda", **own.measures)
    assert trainer.fit()
    numbers = nes_lab.evaluate(own.network.cpu(), own.val, **own.measures)
    assert numbers == pytest.approx({key: trainer.last[key] for key in numbers}, rel=1e-2)  # TF32 and other sums


def test_task_is_kept_by_checkpoints(tmp_path):
    own, other = regression(), segmentation()
    trainer = Trainer(own.network, own.data, RECIPE, **own.measures)
    trainer.hooks = Hooks(should_stop=lambda: trainer.step >= 5, checkpoint=lambda tr: save(tr, tmp_path))
    assert not trainer.fit()
    again = load(Trainer(regression().network, own.data, RECIPE, **own.measures), tmp_path)
    assert again.step == 5
    with pytest.raises(
        CheckpointError, match="training with loss=MSELoss, not cross entropy; give the same loss= again"
    ):
        load(Trainer(own.network, own.data, RECIPE), tmp_path)
    renamed = {"loss": own.loss, "metrics": {"error": own.metrics["error"][0]}}
    with pytest.raises(
        CheckpointError, match=re.escape("metrics=error (lower is better), not error (higher is better)")
    ):
        load(Trainer(own.network, own.data, RECIPE, **renamed), tmp_path)
    assert other.loss is None


def test_metric_weighs_every_example_the_same():
    """Batches of 2, 2 and 1: the mean of three batch means would be 5, not 4.5."""
    forms = {
        "mean": lambda outputs, targets: targets.mean(),
        "number": lambda outputs, targets: float(targets.mean()),
        "each": lambda outputs, targets: targets.mean(1),
        "pair": lambda outputs, targets: (targets.sum(), targets.numel()),
    }
    numbers = nes_lab.evaluate(nn.Identity(), (INPUTS, TARGETS), loss=nn.MSELoss(), metrics=forms, batch_size=2)
    assert numbers == {"loss": 28.5, **dict.fromkeys(forms, 4.5)}


def test_metric_of_classes_leaves_out_classes_that_do_not_occur():
    def by_class(outputs, targets):
        return torch.tensor([3.0, len(targets), 0.0]), torch.tensor([4.0, 2.0 * len(targets), 0.0])

    numbers = nes_lab.evaluate(
        nn.Identity(), (INPUTS, TARGETS), loss=nn.MSELoss(), metrics={"x": by_class}, batch_size=2
    )
    assert numbers["x"] == (9 / 12 + 5 / 10) / 2


def test_task_without_metrics_is_judged_by_its_loss():
    task = Task.of(F.mse_loss)
    assert (task.decisive, task.better, task.is_better(1.0, than=2.0)) == ("loss", "lower", True)
    own = regression()
    trainer = Trainer(own.network, own.data, RECIPE, loss=own.loss)
    trainer.fit()
    assert trainer.best.keys() == {"loss", "ema_loss"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "mse"}, "loss='mse'; give a function of (outputs, targets)"),
        ({"loss": nn.MSELoss}, "loss is the class MSELoss; give a loss that was made with it: MSELoss()"),
        ({"metrics": {"x": nn.MSELoss}}, "function=MSELoss of a metric is a class"),
        ({"loss": lambda outputs, targets: outputs.detach().mean()}, "returned a tensor without gradients"),
        ({"metrics": [F.mse_loss]}, "give a dict, name -> function"),
        ({"metrics": {"x": 3}}, "metrics['x']=3; give a function of (outputs, targets), or a pair (function, 'lower')"),
        ({"metrics": {"x": (F.mse_loss, "low")}}, "better='low' of a metric; say which is better, 'higher' or 'lower'"),
        ({"metrics": {"x": (3, "lower")}}, "function=3 of a metric"),
        ({"metrics": {"mean error": F.mse_loss}}, "the metric's name 'mean error' should be letters, digits and underscores"),
        ({"metrics": {"params": F.mse_loss}}, "the metric's name 'params' is used for something else"),
        ({"loss": lambda outputs, targets: 3.0}, "returned a float; return a tensor"),
        ({"loss": F.mse_loss, "metrics": {"x": lambda outputs, targets: "y"}}, "metric 'x' returned a str"),
        ({}, "cross entropy, does not take outputs of shape (16, 2) and targets of shape (16, 2), torch.int64"),
    ],
)  # fmt: skip
def test_task_refuses_what_it_cannot_use(options, message):
    data = ((torch.zeros(32, 2), torch.ones(32, 2).long()),) * 2
    with pytest.raises(OptionError, match=re.escape(message)):
        Trainer(nn.Linear(2, 2), data, nes_lab.Recipe(epochs=1, batch_size=16, lr=0.1), **options).fit()


def test_cross_entropy_needs_an_output_for_each_class():
    """The first batches may lack the last classes, and on a GPU a label out of range stops the process."""
    data = as_dataset(((torch.zeros(8, 2), torch.zeros(8, dtype=torch.long)),) * 2, classes=3)
    with pytest.raises(OptionError, match="the data has 3 classes, but the network has 2 outputs"):
        Trainer(nn.Linear(2, 2), data, nes_lab.Recipe(epochs=1, batch_size=4, lr=0.1)).fit()


def test_cross_entropy_says_which_classes_the_network_lacks():
    data = ((torch.zeros(8, 2), torch.full((8,), 7)),) * 2
    with pytest.raises(OptionError, match="the targets reach up to class 7, but the network has 2 outputs"):
        nes_lab.evaluate(nn.Linear(2, 2), data[0])


@pytest.mark.parametrize(
    ("changes", "loss", "message"),
    [
        ({"mixup": 0.2}, text_loss, "mixup=0.2 mixes classes for cross entropy; with loss= set it to 0"),
        ({"mixup": 0.2}, None, "mixup=0.2 needs the number of classes; the data does not say it"),
    ],
)
def test_task_refuses_options_for_classes(changes, loss, message):
    recipe = nes_lab.Recipe(epochs=1, batch_size=2, lr=0.1, **changes)
    with pytest.raises(OptionError, match=re.escape(message)):
        Trainer(nn.Linear(2, 2), ((INPUTS, TARGETS), (INPUTS, TARGETS)), recipe, loss=loss)
