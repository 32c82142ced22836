"""A run that starts from a saved network is created by a worker, and its facts are known before."""

import pytest
import torch

import nes_lab
from nes_lab.errors import NesLabError, OptionError
from nes_lab.experiment.start_facts import folder_facts, run_facts
from nes_lab.runs.store import RunStore
from nes_lab.worker.launches import launch_run


def test_a_run_from_a_compressed_network(tmp_path, monkeypatch):
    launched = []
    monkeypatch.setattr("nes_lab.runs.launcher.launch", lambda store, run_id: launched.append(run_id))
    dense = nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1)
    plan = nes_lab.plan_for_budget(dense, nes_lab.Budget(params="60%"), torch.zeros(1, 1, 8, 8))
    nes_lab.save_pretrained(nes_lab.compress(dense, plan), tmp_path / "net", plan=plan)
    facts = folder_facts(tmp_path / "net")
    assert facts.compressed and (facts.name, facts.classes) == ("small_mobilenetv2", 10)
    config = {"start": str(tmp_path / "net"), "training": {"epochs": 1}}
    answer = launch_run({"config": config, "root": str(tmp_path / "runs")})
    assert launched == [answer["id"]] and (tmp_path / "runs" / answer["id"] / "start").is_dir()
    with pytest.raises(OptionError, match="saved no network yet"):
        run_facts(answer["id"], RunStore(tmp_path / "runs"))


def test_a_wrong_start_leaves_no_run(tmp_path):
    with pytest.raises(NesLabError, match="nowhere"):
        launch_run({"config": {"start": "nowhere"}, "root": str(tmp_path)})
    assert RunStore(tmp_path).list() == []
