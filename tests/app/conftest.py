"""An app on run directories of its own."""

import pytest

from nes_lab.runs.store import RunStore


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A fresh NES_LAB_HOME."""
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def store(home):
    return RunStore(home / "runs")
