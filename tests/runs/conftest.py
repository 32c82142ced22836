"""A store in a temporary folder, and a stand-in for training that needs no torch."""

import sys
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
