"""The time and memory of a training are estimated from a few of its steps."""

from __future__ import annotations

import pytest

from nes_lab.errors import OptionError
from nes_lab.worker import training_cost as module
from nes_lab.worker.training_cost import training_cost

CONFIG = {
    "data": {"limit": 256, "batch_size": 32},
    "backbone": {"width": 0.5, "pretrained": False},
    "compression": {"madds": "60%", "routing": "learner"},
    "training": {"epochs": 50, "threads": 1},
}


def test_an_estimate_counts_all_steps_and_the_memory_of_the_network(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 0.1)
    events = []
    cost = training_cost({"config": CONFIG, "root": str(tmp_path)}, events.append)
    assert 4 <= cost["steps"] <= 40 and cost["low"] <= cost["seconds"] <= cost["high"]
    assert cost["seconds"] > 400 * 1e-4  # 8 steps in each of 50 epochs
    larger = CONFIG | {"data": {"limit": 256, "batch_size": 128}}
    assert training_cost({"config": larger, "root": str(tmp_path)})["bytes"] > 2 * cost["bytes"] > 0
    assert {event["phase"] for event in events} == {"measuring"} and not list(tmp_path.iterdir())


def test_a_measurement_can_be_stopped(tmp_path):
    def cancel(event):
        if event["done"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training_cost({"config": CONFIG, "root": str(tmp_path)}, cancel)


def test_data_that_is_not_here_is_said_and_not_downloaded(tmp_path):
    config = CONFIG | {"data": {"name": "cifar10", "root": str(tmp_path / "none"), "download": True}}
    with pytest.raises(OptionError, match="not on this computer"):
        training_cost({"config": config, "root": str(tmp_path)})
    assert not (tmp_path / "none").exists()
