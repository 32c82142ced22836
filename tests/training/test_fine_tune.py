"""Training in memory on a user's own data: what it returns, which weights it leaves, how it goes on.

Tests: nes_lab/training/fine_tune.py, nes_lab/training/best_weights.py, nes_lab/training/checkpoint_folder.py,
nes_lab/records/training_report.py
"""

import itertools
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nes_lab
from nes_lab.datasets.loaders import NOT_RESUMABLE
from nes_lab.errors import CheckpointError, DataError, OptionError
from nes_lab.nn.inspect import epitome_layers
from tests.training.own_tasks import TASKS, regression
from tests.training.resuming import epitome_net

FAST = {"epochs": 3, "lr": 0.02, "batch_size": 16, "ema_decay": 0.7}


def tune(own, train, val, recipe=FAST, **options):
    return nes_lab.fine_tune(own.network, train, val, recipe, **own.measures, progress=False, **options)


@pytest.mark.parametrize("name", TASKS)
def test_fine_tune_leaves_the_best_weights_and_says_which(name):
    own, seen = TASKS[name](), []
    own.network.eval()
    report = tune(own, *own.data, on_progress=seen.append)
    first = next(iter(own.metrics))
    vals = [row for row in report.history if row["split"] == "val"]
    both = [row[key] for row in vals for key in (first, f"ema_{first}")]
    assert report.best.value == (min if report.better == "lower" else max)(both)
    assert nes_lab.evaluate(own.network, own.val, **own.measures)[first] == pytest.approx(report.best.value, rel=1e-5)
    assert (report.metric, report.weights, report.steps, report.notes) == (first, "best", 18, ())
    assert (seen[-1]["done"], seen[-1]["total"]) == (18, 18) and f", {first} " in seen[-1]["label"]
    assert not own.network.training
    text = str(report)
    assert f"best {first}: " in text and "18 steps in" in text and f"ema_{first}" in text
    assert nes_lab.TrainingReport.from_json(report.to_json()) == report


def test_fine_tune_takes_averaged_weights_if_they_are_better():
    """At a high learning rate the weights jump about, and their averages are better; the last epoch is not the best."""
    own, jumpy = regression(), {"epochs": 6, "lr": 0.05, "batch_size": 8, "ema_decay": 0.8, "schedule": "constant"}
    report = tune(own, *own.data, jumpy)
    assert report.best.averaged and "with averaged weights of epoch" in str(report)
    assert nes_lab.evaluate(own.network, own.val, **own.measures)["error"] == pytest.approx(report.best.value, rel=1e-5)
    last = regression()
    tune(last, *last.data, jumpy, keep="last")
    error = nes_lab.evaluate(last.network, last.val, **last.measures)["error"]
    assert error == pytest.approx(report.history[-1]["error"], rel=1e-5) and error > report.best.value


class Cut(Exception):
    pass


