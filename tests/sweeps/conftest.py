"""A store in a temporary folder, a small sweep, and a stand-in for training that needs no torch."""

import time

import pytest

from nes_lab.runs.store import RunStore
from tests import stand_in


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


@pytest.fixture
def fake_training(tmp_path, monkeypatch):
    return stand_in.lend(tmp_path, monkeypatch)


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
