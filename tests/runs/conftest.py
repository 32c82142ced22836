"""A store in a temporary folder, and a stand-in for training that needs no torch."""

import sys
import time

import pytest

from nes_lab.runs.store import RunStore

FAKE = """
import signal, sys, time, types

def run_experiment(store, run_id, progress=None):
    from nes_lab.runs.writer import RunWriter

    wish = store.get(run_id).config
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    with RunWriter(store, run_id) as writer:
        found = writer.latest_checkpoint()
        first = found.step if found else 0
        for step in range(first + 1, wish["steps"] + 1):
            writer.metric(step=step, split="train", loss=1 / step)
            writer.status(step=step, total=wish["steps"])
            if wish.get("raise"):
                raise ValueError("boom")
            if stop or writer.cancel_requested() or step == wish["steps"]:
                weights, state = writer.checkpoint_paths(step)
                weights.write_bytes(b"w%d" % step)
                state.write_bytes(b"s%d" % step)
                writer.commit_checkpoint(step, [weights, state])
            if stop or writer.cancel_requested():
                writer.status("cancelled", reason="asked to stop")
                return {}
            time.sleep(wish.get("sleep", 0.0))
        writer.summary(top1=50.0, params=10)
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
    """Let processes that start from here train with the stand-in."""
    folder = tmp_path / "fake"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture
def wait():
    """Wait until something is true; say what it was when it never becomes so."""

    def until(what, seconds=20.0):
        end = time.monotonic() + seconds
        while not (found := what()):
            if time.monotonic() > end:
                raise AssertionError(f"still not so after {seconds} s")
            time.sleep(0.03)
        return found

    return until


@pytest.fixture
def python():
    return sys.executable
