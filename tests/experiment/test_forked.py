"""Equal runs in worker processes: importing starts no thread, and a forked worker trains as this process does."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from nes_lab.config import load_config
from nes_lab.experiment.run_experiment import run_experiment
from nes_lab.runs.store import RunStore
from nes_lab.training.checkpoint import load_weights

TREE = {
    "data": {"limit": 64, "batch_size": 32},
    "backbone": {"width": 0.35},
    "compression": {"madds": "70%", "round_to": 1, "routing": "learner"},
    "training": {"epochs": 1, "threads": 1, "device": "cpu"},
}


def work(root: str, run_id: str) -> None:
    """Train one run, in a worker."""
    run_experiment(RunStore(root), run_id)


@pytest.mark.slow
def test_importing_starts_no_thread() -> None:
    code = "import threading, nes_lab.experiment.run_experiment; assert threading.active_count() == 1, threading.enumerate()"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_forkserver_workers_agree_with_this_process(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    ids = [store.create(load_config(TREE).to_dict()) for _ in range(3)]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nes_lab.experiment.run_experiment", "timm"])
    workers = [context.Process(target=work, args=(str(tmp_path), run_id)) for run_id in ids[:2]]
    for worker in workers:
        worker.start()
    work(str(tmp_path), ids[2])
    for worker in workers:
        worker.join(timeout=120)
        assert worker.exitcode == 0
    first, second, here = (load_weights(store.latest_checkpoint(run_id).weights) for run_id in ids)
    assert all(first[name].equal(second[name]) and first[name].equal(here[name]) for name in here)
