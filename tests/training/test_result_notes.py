"""A finished run whose numbers are no results says so, where people look at it."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nes_lab
from nes_lab.cli.entry import main
from nes_lab.figures.run_report import run_report
from nes_lab.records.result_notes import ONE_CLASS, notes_on_results
from tests.datasets.samples import make_tree


def rows(*losses, split="train"):
    return [{"step": step, "split": split, "loss": loss} for step, loss in enumerate(losses, 1)]


def test_notes_on_results_tells_a_diverged_run_from_a_poor_one():
    assert "ends at 23,538" in notes_on_results(rows(2.4, 23538.0), 10)[0]
    assert notes_on_results(rows(23538.0, 23000.0), 10), "it may have diverged before the first row"
    assert not notes_on_results(rows(2.4, 2.31), 10) and not notes_on_results(rows(40.0, 2.2), 10)
    overfitted = [*rows(2.3, 0.01), *rows(3.0, 9.0, split="val")]
    assert not notes_on_results(overfitted, 10)
    assert "validation loss" in notes_on_results([*rows(2.3, 3.0), *rows(900.0, split="val")], 10)[0]
    assert not notes_on_results(rows(2.3, 90.0), 10, distilled=True), "the loss of distillation has another scale"


def test_notes_on_results_of_other_losses_compare_with_the_first():
    for classes, own_loss in ((10, True), (0, False)):
        assert "began at 0.5" in notes_on_results(rows(0.5, 60.0), classes, own_loss=own_loss)[0]
        assert not notes_on_results(rows(0.5, 4.0), classes, own_loss=own_loss)
    assert not notes_on_results(rows(-3.0, 60.0), 0, own_loss=True), "a loss that may be negative has no scale"
    assert not notes_on_results([], 0) and not notes_on_results([], 10)


def test_a_run_that_diverged_says_so_where_people_look(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path))
    training = {"epochs": 1, "lr": 50.0, "warmup_epochs": 0, "threads": 1, "momentum": 0.0, "optimizer": "adamw"}
    run = nes_lab.train({"data": {"limit": 96, "batch_size": 16}, "training": training}, progress=False)
    note = run.summary["note"]
    assert run.state == "finished" and note.startswith("it diverged")
    assert note in str(run.info) and note in repr(run) and "it diverged" in run_report(run.store, run.id)
    capsys.readouterr()
    for words in (["runs"], ["watch", "--once"], ["watch", run.id, "--once"]):
        assert main(words) == 0
        assert "it diverged" in capsys.readouterr().out.replace("\n", " ")


def test_a_run_on_one_class_says_so(tmp_path, capsys):
    root = make_tree(tmp_path / "data", names=("cat",), size=8)
    config = {
        "data": {"name": "image_folder", "root": str(root), "image_size": 8, "batch_size": 2},
        "backbone": {"width": 0.35},
        "training": {"epochs": 1, "warmup_epochs": 0, "threads": 1},
    }
    run = nes_lab.train(config, root=tmp_path / "runs", progress=False)
    assert run.info.notes == (ONE_CLASS,) and run.summary["note"] == ONE_CLASS
    assert main(["data", "check", str(root)]) == 0
    assert "one class: a network has nothing to tell apart" in capsys.readouterr().out


def fine_tuned(targets, outputs=10, lr=1e-3, loaders=True):
    network = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, outputs))
    pairs = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)), targets
    data = DataLoader(TensorDataset(*pairs), batch_size=16) if loaders else pairs
    return nes_lab.fine_tune(network, data, data, {"epochs": 2, "lr": lr, "optimizer": "sgd"}, progress=False).notes


def test_fine_tune_says_what_a_run_says():
    """Loaders do not tell their classes in advance, so the targets tell them."""
    eight = torch.arange(64) % 8
    for loaders in (True, False):
        assert any(note.startswith("it diverged") for note in fine_tuned(eight, outputs=8, lr=90.0, loaders=loaders))
        assert ONE_CLASS in fine_tuned(torch.full((64,), 3), loaders=loaders)
    (_, note) = fine_tuned(eight, outputs=1000)
    assert note.startswith("the network has 1,000 outputs, but the data has 8 classes among its targets")
    assert fine_tuned(eight, loaders=False, outputs=8) == ()
    assert len(fine_tuned(eight)) == 1, "10 outputs for 8 classes of a loader are no fault"
