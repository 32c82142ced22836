"""A real training, killed again and again: nothing that was saved is lost, and it ends where an undisturbed one does."""

import os
import random
import signal
import time

import pytest

from nes_lab.config import load_config
from nes_lab.runs import launcher
from nes_lab.runs.store import RunStore

pytestmark = pytest.mark.slow
CONFIG = {
    "data": {"limit": 256},
    "compression": {"madds": "75%", "round_to": 2, "routing": "free"},
    "training": {"epochs": 5, "warmup_epochs": 0, "threads": 1, "log_every_steps": 1},
}


def wait_for(store, run_id, what, seconds=120):
    end = time.monotonic() + seconds
    while not what(info := store.get(run_id)):
        assert time.monotonic() < end, info
        time.sleep(0.02)
    return info


def rows(store, run_id):
    kept = ("step", "split", "loss", "top1")
    return [{name: row.get(name) for name in kept} for row in store.metrics(run_id)]


def test_killed_and_resumed_equals_undisturbed(tmp_path):
    store = RunStore(tmp_path)
    config = load_config(CONFIG).to_dict()
    calm, rough = store.create(config, label="calm"), store.create(config, label="rough")
    launcher.launch(store, calm)
    wait_for(store, calm, lambda info: info.state == "finished")
    chance = random.Random(0)
    for _ in range(2):
        saved = store.latest_checkpoint(rough)
        pid = launcher.launch(store, rough)
        begin = saved.step if saved else 0
        goal = begin + chance.randint(3, 7)
        wait_for(
            store,
            rough,
            lambda info, goal=goal: (info.state == "running" and info.step >= goal) or info.state == "finished",
        )
        os.kill(pid, signal.SIGKILL)
        info = wait_for(store, rough, lambda info: info.state in ("lost", "finished"))
        if info.state == "finished":
            break
        assert saved is None or store.latest_checkpoint(rough).step >= saved.step
    if info.state != "finished":
        launcher.launch(store, rough)
        wait_for(store, rough, lambda info: info.state == "finished")
    assert store.get(rough).attempt > 1
    assert rows(store, rough) == rows(store, calm)
    ends = [store.latest_checkpoint(run_id).weights.read_bytes() for run_id in (calm, rough)]
    assert ends[0] == ends[1]  # bit for bit