@pytest.mark.parametrize("snap", [None, 2])
def test_fine_tune_goes_on_in_its_folder_bit_for_bit(tmp_path, snap):
    images = torch.rand(96, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    data = (images, images.sum((1, 2, 3)).long() % 10)
    recipe = {"epochs": 4, "lr": 0.02, "ema_decay": 0.5, "starts_snap_epoch": snap}

    def cut_after(step):
        def watch(event):
            if event["done"] >= step:
                raise Cut

        return watch

    def trained(folder, **options):
        network = epitome_net("free")
        report = nes_lab.fine_tune(network, data, data, recipe, folder=folder, progress=False, device="cpu", **options)
        return network.state_dict(), report

    whole, expected = trained(tmp_path / "whole")
    with pytest.raises(Cut):
        trained(tmp_path / "cut", on_progress=cut_after(9))
    weights, report = trained(tmp_path / "cut")
    assert [name for name in whole if not whole[name].equal(weights[name])] == []
    timeless = [
        [{k: v for k, v in row.items() if k != "images_per_s"} for row in r.history] for r in (expected, report)
    ]
    assert timeless[0] == timeless[1] and report.best == expected.best
    again, finished = trained(tmp_path / "cut")
    assert finished.best == report.best and all(again[name].equal(weights[name]) for name in whole)
    with pytest.raises(CheckpointError, match="seed"):
        trained(tmp_path / "cut", seed=1)
    recipe |= {"epochs": 6, "ema_decay": None, "log_every_steps": 3}
    changed = (
        r"another recipe \(epochs: 4, now 6; ema_decay: 0.5, now None\); give the same recipe .* or another folder"
    )
    with pytest.raises(CheckpointError, match=changed):
        trained(tmp_path / "cut")


def test_fine_tune_keeps_no_weights_from_before_the_starts_were_rounded():
    values = itertools.count(0, -1)  # each validation is worse than the one before
    data = (torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 10)
    network, recipe = epitome_net("free"), {"epochs": 3, "lr": 0.02, "starts_snap_epoch": 2}
    metrics = {"falling": lambda outputs, targets: next(values)}
    report = nes_lab.fine_tune(network, data, data, recipe, metrics=metrics, progress=False)
    assert report.best.epoch == 2
    starts = [axis for _, layer in epitome_layers(network) for axis in layer.routing_map().starts if axis is not None]
    assert starts and all(torch.as_tensor(axis).equal(torch.as_tensor(axis).round()) for axis in starts)


def test_fine_tune_on_loaders_says_that_it_does_not_resume_bit_for_bit():
    own = regression()
    train, val = (DataLoader(TensorDataset(*pair), batch_size=size) for pair, size in ((own.train, 20), (own.val, 7)))
    report = tune(own, train, val, nes_lab.Recipe(epochs=2, batch_size=999, lr=0.01))
    void = "the loaders decide the batch size, 20; batch_size=999 does not apply"
    assert report.notes == (NOT_RESUMABLE, void) and NOT_RESUMABLE in str(report)
    assert report.steps == 2 * 5  # 96 examples in 5 batches of the loader, the last of 16


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "message"),
    [
        ((3, 4), {}, DataError, "the training data is a int"),
        ((3,), {}, DataError, "data=a int; give (training data, validation data)"),
        (None, {"recipe": {"epoch": 3}}, OptionError, "recipe['epoch'] is not known"),
        (None, {"recipe": {"epochs": "3"}}, OptionError, "epochs='3' should be an integer"),
        (((torch.zeros(4, 2), torch.zeros(4)), (torch.zeros(4, 3), torch.zeros(4))), {}, DataError, "has shape (3,), but one"),
        (None, {"recipe": "cifar10"}, OptionError, "recipe is a str; give a nes_lab.Recipe, or a dict"),
        (None, {"keep": "worst"}, OptionError, "keep='worst' is not known"),
        (None, {"device": "gpu"}, OptionError, "device='gpu' is not a device"),
        (None, {"loss": "mse"}, OptionError, "loss='mse'; give a function"),
    ],
)  # fmt: skip
def test_fine_tune_says_what_is_wrong(arguments, options, kind, message):
    data = (torch.zeros(4, 2), torch.zeros(4, dtype=torch.long))
    with pytest.raises(kind, match=re.escape(message)):
        nes_lab.fine_tune(nn.Linear(2, 2), *(arguments or (data, data)), progress=False, **options)


def test_fine_tune_does_not_write_between_other_files(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    data = (torch.zeros(4, 2), torch.zeros(4, dtype=torch.long))
    with pytest.raises(CheckpointError, match="holds other files; give an empty folder, or one with checkpoints"):
        nes_lab.fine_tune(nn.Linear(2, 2), data, data, folder=tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_fine_tune_page_runs(capsys):
    page = (Path(__file__).parents[2] / "docs" / "fine_tune.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(code, "fine_tune.md", "exec"), found := {})
    text, iou = capsys.readouterr().out.splitlines()
    assert re.match(r"0\.\d+ with (averaged )?weights of epoch \d", text)
    assert float(iou) == pytest.approx(found["report"].best.value, rel=1e-6)


def test_fine_tune_refuses_label_smoothing_of_another_loss_and_says_that_a_batch_size_is_void():
    own = regression()
    with pytest.raises(OptionError, match=r"label_smoothing=0.9 .* with loss= set it to 0"):
        tune(own, *own.data, FAST | {"label_smoothing": 0.9})
    loader = DataLoader(TensorDataset(torch.zeros(8, 3), torch.zeros(8, dtype=torch.long)), batch_size=4)
    report = nes_lab.fine_tune(nn.Linear(3, 2), loader, loader, {"epochs": 1, "batch_size": 5}, progress=False)
    assert "the loaders decide the batch size, 4; batch_size=5 does not apply" in report.notes
