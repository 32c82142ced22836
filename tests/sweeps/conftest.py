"""A store in a temporary folder, a small sweep, and a stand-in for training that needs no torch."""

import os
import time

import pytest

from nes_lab.runs.store import RunStore

FAKE = """
import os, signal, sys, time, types

def run_experiment(store, run_id, progress=None):
    from nes_lab.runs.writer import RunWriter

    config = store.get(run_id).config
    seed, steps = config["seed"], config["training"]["epochs"]
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    with RunWriter(store, run_id) as writer:
        found = writer.latest_checkpoint()
        for step in range(found.step + 1 if found else 1, steps + 1):
            writer.metric(step=step, split="train", loss=1 / (step + seed))
            weights, state = writer.checkpoint_paths(step)
            weights.write_bytes(b"w%d" % step)
            state.write_bytes(b"s%d" % step)
            writer.commit_checkpoint(step, [weights, state])
            writer.status(step=step, total=steps)
            if seed == 13:
                raise ValueError("boom")
            if seed >= 1000 and writer.attempt <= seed - 1000:
                os.kill(os.getpid(), signal.SIGKILL)
            if stop or writer.cancel_requested():
                asked = writer.cancel_requested()
                writer.status("cancelled", reason="cancelled on request" if asked else "SIGTERM received")
                return {}
            time.sleep(config["training"]["lr"])
        writer.summary(top1=50.0 + seed % 10, params=10, madds=100 + seed)
        writer.status("finished")
    return {}

module = types.ModuleType("nes_lab.experiment")
module.run_experiment = run_experiment
sys.modules["nes_lab.experiment"] = module
"""


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


@pytest.fixture
def fake_training(tmp_path, monkeypatch):
    """Let processes that start from here train with the stand-in: an epoch is a step of lr seconds."""
    folder = tmp_path / "fake"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]))
    return folder


@pytest.fixture
def tree():
    """The sections of a sweep over seeds; keywords replace what is there."""

    def make(**changed):
        base = {"training": {"epochs": 2, "lr": 0.01, "warmup_epochs": 0}}
        return {"name": "seeds", "base": base, "space": {"seed": [0, 1, 2]}} | changed

    return make


@pytest.fixture
def wait():
    """Wait until something is true; say what it was when it never becomes so."""

    def until(what, seconds=30.0):
        end = time.monotonic() + seconds
        while not (found := what()):
            if time.monotonic() > end:
                raise AssertionError(f"still not so after {seconds} s")
            time.sleep(0.02)
        return found

    return until
