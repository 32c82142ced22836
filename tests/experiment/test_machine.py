"""A training records what it takes of its machine."""

from __future__ import annotations

import torch

import nes_lab
from nes_lab.experiment.machine import MachineMeter


def test_a_busy_process_has_a_share_of_the_processor_and_memory():
    meter = MachineMeter(torch.device("cpu"))
    for _ in range(200):
        torch.randn(200, 200) @ torch.randn(200, 200)
    found = meter.read()
    assert 0 < found["cpu_percent"] <= 100 and 0 < found["memory_percent"] < 100
    assert found["memory_bytes"] > 50e6  # torch alone takes more


def test_rows_of_the_training_have_the_numbers_of_the_machine(tmp_path):
    config = {"data": {"limit": 64}, "training": {"epochs": 1, "threads": 1}}
    run = nes_lab.train(config, root=tmp_path, progress=False)
    for row in run.metrics().rows:
        assert ("memory_bytes" in row) == (row["split"] == "train")
    assert run.summary.get("best_top1") is not None and "best_cpu_percent" not in run.summary
