"""What a run has trained can be taken out of it, and is what the run says it is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from nes_lab.cli import main
from nes_lab.config import load_config
from nes_lab.datasets.registry import load_dataset
from nes_lab.errors import CheckpointError, RunError
from nes_lab.experiment.open_runs import open_run
from nes_lab.experiment.run_experiment import run_experiment
from nes_lab.experiment.trained import save_trained
from nes_lab.export.pretrained import from_pretrained
from nes_lab.runs.store import RunStore
from nes_lab.training.evaluate import evaluate
from nes_lab.training.loop import Trainer

TREE = {"data": {"limit": 128, "batch_size": 16}, "training": {"epochs": 2, "threads": 1, "warmup_epochs": 0}}
ROUTED = {"compression": {"params": "60%", "round_to": 2, "routing": "learner"}}


def trained(root: Path, tree: dict, **training) -> tuple[RunStore, str]:
    store = RunStore(root)
    config = load_config(tree | {"training": tree["training"] | training})
    run_id = store.create(config.to_dict())
    run_experiment(store, run_id)
    return store, run_id


@pytest.mark.parametrize("rest", [{}, {"starts_freeze_epoch": 1}, {"starts_snap_epoch": 1}], ids=str)
def test_it_is_as_right_as_the_run_says(tmp_path: Path, rest: dict) -> None:
    store, run_id = trained(tmp_path / "runs", TREE | ROUTED, ema_decay=0.5, **rest)
    data = load_dataset(load_config(TREE).data)
    (row,) = [row for row in store.metrics(run_id) if row["split"] == "val" and row["epoch"] == 2]
    for averaged, name in ((False, "loss"), (True, "ema_loss")):
        assert save_trained(store, run_id, tmp_path / name, averaged=averaged) == (1, 8, 8)
        numbers = evaluate(from_pretrained(tmp_path / name), data.val, batch_size=64)
        assert numbers is not None
        assert numbers["loss"] == pytest.approx(
            row[name], rel=1e-5
        )  # the same weights, summed by another number of threads


def test_the_best_epoch_can_be_taken_however_long_ago(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best is the first of five epochs, between two checkpoints; of the others only the last is kept."""
    tops, real = iter([95.0, 90.0, 20.0, 80.0, 30.0]), Trainer._validate

    def validate(self: Trainer) -> dict[str, float]:
        return (real(self) or {}) | {"top1": next(tops)}

    monkeypatch.setattr(Trainer, "_validate", validate)
    options = {"epochs": 5, "keep_checkpoints": 1, "checkpoint_every_epochs": 2, "checkpoint_every_steps": 5}
    store, run_id = trained(tmp_path / "runs", TREE | ROUTED, **options)
    (row,) = [row for row in store.metrics(run_id) if row["split"] == "val" and row["epoch"] == 1]
    assert store.get(run_id).summary["best_top1"] == 95.0
    assert (store.best_checkpoint(run_id).step, store.latest_checkpoint(run_id).step) == (8, 40)
    save_trained(store, run_id, tmp_path / "net", best=True)
    numbers = evaluate(from_pretrained(tmp_path / "net"), load_dataset(load_config(TREE).data).val, batch_size=64)
    assert numbers is not None and numbers["loss"] == pytest.approx(row["loss"], rel=1e-5)


def test_the_best_is_the_better_of_plain_and_averaged_and_says_which(tmp_path, monkeypatch, capsys):
    """The averaged weights of the first epoch are better than the plain ones of the second."""
    values, real = iter([(10.0, 60.3), (49.4, 20.0), (30.0, 40.0)]), Trainer._validate

    def validate(self):
        return real(self) | dict(zip(("top1", "ema_top1"), next(values), strict=True))

    monkeypatch.setattr(Trainer, "_validate", validate)
    store, run_id = trained(tmp_path / "runs", TREE | ROUTED, epochs=3, keep_checkpoints=1, ema_decay=0.5)
    run = open_run(run_id, root=store.root)
    assert (run.summary["best_top1"], run.summary["best_ema_top1"]) == (49.4, 60.3)
    names = {"best": "averaged weights of step 8, top1 60.3", "best averaged": "averaged weights of step 8, top1 60.3"}
    for which, name in (names | {"last": "weights of step 24", "averaged": "averaged weights of step 24"}).items():
        assert run.network(which).nes_lab_trained == name
    assert main(["export", str(run.folder), str(tmp_path / "net"), "--best", "--format", "folder"]) == 0
    assert "net (averaged weights of step 8, top1 60.3)" in capsys.readouterr().out
    rows = {row["epoch"]: row for row in store.metrics(run_id) if row["split"] == "val"}
    save_trained(store, run_id, tmp_path / "plain", best=True, averaged=False)
    for folder, loss in (("net", rows[1]["ema_loss"]), ("plain", rows[2]["loss"])):
        val = load_dataset(load_config(TREE).data).val
        assert evaluate(from_pretrained(tmp_path / folder), val)["loss"] == pytest.approx(loss, rel=1e-5)


def test_nothing_to_take(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    with pytest.raises(RunError, match="has no checkpoint yet"):
        save_trained(store, store.create(load_config(TREE).to_dict()), tmp_path / "net")
    store, run_id = trained(tmp_path / "runs", TREE)
    with pytest.raises(CheckpointError, match="holds no averaged weights"):
        save_trained(store, run_id, tmp_path / "net", averaged=True)
    assert not (tmp_path / "net").exists()


@pytest.mark.slow
def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path))
    store, run_id = trained(tmp_path / "runs", TREE | ROUTED)
    monkeypatch.chdir(tmp_path)
    assert main(["export", run_id, "net", "--format", "folder"]) == 0
    assert json.loads((tmp_path / "net" / "config.json").read_text())["metadata"]["run"] == run_id
    assert main(["export", str(store.path(run_id)), "net.pt2", "--json"]) == 0
    plain = torch.export.load(tmp_path / "net.pt2").module()
    images = torch.randn(1, 1, 8, 8)
    torch.testing.assert_close(plain(images), from_pretrained("net")(images), rtol=1e-4, atol=1e-5)  # materialized
    capsys.readouterr()
    assert main(["export", run_id, "best.pt2", "--best"]) == 0 and (tmp_path / "best.pt2").exists()
    assert re.match(r"best.pt2 \(weights of step \d+, top1 [\d.]+\): torch.export", capsys.readouterr().out)
    assert main(["export", "net", "again.onnx", "--best"]) == 2
    assert main(["export", "net", "again", "--format", "folder"]) == 2
    assert "and net is not a run" in capsys.readouterr().err
    assert main(["export", "nothing", "net.onnx"]) == 2
    assert "nothing is neither the folder of a saved network nor a run" in capsys.readouterr().err
